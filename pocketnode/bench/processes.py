"""What processes cost, by the accounts of the operating system."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from pocketnode.errors import NotFound

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What a group of processes used in some time.

    Parameters
    ----------
    cpu_s : of all threads, in user and system mode.
    rss : resident bytes at the end, shared pages counted once for each process.
    """

    seconds: float
    cpu_s: float
    rss: int

    def cpu_us_each(self, count: int) -> float:
        """Return CPU microseconds for each of `count` pieces of work."""
        return self.cpu_s * 1e6 / count if count else 0.0


class Account:
    """Counts the CPU time of processes and of all that descend from them, from `start` to `stop`."""

    def __init__(self, pids: Iterable[int]) -> None:
        try:
            self._roots = [psutil.Process(pid) for pid in pids]
        except psutil.NoSuchProcess as error:
            raise NotFound(f"no process {error.pid}") from error
        self.cost = Cost(0.0, 0.0, 0)
        self.start()

    def start(self) -> None:
        self._started_s = time.perf_counter()
        self._before_s = self._cpu_s()

    def stop(self) -> None:
        self.cost = Cost(time.perf_counter() - self._started_s, self._cpu_s() - self._before_s, self.rss())

    def rss(self) -> int:
        """Return resident bytes now."""
        return sum(process.memory_info().rss for process in self._all())

    def _cpu_s(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._all()))

    def _all(self) -> list[psutil.Process]:
        return [one for root in self._roots for one in (root, *root.children(recursive=True))]
