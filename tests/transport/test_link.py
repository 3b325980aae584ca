"""Lanes that share a link, both ends over a real socket: what one does must not touch the others (rules 8.4 to 8.7)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from pocketnode.crypto.keys import Key
from pocketnode.errors import PocketError, RemoteError, Unavailable
from pocketnode.protocol.types import ZERO32
from pocketnode.transport import server_link
from pocketnode.transport.client import Lane
from pocketnode.transport.grpc_options import PATH
from pocketnode.transport.links import Links
from pocketnode.transport.ports import Opening, Relay, Served
from pocketnode.transport.server import RelayServer
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, GatewayMessage, Open, SupplierFrame, SupplierMessage
from tests.transport.conftest import APPLICATION, DOMAIN, GATEWAY, OK, SERVICE, SUPPLIER, FakeAnswerer, echo
from tests.transport.test_lane import HEAD, until, whole

OTHER = Key(b"\x03" * 32)


class Market:
    """A supplier's listener with two keys, and links to it."""

    def __init__(self, server: RelayServer, port: int, answerer: FakeAnswerer) -> None:
        self.server, self.answerer = server, answerer
        self.endpoint = f"127.0.0.1:{port}"
        self.links = Links(GATEWAY, DOMAIN)

    async def lane(self, supplier: Key = SUPPLIER) -> Lane:
        return await self.links.open(opening(supplier), self.endpoint, ZERO32)


def opening(supplier: Key = SUPPLIER) -> Opening:
    return Opening(APPLICATION, SERVICE, 7, supplier.address, GATEWAY.address, os.urandom(32))


async def asked(lane: Lane, body: bytes = b"x") -> bytes:
    reply = await lane.relay(HEAD, body, hold=10)
    got = await whole(reply)
    reply.accept()
    return got


async def endless(relay: Relay) -> Served:
    await relay.start(OK)
    await relay.write(b"a")
    await asyncio.sleep(60)
    raise AssertionError("not cancelled")


@pytest.fixture
async def market(answerer: FakeAnswerer) -> AsyncIterator[Market]:
    server = RelayServer(answerer, [SUPPLIER, OTHER], DOMAIN, max_lanes=200)
    port = await server.start("127.0.0.1:0")
    yield Market(server, port, answerer)
    await server.drain(0.2)


async def test_lanes_to_one_endpoint_share_a_link_whatever_their_keys(market: Market) -> None:
    lanes = await asyncio.gather(*(market.lane(key) for key in (SUPPLIER, OTHER) * 20))
    assert (len(market.links), market.server.links, market.server.lanes) == (1, 1, 40)
    got = await asyncio.gather(*(asked(lane, b"%d" % n) for n, lane in enumerate(lanes)))
    assert got == [b"%d" % n for n in range(40)]
    await asyncio.gather(*(lane.close() for lane in lanes))
    assert market.answerer.account.acknowledged == 400
    assert len(market.links) == 0
    await until(lambda: (market.server.links, market.server.lanes) == (0, 0))


async def test_closing_a_lane_leaves_the_others(market: Market) -> None:
    first, second = await market.lane(), await market.lane()
    await asked(first)
    await first.close()
    assert market.answerer.account.closed == [first.opening.lane]
    assert await asked(second, b"still here") == b"still here"
    third = await market.lane()
    assert await asked(third, b"and more") == b"and more"
    assert market.server.links == 1
    await asyncio.gather(second.close(), third.close())


async def test_a_refused_lane_leaves_the_others(market: Market) -> None:
    lane = await market.lane()
    market.answerer.refuse = RemoteError("3.5", "no grant")
    with pytest.raises(RemoteError, match="no grant"):
        await market.lane()
    assert await asked(lane, b"y") == b"y"
    assert market.server.lanes == 1
    await lane.close()


async def test_a_broken_rule_ends_its_lane_alone(market: Market) -> None:
    good = await market.lane()
    foreign = Links(Key(b"\x09" * 32), DOMAIN)
    bad = await foreign.open(opening(), market.endpoint, ZERO32)
    beside = await foreign.open(opening(), market.endpoint, ZERO32)
    with pytest.raises(RemoteError) as caught:
        await bad.relay(HEAD, b"x", hold=10)
    assert caught.value.rule == "3.5"
    assert bad.broken
    assert not beside.broken
    assert await asked(good, b"y") == b"y"
    await asyncio.gather(good.close(), beside.close())


