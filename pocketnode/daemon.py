"""How every daemon runs: jobs in one task group, stopped by one event."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from pocketnode.errors import Unavailable

Job = Callable[[], Coroutine[Any, Any, None]]

ALLOCATIONS_BETWEEN_ROUNDS: Final = 20_000
LARGE_BYTES: Final = 128 * 1024
_M_TRIM_THRESHOLD: Final = -1  # names of mallopt(3)
_M_MMAP_THRESHOLD: Final = -3
RETRY_S: Final = 1.0

log = structlog.get_logger("daemon")


async def run(jobs: dict[str, Job], stop: asyncio.Event) -> None:
    """Run every job until `stop` is set or one of them fails.

    A job that fails ends all others and its error is raised, so that the service manager restarts the daemon.
    Each job drains in its own `finally`.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job(), name=name) for name, job in jobs.items()]
        await stop.wait()
        for task in tasks:
            task.cancel()


def patient(jobs: dict[str, Job], pause_s: float = RETRY_S) -> dict[str, Job]:
    """Return jobs that are begun again where they end for want of something that time may cure.

    A locked database or a chain without nodes must not end a daemon: what it does besides still works, and a restart
    would meet the same. Only for jobs that may be begun twice.
    """
    return {name: _begun_again(name, job, pause_s) for name, job in jobs.items()}


def _begun_again(name: str, job: Job, pause_s: float) -> Job:
    async def run_again() -> None:
        ended = False
        while not ended:
            try:
                await job()
                ended = True
            except* Unavailable as group:
                log.error("job_waits", job=name, error=str(_first(group)))
                await asyncio.sleep(pause_s)

    return run_again


def _first(group: BaseExceptionGroup[Unavailable]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop


def spare_collector() -> None:
    """Take what is loaded by now out of the garbage collector's rounds, make the rounds rarer, keep the heap small.

    The imports alone are 137,000 objects that never become garbage; walking them every few hundred relays
    was half of the gateway's CPU time and of the supplier's. What a relay leaves is freed by its reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_BETWEEN_ROUNDS, 50, 100)
    return_large_blocks()


def return_large_blocks() -> None:
    """Have what large bodies took given back to the operating system when it is freed.

    glibc raises its threshold for blocks with pages of their own whenever one is freed: a burst of 150 kB bodies then
    leaves holes in the heap. Both thresholds stay where they begin: the burst left 11 to 14 MiB in each daemon, now 1.
    Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)
