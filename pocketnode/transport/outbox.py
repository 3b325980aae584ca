"""What waits to be written on a lane: all that is ready goes out as one frame (rule 8.1).

One write of a frame with ten messages costs little more than one with a single message: 77 us a message became 20 at
64 relays in flight. Relays fill the frame that goes out next; the pump sends it when the stream takes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

FRAME_BYTES = 256 * 1024  # a frame that holds as much is closed and the next one begun
QUEUED_BYTES = 2 * 1024 * 1024  # beyond which writers of bodies wait


class Frame(Protocol):
    """GatewayFrame or SupplierFrame."""

    @property
    def messages(self) -> object: ...


F = TypeVar("F", bound=Frame)


class Outbox(Generic[F]):
    """Frames to be sent, the last one still being filled.

    Parameters
    ----------
    new_frame : makes an empty frame.
    send : writes one frame to the stream; waits while the stream is not ready.
    """

    def __init__(self, new_frame: Callable[[], F], send: Callable[[F], Awaitable[object]]) -> None:
        self._new_frame = new_frame
        self._send = send
        self._filling: F | None = None
        self._filling_bytes = 0
        self._closed_frames: deque[tuple[F, int]] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    def frame(self, size: int) -> F:
        """Return the frame to add a message of about `size` bytes to; it goes out as soon as the stream takes it."""
        if self._filling is None:
            self._filling = self._new_frame()
            self._wake.set()
        elif self._filling_bytes + size > FRAME_BYTES:
            self._closed_frames.append((self._filling, self._filling_bytes))
            self._filling, self._filling_bytes = self._new_frame(), 0
        self._filling_bytes += size
        self._queued_bytes += size
        if self._queued_bytes > QUEUED_BYTES:
            self._room.clear()
        return self._filling

    def grow(self, frame: F, size: int) -> bool:
        """Return whether a message in `frame` may still grow by `size` bytes: it has not been taken for sending yet."""
        if frame is not self._filling or self._filling_bytes + size > FRAME_BYTES:
            return False
        self._filling_bytes += size
        self._queued_bytes += size
        return True

    async def room(self) -> None:
        """Wait while too much is queued; bodies wait here, Receipts and ends do not."""
        if not self._room.is_set():
            await self._room.wait()

    def end(self) -> None:
        """Let the pump return once all that is queued is sent."""
        self._ended = True
        self._wake.set()

    async def pump(self) -> None:
        """Send frames until `end`. The only writer of the stream."""
        while True:
            taken = self._take()
            if taken is None:
                if self._ended:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            frame, size = taken
            await self._send(frame)
            self._queued_bytes -= size
            if self._queued_bytes <= QUEUED_BYTES:
                self._room.set()

    def _take(self) -> tuple[F, int] | None:
        if self._closed_frames:
            return self._closed_frames.popleft()
        if self._filling is None:
            return None
        taken = (self._filling, self._filling_bytes)
        self._filling, self._filling_bytes = None, 0
        return taken