async def test_a_link_that_breaks_ends_all_its_lanes_and_the_next_lane_makes_another(market: Market) -> None:
    market.answerer.answer = endless
    lanes = [await market.lane(), await market.lane()]
    replies = [await lane.relay(HEAD, b"x", hold=10) for lane in lanes]
    lanes[0]._link.abort(Unavailable("the cable is cut"))
    for lane, reply in zip(lanes, replies, strict=True):
        assert lane.broken
        assert await reply.read() == b"a"
        with pytest.raises(Unavailable, match="cable"):
            await reply.read()
    await until(lambda: len(market.answerer.account.closed) == 2)
    assert market.answerer.account.held == 0
    market.answerer.answer = echo
    again = await market.lane()
    assert await asked(again, b"z") == b"z"
    await again.close()


async def test_all_who_wait_for_an_endpoint_where_nobody_is_hear_of_it_at_once() -> None:
    links = Links(GATEWAY, DOMAIN)
    opens = [links.open(opening(), "127.0.0.1:1", ZERO32) for _ in range(20)]
    outcomes = await asyncio.wait_for(asyncio.gather(*opens, return_exceptions=True), 4.0)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert len(links) == 0


async def test_drain_closes_quiet_lanes_and_lets_the_others_finish(market: Market) -> None:
    go_on = asyncio.Event()

    async def slow(relay: Relay) -> Served:
        await relay.start(OK)
        await relay.write(b"one")
        await go_on.wait()
        await relay.write(b"two")
        return Served(2, ZERO32)

    market.answerer.answer = slow
    quiet, busy = await market.lane(), await market.lane()
    reply = await busy.relay(HEAD, b"x", hold=10)
    draining = asyncio.ensure_future(market.server.drain(3.0))
    await until(lambda: quiet.broken)
    assert not busy.broken
    with pytest.raises(Unavailable, match="drains"):
        await market.lane()
    go_on.set()
    assert await whole(reply) == b"onetwo"
    await draining
    assert busy.broken


async def test_bare_receipts_of_lanes_that_are_due_together_share_a_frame(market: Market) -> None:
    lanes = [await market.lane() for _ in range(10)]
    frames: list[int] = []
    stream, write = lanes[0]._link._stream, lanes[0]._link.outbox._send

    async def noting(frame: GatewayFrame) -> None:
        frames.append(sum(message.WhichOneof("kind") == "credit" for message in frame.messages))
        await write(frame)

    assert stream is not None
    lanes[0]._link.outbox._send = noting
    for lane in lanes:
        await asked(lane)
        await asyncio.sleep(0.01)
    await until(lambda: market.answerer.account.acknowledged == 100, timeout_s=2.0)
    assert max(frames) == 10
    await asyncio.gather(*(lane.close() for lane in lanes))


async def test_a_large_body_does_not_hold_up_other_lanes(market: Market) -> None:
    large, small = await market.lane(), await market.lane()
    bodies = [asyncio.ensure_future(asked(large, bytes([n]) * 990_000)) for n in range(12)]
    await asyncio.sleep(0)
    assert await asked(small, b"quick") == b"quick"
    got = await asyncio.gather(*bodies)
    assert [(body[0], len(body)) for body in got] == [(n, 990_000) for n in range(12)]
    await asyncio.gather(large.close(), small.close())


# ---- gateways of other makes


Stream = Any  # grpc.aio.StreamStreamCall, generic in ways its stubs do not say


def open_message(number: int) -> GatewayMessage:
    told = opening()
    message = Open(version=1, application=told.application, service=told.service, session=told.number)
    message.supplier, message.gateway, message.lane = told.supplier, told.gateway, told.lane
    return GatewayMessage(open=message, lane=number)


@pytest.fixture
async def raw(market: Market) -> AsyncIterator[Stream]:
    """A stream without our client."""
    async with grpc.aio.insecure_channel(market.endpoint) as channel:
        call = channel.stream_stream(
            PATH, request_serializer=GatewayFrame.SerializeToString, response_deserializer=SupplierFrame.FromString
        )()
        yield call
        call.cancel()


async def heard(call: Stream) -> list[SupplierMessage]:
    """Return what comes next; nothing where the stream has ended."""
    frame = await asyncio.wait_for(call.read(), 3.0)
    return list(frame.messages) if isinstance(frame, SupplierFrame) else []


async def ended(call: Stream) -> list[SupplierMessage]:
    """Return all that still comes before the stream ends."""
    seen: list[SupplierMessage] = []
    while more := await heard(call):
        seen += more
    return seen


