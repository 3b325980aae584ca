"""Ends a local network from outside its supervisor."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from pocketnode.localnet.state import Process, State

PATIENCE_S = 10.0  # the supervisor takes less than 5 on a machine that is not overloaded


def end(state: State) -> list[str]:
    """Ask the supervisor to stop, wait for it, kill whatever is left, and return the names of what was killed."""
    supervisor = state.processes[0]
    _signal(supervisor, signal.SIGTERM)
    deadline_s = time.monotonic() + PATIENCE_S
    while supervisor.alive() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    left = [process for process in state.processes if process.alive()]
    for process in left:
        _signal(process, signal.SIGKILL)
    return [process.name for process in left]


def _signal(process: Process, signum: signal.Signals) -> None:
    if process.alive():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signum)
