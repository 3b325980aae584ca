"""Whatever comes over a lane, either end answers with a rule or goes on: no crash, no hang, nothing held for good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketnode.errors import PocketError, RemoteError
from pocketnode.protocol.digest import receipt_digest
from pocketnode.protocol.payload import payload_hash
from pocketnode.protocol.types import Receipt, SignedReceipt
from pocketnode.transport.outbox import Outbox
from pocketnode.transport.ports import Opening
from pocketnode.transport.reply import LaneReply, Sent
from pocketnode.transport.server_lane import SupplierLane
from pocketnode.wire.pb.relay_pb2 import Done, GatewayFrame, GatewayMessage, SupplierFrame
from tests.transport.conftest import APPLICATION, DOMAIN, GATEWAY, SERVICE, SUPPLIER, FakeAnswerer

OPENING = Opening(APPLICATION, SERVICE, 7, SUPPLIER.address, GATEWAY.address, b"\x07" * 32)
small = st.integers(0, 6)
sizes = small | st.integers(0, 2**64 - 1)
blobs = st.binary(max_size=80)
chunks = st.fixed_dictionaries({"seq": small, "body": blobs, "more": st.booleans()})
credits = st.fixed_dictionaries({"seq": small, "total": sizes, "hold": sizes, "signature": blobs})
requests = st.fixed_dictionaries(
    {
        "seq": sizes,
        "total": sizes,
        "hold": sizes,
        "signature": blobs,
        "request": blobs,
        "head": blobs,
        "body": blobs,
        "more": st.booleans(),
    }
)
signed_requests = st.tuples(small, small, small, st.booleans(), blobs)


def message(kind: str, fields: dict[str, Any]) -> GatewayMessage:
    made = GatewayMessage()
    getattr(made, kind).CopyFrom(type(getattr(made, kind))(**fields))
    return made


def signed(seq: int, total: int, hold: int, more: bool, body: bytes) -> GatewayMessage:
    """Return a request whose signature is good, so that what lies behind the check is reached too."""
    head = b"POST /\n\n"
    request = payload_hash(head, body + (b"rest" if more else b""))
    receipt = Receipt(OPENING.session, SUPPLIER.address, OPENING.lane, seq, total, hold, request)
    signature = GATEWAY.sign(receipt_digest(DOMAIN, receipt))
    fields = {"seq": seq, "total": total, "hold": hold, "signature": signature, "head": head, "body": body}
    return message("request", {**fields, "more": more, "request": request if more else b""})


messages = st.one_of(
    signed_requests.map(lambda fields: signed(*fields)),
    requests.map(lambda fields: message("request", fields)),
    chunks.map(lambda fields: message("chunk", fields)),
    credits.map(lambda fields: message("credit", fields)),
    small.map(lambda seq: message("cancel", {"seq": seq})),
    st.just(GatewayMessage()),
)


async def feed(seen: Iterable[GatewayMessage]) -> FakeAnswerer:
    """Give a lane the messages until it refuses one, then end it."""
    answerer = FakeAnswerer(credit_limit=50)
    sent: list[SupplierFrame] = []

    async def send(frame: SupplierFrame) -> None:
        sent.append(frame)

    outbox = Outbox[SupplierFrame](SupplierFrame, send)
    pump = asyncio.ensure_future(outbox.pump())
    lane = SupplierLane(OPENING, answerer.account, answerer, outbox, SUPPLIER, DOMAIN)
    try:
        for one in seen:
            lane.receive(one)
            await asyncio.sleep(0)
    except RemoteError as refusal:
        assert refusal.rule
    lane.end()
    await asyncio.wait_for(lane.drained(), 1)
    outbox.end()
    await asyncio.wait_for(pump, 1)
    return answerer


@settings(max_examples=300, deadline=None)
@given(st.lists(messages, max_size=20))
def test_a_supplier_survives_any_messages(seen: list[GatewayMessage]) -> None:
    answerer = asyncio.run(feed(seen))
    assert answerer.account.held == 0
    assert answerer.account.closed == [OPENING.lane]


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_frame_or_refused_by_protobuf(raw: bytes) -> None:
    for kind in (GatewayFrame, SupplierFrame):
        try:
            kind.FromString(raw)
        except DecodeError:
            continue


answers = st.one_of(
    st.tuples(st.just("head"), blobs, blobs),
    st.tuples(st.just("head"), st.sampled_from([b"200\n\n", b"!busy 1\n\n", b"!x y\n\n", b"!"]), blobs),
    st.tuples(st.just("part"), blobs, st.just(b"")),
    st.tuples(st.just("done"), blobs, blobs),
)


@settings(max_examples=300)
@given(st.lists(answers, max_size=12), sizes)
def test_a_gateway_accepts_nothing_that_is_not_signed(seen: list[tuple[str, bytes, bytes]], units: int) -> None:
    asyncio.run(take(seen, units))


async def take(seen: list[tuple[str, bytes, bytes]], units: int) -> None:
    receipt = Receipt(OPENING.session, SUPPLIER.address, OPENING.lane, 1, 0, 10, b"\x03" * 32)
    sent = Sent(SignedReceipt(receipt, b""), receipt_digest(DOMAIN, receipt), 10, 10)
    accepted: list[int] = []
    reply = LaneReply(sent, SUPPLIER.address, DOMAIN, accepted.append, lambda _: None)
    for kind, one, two in seen:
        if kind == "head":
            reply.take_head(one, two)
        elif kind == "part":
            reply.take_part(one)
        else:
            reply.take_done(Done(units=units, signature=one), two)
    try:
        async with asyncio.timeout(0.01):
            await reply.begun()
            while await reply.read() is not None:
                pass
    except (PocketError, TimeoutError):
        pass
    assert reply.ended is None
    assert accepted == []
