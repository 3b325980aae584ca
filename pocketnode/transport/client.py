"""A lane at its gateway: signs Receipts, hands answers to those who wait, acknowledges (rules 3.1 to 3.13)."""

from __future__ import annotations

import asyncio

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.errors import PocketError, Unavailable
from pocketnode.protocol import lane as lanes
from pocketnode.protocol.digest import receipt_digest
from pocketnode.protocol.payload import payload_hash
from pocketnode.protocol.types import Receipt, SignedReceipt
from pocketnode.transport.answers import KeptAnswers, SecondAnswers
from pocketnode.transport.channels import CONNECT_TIMEOUT_S
from pocketnode.transport.grpc_options import CHUNK_BYTES
from pocketnode.transport.link import Link
from pocketnode.transport.opening import reason_of, write_open
from pocketnode.transport.ports import LaneTerms, Opening
from pocketnode.transport.reply import LaneReply, Sent
from pocketnode.wire.pb.relay_pb2 import Done, GatewayMessage, NeedHold, Opened, SupplierMessage

MESSAGE_OVERHEAD = 256
SMALL_BYTES = 4096  # a body up to this size does not wait for room
CLOSE_TIMEOUT_S = 2.0


class Lane:
    """Implements `ports.LaneClient`. `links.Links` opens it."""

    __slots__ = (
        "_answers",
        "_backend",
        "_close",
        "_domain",
        "_error",
        "_held",
        "_key",
        "_link",
        "_number",
        "_opened",
        "_outbox",
        "_replies",
        "_second",
        "_state",
        "_unsigned_since_s",
        "opening",
        "terms",
    )

    def __init__(self, opening: Opening, link: Link, key: Key, domain: Domain, answers: KeptAnswers) -> None:
        self.opening = opening
        self.terms = LaneTerms(credit_limit=0)
        self._link = link
        self._outbox = link.outbox
        self._number = 0
        self._key = key
        self._domain = domain
        self._state = lanes.GatewayLane(opening.session, opening.supplier, opening.lane)
        self._replies: dict[int, LaneReply] = {}
        self._held = 0
        self._backend = b""
        self._unsigned_since_s = 0.0
        self._error: PocketError | None = None
        self._answers = answers
        self._second = SecondAnswers(answers, opening.supplier, domain)
        self._opened: asyncio.Future[None] | None = None  # while Open is not answered
        self._close: asyncio.Future[None] | None = None  # while Close is not answered

    @property
    def in_flight(self) -> int:
        return len(self._replies)

    @property
    def total(self) -> int:
        return self._state.total

    @property
    def broken(self) -> bool:
        return self._error is not None

    @property
    def credit_left(self) -> int:
        """Units that the supplier will still hold for us (rule 3.6), as far as this lane knows."""
        return self.terms.credit_limit - self._held - self._state.unsigned

    @property
    def unsigned_since_s(self) -> float | None:
        """Since when, by the loop's clock, the supplier has not been told of units; None where it knows all."""
        return self._unsigned_since_s if self._state.unsigned and self._error is None else None

    async def open(self) -> None:
        """Send Open and wait for Opened.

        Raises
        ------
        RemoteError
            the supplier refuses, with the rule it names.
        Unavailable
            the link breaks, the supplier drains, or does not answer in time.
        """
        async with self._link.opening:
            self._number = self._link.add(self)
            self._opened = asyncio.get_running_loop().create_future()
            write_open(self._message().open, self.opening)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._opened
            except TimeoutError as error:
                await self.abort(Unavailable("nobody waits for the lane any more"))
                raise Unavailable(f"{self._link.place} did not open a lane in {CONNECT_TIMEOUT_S:.0f} s") from error
            except asyncio.CancelledError:
                await self.abort(Unavailable("nobody waits for the lane any more"))
                raise
            except PocketError:
                await self._link.closed()
                raise
            finally:
                self._opened = None

    async def relay(self, head: bytes, body: bytes, hold: int, most: int | None = None) -> LaneReply:
        reply = await self.send(head, body, hold, most)
        try:
            await reply.begun()
        except asyncio.CancelledError:
            self._cancel(reply)
            raise
        return reply

    async def send(self, head: bytes, body: bytes, hold: int, most: int | None = None) -> LaneReply:
        if len(body) > SMALL_BYTES and self._outbox.full:
            await self._outbox.room()
        if self._outbox.stuck:
            raise Unavailable(f"{self._link.place} does not read what it is sent")
        if self._error is not None:
            raise Unavailable(f"the lane has ended: {self._error}")
        self._state, receipt = lanes.request_receipt(self._state, payload_hash(head, body), hold)
        sent = self._sign(receipt, hold if most is None else max(most, hold), hold)
        reply = LaneReply(sent, self.opening.supplier, self._domain, self._accepted, self._cancel)
        self._replies[receipt.seq] = reply
        self._held += hold
        self._send(sent, head, body)
        if len(body) > CHUNK_BYTES:
            await self._send_rest(receipt.seq, body)
        return reply

    async def close(self) -> None:
        """Acknowledge what is accepted with a bare Receipt (rule 3.13) and end the lane; its last lane ends a link."""
        if self._error is None:
            self.acknowledge()
            self._close = asyncio.get_running_loop().create_future()
            self._message().close.SetInParent()
            await asyncio.wait([self._close], timeout=CLOSE_TIMEOUT_S)
        self._leave(Unavailable("the lane is closed"))
        await self._link.closed()

    async def abort(self, error: PocketError) -> None:
        """End at once; whoever waits gets `error`. The link goes on if it has other lanes."""
        if self._error is None:
            self._message().close.SetInParent()
        self._leave(error)

    def fail(self, error: PocketError) -> None:
        """End the lane: everyone who waits on it gets `error`."""
        if self._error is None:
            self._error = error
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            reply.fail(error)
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        if self._close is not None and not self._close.done():
            self._close.set_result(None)

    def _leave(self, error: PocketError) -> None:
        self.fail(error)
        self._link.drop(self._number)

    # ---- sending

    def _sign(self, receipt: Receipt, most: int, step: int) -> Sent:
        digest = receipt_digest(self._domain, receipt)
        return Sent(SignedReceipt(receipt, self._key.sign(digest)), digest, most, step)

    def _message(self, size: int = MESSAGE_OVERHEAD) -> GatewayMessage:
        """Return a message of this lane that will go out as soon as the stream takes it."""
        message = self._outbox.frame(size).messages.add()
        message.lane = self._number
        return message

    def _send(self, sent: Sent, head: bytes, body: bytes) -> None:
        """Send a request, of a long body the first part."""
        receipt = sent.signed.receipt
        first = body[:CHUNK_BYTES]
        message = self._message(len(head) + len(first) + MESSAGE_OVERHEAD).request
        message.seq = receipt.seq
        message.total = receipt.total
        message.hold = receipt.hold
        message.signature = sent.signed.signature
        message.head = head
        message.body = first
        if len(body) > CHUNK_BYTES:
            message.request = receipt.request
            message.more = True

    async def _send_rest(self, seq: int, body: bytes) -> None:
        for at in range(CHUNK_BYTES, len(body), CHUNK_BYTES):
            if self._outbox.full:
                await self._outbox.room()
            if seq not in self._replies:
                return  # it is answered already, as where it is refused, or the lane has ended
            part = body[at : at + CHUNK_BYTES]
            chunk = self._message(len(part) + MESSAGE_OVERHEAD).chunk
            chunk.seq = seq
            chunk.body = part
            chunk.more = at + CHUNK_BYTES < len(body)

    def _credit(self, signed: SignedReceipt) -> None:
        credit = self._message().credit
        credit.seq = signed.receipt.seq
        credit.total = signed.receipt.total
        credit.hold = signed.receipt.hold
        credit.signature = signed.signature

    def acknowledge(self) -> None:
        """Send a bare Receipt if the supplier does not know all yet."""
        if self._error is None and self._state.unsigned:
            self._state, receipt = lanes.bare_receipt(self._state)
            self._credit(self._sign(receipt, 0, 0).signed)

    def _accepted(self, units: int) -> None:
        if not self._state.unsigned:
            self._unsigned_since_s = asyncio.get_running_loop().time()
            self._link.owe(self)
        self._state = lanes.accepted(self._state, units)

    def _cancel(self, reply: LaneReply) -> None:
        if self._error is None and not reply.over:
            self._message().cancel.seq = reply.sent.signed.receipt.seq

    def _raise_hold(self, message: NeedHold) -> None:
        reply = self._replies.get(message.seq)
        if reply is None:
            return
        held = reply.sent.signed.receipt
        hold = min(reply.sent.most, max(held.hold, message.units) + reply.sent.step)
        if hold > held.hold:
            self._state, receipt = lanes.raised_receipt(self._state, held, hold)
            reply.raised(self._sign(receipt, reply.sent.most, reply.sent.step))
            self._held += hold - held.hold
            self._credit(reply.sent.signed)
        elif message.units >= held.hold:
            self._cancel(reply)  # all that this relay may cost is spent: what was sent is paid for

    # ---- receiving

    def take(self, message: SupplierMessage) -> None:
        """Take a message from the link."""
        kind = message.WhichOneof("kind")
        if kind == "answer":
            reply = self._replies.get(message.answer.seq)
            if reply is not None:
                reply.take_head(message.answer.head, message.answer.body)
            else:
                self._second.begin(message.answer.seq, message.answer.head, message.answer.body)
        elif kind == "chunk":
            reply = self._replies.get(message.chunk.seq)
            if reply is not None:
                reply.take_part(message.chunk.body)
            else:
                self._second.go_on(message.chunk.seq, message.chunk.body)
        elif kind == "done":
            self._done(message.done)
        elif kind == "need_hold":
            self._raise_hold(message.need_hold)
        elif kind == "opened":
            self._take_opened(message.opened)
        elif kind == "closed":
            self._leave(reason_of(message.closed))

    def _done(self, done: Done) -> None:
        self._backend = done.backend or self._backend
        reply = self._replies.pop(done.seq, None)
        if reply is None:
            self._second.end(done, self._backend)
            return
        self._held -= reply.sent.signed.receipt.hold
        reply.take_done(done, self._backend)
        if (ended := reply.ended or reply.refused) is not None:
            self._answers.add(ended)

    def _take_opened(self, opened: Opened) -> None:
        if self._opened is not None and not self._opened.done():
            self.terms = LaneTerms(opened.credit_limit, opened.max_in_flight, opened.max_request)
            self._opened.set_result(None)
