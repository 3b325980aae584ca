"""Child processes: started with a log of their own, watched, and ended for certain.

A child leads its own session, so that Ctrl-C reaches the supervisor only, which ends its children in order. On Linux
the kernel kills a child when the supervisor is gone, however that went.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pocketnode.errors import Unavailable

PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None

Ready = Callable[[], Awaitable[bool]]


class ChildFailed(Unavailable):
    """A process of the local network ended, or never got ready. `name` is which."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        said = last_words(log)
        super().__init__(f"{name} {what}{': ' + said if said else ''} (its log: {log})")
        self.name = name


@dataclass(frozen=True, slots=True)
class Child:
    """What to start. `ready` is asked until it says yes; `stage` orders the end: higher stages stop first."""

    name: str
    argv: Sequence[str]
    log: Path
    ready: Ready
    stage: int = 0
    env: Mapping[str, str] = field(default_factory=dict)


class Children:
    """All processes of one local network."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Child, asyncio.subprocess.Process]] = {}

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, (_, process) in self._running.items()}

    async def start(self, child: Child, timeout_s: float = 60.0) -> None:
        """Start `child` and return when it is ready.

        Raises
        ------
        ChildFailed
            it ended, or was not ready in time.
        """
        process = await _spawn(child)
        self._running[child.name] = (child, process)
        deadline_s = time.monotonic() + timeout_s
        while not await child.ready():
            self._check_alive()
            if time.monotonic() > deadline_s:
                raise ChildFailed(child.name, f"was not ready after {timeout_s:.0f} s", child.log)
            await asyncio.sleep(0.05)

    def _check_alive(self) -> None:
        """Raise ChildFailed if any child has ended: what waits for one may well wait because of another."""
        for child, process in self._running.values():
            if process.returncode is not None:
                raise ChildFailed(child.name, f"exited with {process.returncode}", child.log)

    async def watch(self) -> None:
        """Wait until a child ends, which none should.

        Raises
        ------
        ChildFailed
            always, in the end.
        """
        waits = {asyncio.create_task(process.wait()): child for child, process in self._running.values()}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        first = done.pop()
        raise ChildFailed(waits[first].name, f"exited with {first.result()}", waits[first].log)

    async def stop(self, patience_s: float = 1.3) -> list[str]:
        """End every child: stage by stage, politely for `patience_s` each, then by force.

        Returns
        -------
        the names of those that did not end in order: by force now, or by themselves before.
        """
        disorderly = [child.name for child, process in self._running.values() if process.returncode is not None]
        for stage in sorted({child.stage for child, _ in self._running.values()}, reverse=True):
            alive = [
                (child.name, process)
                for child, process in self._running.values()
                if child.stage == stage and process.returncode is None
            ]
            for _, process in alive:
                process.send_signal(signal.SIGTERM)
            await _ended([process for _, process in alive], patience_s)
            stubborn = [(name, process) for name, process in alive if process.returncode is None]
            for name, process in stubborn:
                process.kill()
                disorderly.append(name)
            await _ended([process for _, process in stubborn], 0.3)
        return disorderly


async def _spawn(child: Child) -> asyncio.subprocess.Process:
    child.log.parent.mkdir(parents=True, exist_ok=True)
    with child.log.open("ab") as log:
        try:
            return await asyncio.create_subprocess_exec(
                *child.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **child.env},
                start_new_session=True,
                preexec_fn=_die_with_parent if _LIBC else None,
            )
        except OSError as error:
            raise ChildFailed(child.name, f"cannot be started, {child.argv[0]}: {error.strerror}", child.log) from error


async def _ended(processes: Sequence[asyncio.subprocess.Process], timeout_s: float) -> None:
    if processes:
        await asyncio.wait([asyncio.create_task(process.wait()) for process in processes], timeout=timeout_s)


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; runs between fork and exec."""
    assert _LIBC is not None
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def last_words(log: Path, most_chars: int = 240) -> str:
    """Return the last line of a log that says something, cut to `most_chars`."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:most_chars] for line in reversed(lines) if line.strip()), "")
