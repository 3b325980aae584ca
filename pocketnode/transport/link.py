"""A link at its gateway: one gRPC stream that carries all lanes of a worker to one endpoint (rules 8.4 to 8.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from pocketnode.errors import PocketError, Unavailable
from pocketnode.transport.channels import CONNECT_TIMEOUT_S
from pocketnode.transport.outbox import Outbox
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, SupplierFrame, SupplierMessage

ACKNOWLEDGE_AFTER_S = 1.7  # rule 3.13 allows 2
ACKNOWLEDGE_WITH_S = 0.4  # lanes that are due so soon after the first go in its frame
END_TIMEOUT_S = 2.0
OPENING_MOST = 64  # lanes that are being opened at once; more wait for their turn

Stream = Any  # grpc.aio.StreamStreamCall, generic in ways its stubs do not say


class Channel(Protocol):
    """A gRPC channel, as far as a link needs it."""

    async def close(self) -> None: ...


class Carried(Protocol):
    """A lane, as its link sees it."""

    @property
    def unsigned_since_s(self) -> float | None:
        """Since when, by the loop's clock, the supplier has not been told of units; None where it knows all."""

    def take(self, message: SupplierMessage) -> None:
        """Take a message for this lane."""

    def acknowledge(self) -> None:
        """Send a bare Receipt."""

    def fail(self, error: PocketError) -> None:
        """End: the link has ended."""


class Link:
    """Lanes by their numbers, the outbox that they share, and who reads for them.

    Parameters
    ----------
    place : endpoint, for messages.
    on_end : called once, as soon as no lane can be added any more.
    """

    def __init__(self, stream: Stream, channel: Channel, place: str, on_end: Callable[[], None] = lambda: None) -> None:
        self.outbox = Outbox[GatewayFrame](GatewayFrame, stream.write)
        self.error: PocketError | None = None
        self.opening = asyncio.Semaphore(OPENING_MOST)
        self._stream = stream
        self._channel = channel
        self.place = place
        self._on_end = on_end
        self._lanes: dict[int, Carried] = {}
        self._next = 0
        self._heard = False
        self._owing: set[Carried] = set()  # lanes that have accepted what the supplier may not know of
        self._acknowledging: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(CONNECT_TIMEOUT_S, self._look)
        self._pump = loop.create_task(self._write())
        self._reader = loop.create_task(self._receive())

    @property
    def ended(self) -> bool:
        """Whether no lane can be added any more."""
        return self.error is not None

    # ---- lanes

    def add(self, lane: Carried) -> int:
        """Carry a lane from now on; return its number (rule 8.5).

        Raises
        ------
        Unavailable
            the link has ended.
        """
        if self.error is not None:
            raise Unavailable(str(self.error))
        number, self._next = self._next, self._next + 1
        self._lanes[number] = lane
        return number

    def drop(self, number: int) -> None:
        """Carry a lane no more; without lanes a link ends."""
        lane = self._lanes.pop(number, None)
        if lane is not None:
            self._owing.discard(lane)
        if not self._lanes:
            self._end(Unavailable("the link is closed"), orderly=True)

    def owe(self, lane: Carried) -> None:
        """Have `lane` acknowledge in time what it has accepted (rule 3.13)."""
        self._owing.add(lane)
        if self._acknowledging is None:
            self._wake_after(ACKNOWLEDGE_AFTER_S)

    def _wake_after(self, seconds: float) -> None:
        self._acknowledging = asyncio.get_running_loop().call_later(seconds, self._acknowledge)

    def _acknowledge(self) -> None:
        """Let all lanes that are due, or soon will be, send their bare Receipts: they share a frame."""
        self._acknowledging = None
        now_s = asyncio.get_running_loop().time()
        due_s = now_s + ACKNOWLEDGE_WITH_S - ACKNOWLEDGE_AFTER_S
        first_s = now_s
        for lane in list(self._owing):
            since_s = lane.unsigned_since_s
            if since_s is None:
                self._owing.discard(lane)
            elif since_s <= due_s:
                self._owing.discard(lane)
                lane.acknowledge()
            else:
                first_s = min(first_s, since_s)
        if self._owing:
            self._wake_after(first_s + ACKNOWLEDGE_AFTER_S - now_s)

    # ---- the stream

    async def _write(self) -> None:
        try:
            await self.outbox.pump()
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            self._broke(error)

    async def _receive(self) -> None:
        try:
            while isinstance(frame := await self._stream.read(), SupplierFrame):
                self._heard = True
                for message in frame.messages:
                    lane = self._lanes.get(message.lane)
                    if lane is not None:  # else of a lane that has ended meanwhile
                        lane.take(message)
                if self.outbox.stuck:
                    self.abort(Unavailable(f"{self.place} does not read what it is sent"))
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            self._broke(error)
        self.abort(Unavailable(f"{self.place} ended the link"))

    def _broke(self, error: Exception) -> None:
        details = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
        self.abort(Unavailable(f"the link broke: {details}"))

    def _look(self) -> None:
        """End a link that nobody answered on, or that nobody uses."""
        if not self._heard:
            self.abort(Unavailable(f"{self.place} did not open a lane in {CONNECT_TIMEOUT_S:.0f} s"))
        elif not self._lanes:
            self._end(Unavailable("the link is closed"), orderly=True)

    # ---- the end

    def abort(self, error: PocketError) -> None:
        """End at once, and with it every lane: whoever waits gets `error`."""
        self._end(error, orderly=False)

    async def closed(self) -> None:
        """Wait until the stream of a link that ends is gone; return at once where it goes on."""
        if self._ending is not None:
            await asyncio.shield(self._ending)

    def _end(self, error: PocketError, orderly: bool) -> None:
        if self.error is not None:
            return
        self.error = error
        self._on_end()
        self._late.cancel()
        if self._acknowledging is not None:
            self._acknowledging.cancel()
        lanes, self._lanes = self._lanes, {}
        self._owing.clear()
        self.outbox.release()
        for lane in lanes.values():
            lane.fail(error)
        self._ending = asyncio.get_running_loop().create_task(self._free(orderly))

    async def _free(self, orderly: bool) -> None:
        """Let what is queued go out if that is wanted, then end the stream and free the channel."""
        try:
            if orderly:
                self.outbox.end()
                async with asyncio.timeout(END_TIMEOUT_S):
                    await asyncio.wait([self._pump])
                    await self._stream.done_writing()
                    await asyncio.wait([self._reader])
        except (grpc.RpcError, asyncio.InvalidStateError, TimeoutError):
            pass  # it was gone already
        finally:
            self._pump.cancel()
            self._reader.cancel()
            self._stream.cancel()
            await self._channel.close()
