"""A clock that says when requests are due. Event loops round timers to milliseconds, which is what is measured here."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable

_TFD_NONBLOCK = os.O_NONBLOCK
_CLOCK_MONOTONIC = 1
_NS = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Ticks:
    """Calls `tick(n)` on the running loop, n being how many periods have passed since the last call.

    A Linux timerfd: exact to some 50 us, and what the process was too late for is counted, not lost.
    """

    def __init__(self, period_s: float, tick: Callable[[int], None]) -> None:
        self._tick = tick
        self._loop = asyncio.get_running_loop()
        self._fd = _timerfd(int(period_s * _NS))
        self._loop.add_reader(self._fd, self._read)

    def stop(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            passed = os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._tick(int.from_bytes(passed, "little"))


def _timerfd(period_ns: int) -> int:
    """Return the descriptor of a timer that fires every `period_ns` (os.timerfd_create came with Python 3.13)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
    period = _Timespec(period_ns // _NS, period_ns % _NS)
    timer = _Timer(period, period)
    if fd < 0 or libc.timerfd_settime(fd, 0, ctypes.byref(timer), None) != 0:
        raise OSError(ctypes.get_errno(), "no timerfd: open-loop load needs Linux")
    return fd
