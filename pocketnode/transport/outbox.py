"""What waits to be written on a link: all that is ready goes out as one frame (rule 8.1).

One write of a frame with ten messages costs little more than one with a single message: 77 us a message became 20 at
64 relays in flight. Relays of all lanes fill the frame that goes out next; the pump sends it when the stream takes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

FRAME_BYTES = 256 * 1024  # a frame that holds as much is closed and the next one begun
QUEUED_BYTES = 512 * 1024  # beyond which writers of bodies wait for their turn
CROWDED_BYTES = 4 * QUEUED_BYTES  # so much of what does not wait has piled up that no more work should be taken on
STUCK_BYTES = 16 * 1024 * 1024  # who lets as much pile up does not read


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
        self._turns: deque[asyncio.Future[None]] = deque()
        self._calm: asyncio.Future[None] | None = None
        self._ended = False
        self._gone = False

    @property
    def full(self) -> bool:
        """Whether who has a body to send must wait in `room`."""
        return (self._queued_bytes > QUEUED_BYTES or bool(self._turns)) and not self._gone

    @property
    def crowded(self) -> bool:
        """Whether so much waits that no more work should be taken on."""
        return self._queued_bytes > CROWDED_BYTES

    @property
    def stuck(self) -> bool:
        """Whether the other end has not read for so long that the link is of no use."""
        return self._queued_bytes > STUCK_BYTES

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
        return self._filling

    def grow(self, frame: F, size: int) -> bool:
        """Return whether a message in `frame` may still grow by `size` bytes: it has not been taken for sending yet."""
        if frame is not self._filling or self._filling_bytes + size > FRAME_BYTES:
            return False
        self._filling_bytes += size
        self._queued_bytes += size
        return True

    async def room(self) -> None:
        """Wait while too much is queued; bodies wait here, Receipts and ends do not.

        First come, first served, one part of a body at a time: so no lane's bodies hold up another's.
        """
        if not self.full:
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._turns.append(turn)
        try:
            await turn
        finally:
            loop.call_soon(self._give_turn)  # to the next one, once this one's part is in a frame or it has left

    async def calm(self) -> None:
        """Wait while it is crowded. For one at a time: whoever takes on the work that fills it."""
        if self.crowded:
            self._calm = asyncio.get_running_loop().create_future()
            await self._calm

    def end(self) -> None:
        """Let the pump return once all that is queued is sent."""
        self._ended = True
        self._wake.set()

    def release(self) -> None:
        """Let whoever waits go on: the stream is gone, and nothing will be sent."""
        self._gone = True
        turns, self._turns = self._turns, deque()
        for turn in (*turns, self._calm):
            if turn is not None and not turn.done():
                turn.set_result(None)

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
            self._give_turn()
            if self._calm is not None and not self.crowded and not self._calm.done():
                self._calm.set_result(None)

    def _give_turn(self) -> None:
        """Let the writer that waits longest go on, if there is room."""
        while self._turns and self._queued_bytes <= QUEUED_BYTES:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _take(self) -> tuple[F, int] | None:
        if self._closed_frames:
            return self._closed_frames.popleft()
        if self._filling is None:
            return None
        taken = (self._filling, self._filling_bytes)
        self._filling, self._filling_bytes = None, 0
        return taken
