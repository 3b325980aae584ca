"""A link at its supplier: opens and closes the lanes on one gRPC stream (rules 8.2 and 8.4 to 8.7).

Whatever is wrong with a lane ends that lane alone; whoever breaks the rules of the link itself loses all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.errors import RemoteError, Unavailable
from pocketnode.transport.opening import read_open
from pocketnode.transport.outbox import Outbox
from pocketnode.transport.ports import Answerer, Opening
from pocketnode.transport.server_lane import SupplierLane
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, GatewayMessage, Open, SupplierFrame, SupplierMessage

EMPTY_S = 10.0  # a link may be without lanes so long
OPENING_MOST = 1024  # lanes that are being opened on one link


class Host(Protocol):
    """The listener, as its links see it."""

    @property
    def keys(self) -> Mapping[bytes, Key]:
        """Operator keys by their addresses."""

    def take_place(self) -> None:
        """Count a lane in.

        Raises
        ------
        Unavailable
            the supplier drains, or enough lanes are open.
        """

    def leave_place(self) -> None:
        """Count a lane off."""


class SupplierLink:
    """One stream of a gateway worker, and its lanes by their numbers."""

    def __init__(self, host: Host, answerer: Answerer, outbox: Outbox[SupplierFrame], domain: Domain) -> None:
        self._host = host
        self._answerer = answerer
        self._outbox = outbox
        self._domain = domain
        self._lanes: dict[int, SupplierLane] = {}
        self._opening: dict[int, asyncio.Task[bool]] = {}
        self._newest = -1  # number of the lane that was opened last
        self._limit = asyncio.timeout(None)

    @property
    def lanes(self) -> int:
        """Open lanes."""
        return len(self._lanes)

    @property
    def in_flight(self) -> int:
        """Relays being answered."""
        return sum(lane.in_flight for lane in self._lanes.values())

    async def serve(self, read: Callable[[], Awaitable[GatewayFrame | None]]) -> None:
        """Take frames until the gateway ends its side.

        Raises
        ------
        RemoteError
            a rule of the link was broken: all its lanes end.
        """
        try:
            async with self._limit:
                self._watch()
                while (frame := await read()) is not None:
                    for message in frame.messages:
                        self._take(message)
                    if self._outbox.crowded:
                        await self._outbox.calm()
        except TimeoutError as error:
            raise RemoteError("8.7", f"no lane in {EMPTY_S:.0f} s") from error

    async def drain(self) -> None:
        """Close each lane as soon as its relays have ended."""
        for number, task in list(self._opening.items()):
            task.cancel()
            self._refuse(number, Unavailable("the supplier drains"))
        await asyncio.gather(*(self._drain(number, lane) for number, lane in list(self._lanes.items())))

    def end(self) -> None:
        """End all lanes, when the stream is gone.

        Does not wait: gRPC cancels whoever serves the stream, at any await.
        """
        for task in list(self._opening.values()):
            task.cancel()
        for number in list(self._lanes):
            self._end(number)
        self._outbox.release()

    def close_all(self, rule: str, message: str) -> None:
        """Tell the gateway that each lane is over, and why."""
        for number in list(self._lanes):
            self._close(number, rule, message)

    async def _drain(self, number: int, lane: SupplierLane) -> None:
        await lane.drained()
        if self._lanes.get(number) is lane:
            self._close(number, "drain", "the supplier drains")

    # ---- messages

    def _take(self, message: GatewayMessage) -> None:
        number, kind = message.lane, message.WhichOneof("kind")
        lane = self._lanes.get(number)
        if kind == "open":
            self._open(number, message.open)
        elif lane is None:
            self._take_unopened(number, kind)
        elif kind == "close":
            self._close(number)
        else:
            try:
                lane.receive(message)
            except RemoteError as error:
                self._close(number, error.rule, str(error))

    def _take_unopened(self, number: int, kind: str | None) -> None:
        """Take a message for a lane that is not open: for one that has ended it is passed over."""
        if number > self._newest:
            raise RemoteError("8.5", f"{kind} for lane {number}, which was never opened")
        if (opening := self._opening.get(number)) is not None:
            opening.cancel()
            self._tell_closed(number, "8.2" if kind != "close" else "", "the lane was not open yet")

    def _open(self, number: int, message: Open) -> None:
        if number <= self._newest:
            raise RemoteError("8.5", f"lane {number} opened after {self._newest}")
        self._newest = number
        try:
            if len(self._opening) >= OPENING_MOST:
                raise Unavailable(f"{OPENING_MOST} lanes are being opened on this link")
            opening, key = read_open(message, self._host.keys)
            self._host.take_place()
        except (RemoteError, Unavailable) as error:
            self._refuse(number, error)
            return
        task = self._opening[number] = asyncio.get_running_loop().create_task(self._admit(number, opening, key))
        task.add_done_callback(lambda done: self._opened(number, done))
        self._watch()

    async def _admit(self, number: int, opening: Opening, key: Key) -> bool:
        """Return whether the lane is open now."""
        try:
            account = await self._answerer.admit(opening)
        except (RemoteError, Unavailable) as error:
            self._refuse(number, error)
            return False
        self._lanes[number] = SupplierLane(opening, account, self._answerer, self._outbox, key, self._domain, number)
        opened = self._message(number, 64).opened
        opened.credit_limit = account.terms.credit_limit
        opened.max_in_flight = account.terms.max_in_flight
        opened.max_request = account.terms.max_request
        return True

    def _opened(self, number: int, done: asyncio.Task[bool]) -> None:
        del self._opening[number]
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._refuse(number, Unavailable("the supplier failed for a reason of its own"))
            done.get_loop().call_exception_handler({"message": "a lane was not opened", "exception": error})
        if done.cancelled() or error is not None or not done.result():
            self._host.leave_place()
            self._watch()

    # ---- ends

    def _close(self, number: int, rule: str = "", message: str = "") -> None:
        self._tell_closed(number, rule, message)
        self._end(number)

    def _end(self, number: int) -> None:
        self._lanes.pop(number).end()
        self._host.leave_place()
        self._watch()

    def _refuse(self, number: int, error: RemoteError | Unavailable) -> None:
        self._tell_closed(number, error.rule if isinstance(error, RemoteError) else "unavailable", str(error))

    def _tell_closed(self, number: int, rule: str, message: str) -> None:
        closed = self._message(number, 64 + len(message)).closed
        closed.SetInParent()
        closed.rule = rule
        closed.message = message

    def _message(self, number: int, size: int) -> SupplierMessage:
        message = self._outbox.frame(size).messages.add()
        message.lane = number
        return message

    def _watch(self) -> None:
        """Give a link without lanes a while, and one with lanes all the time."""
        used = self._lanes or self._opening
        with suppress(RuntimeError):  # it ends already
            self._limit.reschedule(None if used else asyncio.get_running_loop().time() + EMPTY_S)