@pytest.mark.parametrize("again", [0, 3])
async def test_a_number_is_never_used_again(again: int, raw: Stream, market: Market) -> None:
    await raw.write(GatewayFrame(messages=[open_message(0), open_message(3)]))
    first = await heard(raw)
    while len(first) < 2:
        first += await heard(raw)
    assert [(message.lane, message.WhichOneof("kind")) for message in first] == [(0, "opened"), (3, "opened")]
    await raw.write(GatewayFrame(messages=[open_message(again)]))
    told = await ended(raw)
    assert {(message.lane, message.closed.rule) for message in told} == {(0, "8.5"), (3, "8.5")}
    await until(lambda: market.server.lanes == 0)


async def test_a_message_for_a_lane_that_was_never_opened_ends_the_link(
    raw: Stream,
    market: Market,
) -> None:
    await raw.write(GatewayFrame(messages=[open_message(0)]))
    await heard(raw)
    cancel = GatewayMessage(lane=5)
    cancel.cancel.seq = 1
    await raw.write(GatewayFrame(messages=[cancel]))
    assert [message.closed.rule for message in await ended(raw)] == ["8.5"]
    await until(lambda: market.server.links == 0)


async def test_messages_for_a_lane_that_has_ended_are_passed_over(
    raw: Stream,
) -> None:
    close, cancel = GatewayMessage(lane=0), GatewayMessage(lane=0)
    close.close.SetInParent()
    cancel.cancel.seq = 1
    await raw.write(GatewayFrame(messages=[open_message(0), open_message(1)]))
    seen = await heard(raw)
    while len(seen) < 2:
        seen += await heard(raw)
    await raw.write(GatewayFrame(messages=[close, cancel, close, open_message(2)]))
    seen = await heard(raw)
    while len(seen) < 2:
        seen += await heard(raw)
    assert [(message.lane, message.WhichOneof("kind")) for message in seen] == [(0, "closed"), (2, "opened")]


async def test_more_lanes_than_allowed_are_refused_one_by_one(
    raw: Stream,
    market: Market,
) -> None:
    await raw.write(GatewayFrame(messages=[open_message(number) for number in range(300)]))
    seen: list[SupplierMessage] = []
    while len(seen) < 300:
        seen += await heard(raw)
    kinds = [message.WhichOneof("kind") for message in seen]
    assert (kinds.count("opened"), kinds.count("closed")) == (200, 100)
    assert {message.closed.rule for message in seen if message.WhichOneof("kind") == "closed"} == {"unavailable"}
    assert market.server.lanes == 200


async def test_a_link_without_lanes_is_ended(
    raw: Stream,
    market: Market,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_link, "EMPTY_S", 0.2)
    await raw.write(GatewayFrame())
    assert await ended(raw) == []
    await until(lambda: market.server.links == 0)


async def test_who_asks_and_does_not_read_is_not_read_any_more(
    raw: Stream,
    market: Market,
) -> None:
    """Refusals wait for nobody: who has thousands of them made, and takes none, must not fill our memory."""
    told = open_message(0)
    told.open.version = 2
    said = 0

    async def flood() -> None:
        nonlocal said
        for first in range(0, 2_000_000, 2000):
            messages = [GatewayMessage(open=told.open, lane=first + n) for n in range(2000)]
            await raw.write(GatewayFrame(messages=messages))
            said += 2000

    flooding = asyncio.ensure_future(flood())
    try:
        before = -1
        while before != said:
            before = said
            await asyncio.sleep(1.0)
    finally:
        flooding.cancel()
    (link,) = market.server._links
    assert link._outbox.crowded
    assert link._outbox._queued_bytes < 16 * 1024 * 1024


async def test_a_lane_that_is_not_opened_in_time_leaves_the_others(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketnode.transport.client.CONNECT_TIMEOUT_S", 0.2)
    lane = await market.lane()
    admit = market.answerer.admit

    async def never(opening: Opening) -> None:
        await asyncio.sleep(60)

    market.answerer.admit = never  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable, match="did not open"):
        await market.lane()
    market.answerer.admit = admit  # type: ignore[method-assign]
    assert await asked(lane, b"y") == b"y"
    assert market.server.lanes == 1
    await until(lambda: market.server._places == 1)
    await lane.close()


async def test_a_cancelled_open_leaves_nothing(market: Market) -> None:
    hold = asyncio.Event()
    admit = market.answerer.admit

    async def waits(opening: Opening) -> object:
        await hold.wait()
        return await admit(opening)

    market.answerer.admit = waits  # type: ignore[method-assign, assignment]
    waiting = asyncio.ensure_future(market.lane())
    await until(lambda: market.server._places == 1)
    waiting.cancel()
    with pytest.raises((asyncio.CancelledError, PocketError)):
        await waiting
    await until(lambda: (market.server._places, market.server.links) == (0, 0))
    assert market.answerer.account.closed == []
