"""One relay at its gateway: takes the answer's parts, checks its signed end (rule 3.10)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keccak import Hasher, hasher
from pocketnode.crypto.keys import verify
from pocketnode.errors import LocalError, PocketError, RemoteError, Unavailable
from pocketnode.protocol import fault as faults
from pocketnode.protocol.digest import response_digest
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.types import Response, SignedReceipt, SignedResponse
from pocketnode.transport.ports import Ended
from pocketnode.wire.pb.relay_pb2 import Done

CANCEL_WAIT_S = 2.0
BUFFERED_BYTES_MOST = 64 * 1024 * 1024


@dataclass(slots=True)
class Sent:
    """The Receipt that a reply is bound to; replaced when its hold is raised."""

    signed: SignedReceipt
    digest: bytes
    most: int  # units up to which the hold may be raised
    step: int  # by how much at a time


class LaneReply:
    """Implements `ports.Reply`.

    Parameters
    ----------
    sent : the Receipt of this relay.
    on_accept : adds units to the lane's total.
    on_cancel : tells the supplier to stop.
    """

    __slots__ = (
        "_accepted",
        "_domain",
        "_error",
        "_fault_body",
        "_hash",
        "_older",
        "_on_accept",
        "_on_cancel",
        "_parts",
        "_size",
        "_supplier",
        "_waiter",
        "ended",
        "head",
        "refused",
        "sent",
    )

    def __init__(
        self,
        sent: Sent,
        supplier: bytes,
        domain: Domain,
        on_accept: Callable[[int], None],
        on_cancel: Callable[[LaneReply], None],
    ) -> None:
        self.sent = sent
        self.head = b""
        self.ended: Ended | None = None
        self.refused: Ended | None = None
        self._older: list[Sent] = []
        self._supplier = supplier
        self._domain = domain
        self._on_accept = on_accept
        self._on_cancel = on_cancel
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._hash: Hasher | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: PocketError | None = None
        self._fault_body: list[bytes] | None = None
        self._accepted = False

    # ---- the user's side

    async def begun(self, within_s: float | None = None) -> None:
        """Wait for the head; a signed error is raised here."""
        timer = None
        try:
            while not self.head or self._fault_body is not None:
                self._raise()
                if within_s is not None and timer is None:  # a fifth of what asyncio.timeout costs
                    timer = asyncio.get_running_loop().call_later(within_s, self._late)
                await self._wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def read(self) -> bytes | None:
        while not self._parts:
            if self.ended is not None:
                return None
            self._raise()
            await self._wait()
        part = self._parts.popleft()
        if self._parts:  # what came in one frame goes on in one write
            part = b"".join((part, *self._parts))
            self._parts.clear()
        self._size -= len(part)
        return part

    def accept(self) -> int:
        if self.ended is None or self._accepted:
            raise LocalError("3.10", "only a verified answer is accepted, and only once")
        self._accepted = True
        units = self.ended.signed.response.units
        self._on_accept(units)
        return units

    async def cancel(self) -> Ended | None:
        if self.ended is None and self._error is None:
            self._on_cancel(self)
            try:
                async with asyncio.timeout(CANCEL_WAIT_S):
                    while self.ended is None and self._error is None:
                        await self._wait()
            except TimeoutError:
                self.fail(Unavailable("the supplier did not end a cancelled relay"))
        return self.ended

    @property
    def receipt(self) -> bytes:
        """The digest of the newest Receipt of this relay."""
        return self.sent.digest

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.ended is not None or self._error is not None

    # ---- the lane's side

    def raised(self, sent: Sent) -> None:
        """The hold was raised by a new Receipt; one that crosses the answer's end leaves it bound to an older one."""
        self._older.append(self.sent)
        self.sent = sent

    def take_head(self, head: bytes, body: bytes) -> None:
        """Take the Answer message."""
        if self._hash is not None:
            self.fail(RemoteError("2.2", "two heads in one answer"))
            return
        self.head = head
        self._hash = hasher(head)
        if faults.is_fault(head):
            self._fault_body = []
        if body:
            self.take_part(body)
        self._notify()

    def take_part(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._hash is None:
            self.fail(RemoteError("2.2", "a body without a head"))
            return
        self._hash.update(body)
        if self._fault_body is not None:
            self._fault_body.append(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > BUFFERED_BYTES_MOST:
            self._on_cancel(self)
            self.fail(Unavailable("the answer is read too slowly"))
        self._notify()

    def take_done(self, done: Done, backend: bytes) -> None:
        """Take the end: verify, then hand it to whoever reads."""
        ended = self._verified(done, backend)
        if isinstance(ended, RemoteError):
            self.fail(ended)
        elif self._fault_body is not None:
            self.refused = ended
            self.fail(self._signed_fault())
        elif done.fault and done.fault != FaultClass.CANCELLED:
            self.refused = ended
            self.fail(RelayFailed(_fault_class(done.fault), "the answer broke off"))
        else:
            self.ended = ended
            self._notify()

    def fail(self, error: PocketError) -> None:
        """End without an answer; parts already here can still be read."""
        if self.ended is None and self._error is None:
            self._error = error
            self._notify()

    def _verified(self, done: Done, backend: bytes) -> Ended | RemoteError:
        if self._hash is None:
            return RemoteError("3.10", "an end without an answer")
        payload = self._hash.digest()
        for sent in (self.sent, *reversed(self._older)):
            response = Response(sent.digest, payload, done.units, done.first_byte_ms, done.done_ms, backend)
            digest = response_digest(self._domain, response)
            if verify(digest, done.signature, self._supplier):
                signed = SignedResponse(response, done.signature)
                return _within_hold(Ended(sent.digest, digest, signed, sent.signed))
        return RemoteError("3.10", "the Response is not signed by the supplier over this request and answer")

    def _signed_fault(self) -> PocketError:
        try:
            fault = faults.decode(self.head, b"".join(self._fault_body or ()))
        except RemoteError as error:
            return error
        return RelayFailed(fault.kind, fault.message, fault.retry_after_ms)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _fault_class(name: str) -> FaultClass:
    try:
        return FaultClass(name)
    except ValueError:
        return FaultClass.BACKEND


def _within_hold(ended: Ended) -> Ended | RemoteError:
    units, hold = ended.signed.response.units, ended.receipt_signed.receipt.hold
    return ended if units <= hold else RemoteError("3.9", f"{units} units on a hold of {hold}")
