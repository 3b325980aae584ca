"""How every daemon runs: jobs in one task group, stopped by one event."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

Job = Callable[[], Coroutine[Any, Any, None]]

ALLOCATIONS_BETWEEN_ROUNDS: Final = 20_000


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


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop


def spare_collector() -> None:
    """Take what is loaded by now out of the garbage collector's rounds, and make the rounds rarer.

    The imports alone are 137,000 objects that never become garbage; walking them every few hundred relays
    was half of the gateway's CPU time and of the supplier's. What a relay leaves is freed by its reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_BETWEEN_ROUNDS, 50, 100)
