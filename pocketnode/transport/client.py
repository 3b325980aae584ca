"""A lane at its gateway: signs Receipts, hands answers to those who wait, acknowledges (rules 3.1 to 3.13)."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.errors import PocketError, RemoteError, Unavailable
from pocketnode.protocol import lane as lanes
from pocketnode.protocol.digest import receipt_digest
from pocketnode.protocol.payload import payload_hash
from pocketnode.protocol.types import Receipt, SignedReceipt
from pocketnode.transport.answers import KeptAnswers, SecondAnswers
from pocketnode.transport.channels import CONNECT_TIMEOUT_S, ClientCertificate, open_channel
from pocketnode.transport.grpc_options import CHUNK_BYTES, PATH, PROTOCOL_VERSION
from pocketnode.transport.outbox import Outbox
from pocketnode.transport.ports import LaneTerms, Opening
from pocketnode.transport.reply import LaneReply, Sent
from pocketnode.wire.pb.relay_pb2 import Done, GatewayFrame, NeedHold, SupplierFrame, SupplierMessage

ACKNOWLEDGE_AFTER_S = 1.0  # rule 3.13 allows 2
MESSAGE_OVERHEAD = 256
CLOSE_TIMEOUT_S = 2.0

Stream = Any  # grpc.aio.StreamStreamCall, generic in ways its stubs do not say


async def open_lane(
    opening: Opening,
    endpoint: str,
    fingerprint: bytes,
    key: Key,
    domain: Domain,
    client: ClientCertificate | None = None,
    answers: KeptAnswers | None = None,
) -> Lane:
    """Open a lane to the supplier at `endpoint` and return it once the supplier has agreed.

    Parameters
    ----------
    opening : `gateway` must be `key`'s address.
    fingerprint : of the supplier's certificate, as registered; zero for plain text.
    client : shown to a supplier that asks for a certificate.
    answers : takes the answers of this lane that are worth keeping.

    Raises
    ------
    RemoteError
        the supplier refuses, with the rule it names, or shows another certificate than the registered one.
    Unavailable
        nobody answers there, or the supplier drains.
    """
    channel = await open_channel(endpoint, fingerprint, client)
    call = channel.stream_stream(
        PATH, request_serializer=GatewayFrame.SerializeToString, response_deserializer=SupplierFrame.FromString
    )()
    lane = Lane(opening, channel, call, key, domain, answers or KeptAnswers())
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await lane.start()
    except TimeoutError as error:
        await lane.abort(Unavailable(f"{endpoint} did not open a lane in {CONNECT_TIMEOUT_S:.0f} s"))
        raise Unavailable(f"{endpoint} did not open a lane in {CONNECT_TIMEOUT_S:.0f} s") from error
    except PocketError as error:
        await lane.abort(error)
        raise
    return lane


class Lane:
    """Implements `ports.LaneClient`."""

    def __init__(
        self,
        opening: Opening,
        channel: grpc.aio.Channel,
        stream: Stream,
        key: Key,
        domain: Domain,
        answers: KeptAnswers,
    ) -> None:
        self.opening = opening
        self.terms = LaneTerms(credit_limit=0)
        self._channel = channel
        self._stream = stream
        self._key = key
        self._domain = domain
        self._state = lanes.GatewayLane(opening.session, opening.supplier, opening.lane)
        self._replies: dict[int, LaneReply] = {}
        self._held = 0
        self._backend = b""
        self._error: PocketError | None = None
        self._answers = answers
        self._second = SecondAnswers(answers, opening.supplier, domain)
        self._outbox = Outbox[GatewayFrame](GatewayFrame, stream.write)
        self._pump: asyncio.Future[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._acknowledging: asyncio.TimerHandle | None = None

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

    async def start(self) -> None:
        """Send Open and wait for Opened."""
        message = self._outbox.frame(MESSAGE_OVERHEAD).messages.add().open
        opening = self.opening
        message.version = PROTOCOL_VERSION
        message.application = opening.application
        message.service = opening.service
        message.session = opening.number
        message.supplier = opening.supplier
        message.gateway = opening.gateway
        message.lane = opening.lane
        message.records = opening.records
        self._pump = asyncio.ensure_future(self._outbox.pump())
        frame = await self._read()
        if frame is None or not frame.messages:
            raise self._error or Unavailable("the supplier ended the lane without a word")
        first, *others = frame.messages
        if first.WhichOneof("kind") == "closed":
            raise _closed(first)
        if first.WhichOneof("kind") != "opened":
            raise RemoteError("8.2", "the first answer is not Opened")
        self.terms = LaneTerms(first.opened.credit_limit, first.opened.max_in_flight, first.opened.max_request)
        for message_ in others:
            self._take(message_)
        self._reader = asyncio.ensure_future(self._receive())

    async def relay(self, head: bytes, body: bytes, hold: int, most: int | None = None) -> LaneReply:
        reply = await self.send(head, body, hold, most)
        try:
            await reply.begun()
        except asyncio.CancelledError:
            self._cancel(reply)
            raise
        return reply

    async def send(self, head: bytes, body: bytes, hold: int, most: int | None = None) -> LaneReply:
        if self._error is not None:
            raise Unavailable(f"the lane has ended: {self._error}")
        self._state, receipt = lanes.request_receipt(self._state, payload_hash(head, body), hold)
        sent = self._sign(receipt, hold if most is None else max(most, hold), hold)
        reply = LaneReply(sent, self.opening.supplier, self._domain, self._accepted, self._cancel)
        self._replies[receipt.seq] = reply
        self._held += hold
        await self._send(sent, head, body)
        return reply

    async def close(self) -> None:
        """Acknowledge what is accepted with a bare Receipt (rule 3.13), end the stream, free the channel."""
        if self._error is None:
            self._acknowledge()
            self._outbox.end()
            await self._until_quiet()
        await self.abort(Unavailable("the lane is closed"))

    async def abort(self, error: PocketError) -> None:
        """End at once; whoever waits gets `error`."""
        self._fail(error)
        if self._acknowledging is not None:
            self._acknowledging.cancel()
        for task in (self._pump, self._reader):
            if task is not None:
                task.cancel()
        self._stream.cancel()
        await self._channel.close()

    # ---- sending

    def _sign(self, receipt: Receipt, most: int, step: int) -> Sent:
        digest = receipt_digest(self._domain, receipt)
        return Sent(SignedReceipt(receipt, self._key.sign(digest)), digest, most, step)

    async def _send(self, sent: Sent, head: bytes, body: bytes) -> None:
        receipt = sent.signed.receipt
        first, rest = body[:CHUNK_BYTES], body[CHUNK_BYTES:]
        message = self._outbox.frame(len(head) + len(first) + MESSAGE_OVERHEAD).messages.add().request
        message.seq = receipt.seq
        message.total = receipt.total
        message.hold = receipt.hold
        message.signature = sent.signed.signature
        message.head = head
        message.body = first
        if not rest:
            return
        message.request = receipt.request
        message.more = True
        for at in range(0, len(rest), CHUNK_BYTES):
            await self._outbox.room()
            part = rest[at : at + CHUNK_BYTES]
            chunk = self._outbox.frame(len(part) + MESSAGE_OVERHEAD).messages.add().chunk
            chunk.seq = receipt.seq
            chunk.body = part
            chunk.more = at + CHUNK_BYTES < len(rest)

    def _credit(self, signed: SignedReceipt) -> None:
        credit = self._outbox.frame(MESSAGE_OVERHEAD).messages.add().credit
        credit.seq = signed.receipt.seq
        credit.total = signed.receipt.total
        credit.hold = signed.receipt.hold
        credit.signature = signed.signature

    def _acknowledge(self) -> None:
        """Send a bare Receipt if the supplier does not know all yet."""
        self._acknowledging = None
        if self._error is not None or not self._state.unsigned:
            return
        self._state, receipt = lanes.bare_receipt(self._state)
        self._credit(self._sign(receipt, 0, 0).signed)

    def _accepted(self, units: int) -> None:
        self._state = lanes.accepted(self._state, units)
        if self._acknowledging is None:
            loop = asyncio.get_running_loop()
            self._acknowledging = loop.call_later(ACKNOWLEDGE_AFTER_S, self._acknowledge)

    def _cancel(self, reply: LaneReply) -> None:
        if self._error is None and not reply.over:
            self._outbox.frame(MESSAGE_OVERHEAD).messages.add().cancel.seq = reply.sent.signed.receipt.seq

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

    async def _receive(self) -> None:
        while (frame := await self._read()) is not None:
            for message in frame.messages:
                self._take(message)
        self._fail(self._error or Unavailable("the supplier ended the lane"))

    async def _read(self) -> SupplierFrame | None:
        try:
            frame = await self._stream.read()
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            details = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
            self._fail(Unavailable(f"the lane broke: {details}"))
            return None
        return frame if isinstance(frame, SupplierFrame) else None

    def _take(self, message: SupplierMessage) -> None:
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
        elif kind == "closed":
            self._fail(_closed(message))

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

    def _fail(self, error: PocketError) -> None:
        """End the lane: everyone who waits on it gets `error`."""
        if self._error is None:
            self._error = error
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            reply.fail(error)

    async def _until_quiet(self) -> None:
        if self._pump is not None:
            await asyncio.wait([self._pump], timeout=CLOSE_TIMEOUT_S)
        if self._reader is not None and not self._reader.done():
            try:
                await asyncio.wait_for(self._stream.done_writing(), timeout=CLOSE_TIMEOUT_S)
            except (grpc.RpcError, asyncio.InvalidStateError, TimeoutError):
                return
            await asyncio.wait([self._reader], timeout=CLOSE_TIMEOUT_S)


def _closed(message: SupplierMessage) -> PocketError:
    rule, words = message.closed.rule, message.closed.message
    if rule in ("drain", "unavailable"):
        return Unavailable(words)
    return RemoteError(rule, f"the supplier closed the lane: {words}")
