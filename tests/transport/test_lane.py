"""Both ends of a lane, over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from pocketnode.crypto.keys import Key
from pocketnode.errors import LocalError, RemoteError, Unavailable
from pocketnode.protocol.digest import response_digest
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.payload import payload_hash
from pocketnode.protocol.types import ZERO32
from pocketnode.transport.ports import Relay, Reply, Served
from pocketnode.transport.server import RelayServer
from tests.transport.conftest import DOMAIN, OK, SUPPLIER, FakeAnswerer, OpenLane

HEAD = b"POST /\n\n"


async def whole(reply: Reply) -> bytes:
    parts = []
    while (part := await reply.read()) is not None:
        parts.append(part)
    return b"".join(parts)


async def until(condition: Callable[[], bool], timeout_s: float = 3.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_an_answer_is_bound_to_its_request(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"hello", hold=10)
    assert await whole(reply) == b"hello"
    ended = reply.ended
    assert ended is not None
    assert ended.receipt_signed.receipt.request == payload_hash(HEAD, b"hello")
    assert ended.signed.response.payload == payload_hash(OK, b"hello")
    assert response_digest(DOMAIN, ended.signed.response) == ended.response
    assert reply.accept() == 10
    assert lane.total == 10


async def test_what_is_accepted_is_acknowledged_within_two_seconds(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10)
    await whole(reply)
    reply.accept()
    assert answerer.account.acknowledged == 0
    await until(lambda: answerer.account.acknowledged == 10, timeout_s=2.0)
    assert answerer.account.newest is not None
    assert answerer.account.newest.receipt.hold == 0
    assert answerer.account.newest.receipt.request == ZERO32


async def test_closing_acknowledges_at_once(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10)
    await whole(reply)
    reply.accept()
    begun = time.monotonic()
    await lane.close()
    assert answerer.account.acknowledged == 10
    assert time.monotonic() - begun < 1.0
    await until(lambda: answerer.account.closed == [lane.opening.lane])


async def test_an_answer_is_accepted_once(lane_to: OpenLane) -> None:
    lane = await lane_to()
    reply = await lane.send(HEAD, b"x", hold=10)
    with pytest.raises(LocalError):
        reply.accept()
    await whole(reply)
    reply.accept()
    with pytest.raises(LocalError):
        reply.accept()


async def test_many_relays_share_a_lane(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    lane = await lane_to()

    async def one(number: int) -> bytes:
        reply = await lane.relay(HEAD, str(number).encode(), hold=10)
        body = await whole(reply)
        reply.accept()
        return body

    got = await asyncio.gather(*(one(n) for n in range(50)))
    assert got == [str(n).encode() for n in range(50)]
    assert lane.total == 500
    assert answerer.account.held == 0


async def test_large_bodies_pass_both_ways(lane_to: OpenLane) -> None:
    lane = await lane_to()
    body = bytes(range(256)) * 3000  # 768 kB: cut into 12 chunks
    reply = await lane.relay(HEAD, body, hold=10)
    assert await whole(reply) == body


async def test_a_request_above_the_limit_is_refused_and_the_lane_goes_on(lane_to: OpenLane) -> None:
    lane = await lane_to()
    with pytest.raises(RelayFailed) as caught:
        await lane.relay(HEAD, b"x" * 1_100_000, hold=10)
    assert caught.value.fault.kind is FaultClass.BAD_REQUEST
    assert "8.3" in caught.value.fault.message
    assert await whole(await lane.relay(HEAD, b"y", hold=10)) == b"y"


async def test_refusals_are_signed_and_named(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    lane = await lane_to()
    with pytest.raises(RelayFailed) as caught:
        await lane.relay(HEAD, b"x", hold=1001)
    assert caught.value.fault.kind is FaultClass.OUT_OF_BUDGET
    reply = await lane.relay(HEAD, b"y", hold=1000)
    assert await whole(reply) == b"y"


async def test_a_backend_fault_keeps_class_message_and_delay(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    async def busy(relay: Relay) -> Served:
        raise RelayFailed(FaultClass.BUSY, "queue is full", 250)

    answerer.answer = busy
    lane = await lane_to()
    with pytest.raises(RelayFailed) as caught:
        await lane.relay(HEAD, b"x", hold=10)
    fault = caught.value.fault
    assert (fault.kind, fault.message, fault.retry_after_ms) == (FaultClass.BUSY, "queue is full", 250)
    assert answerer.account.held == 0


async def test_a_fault_in_the_middle_is_a_fault_after_what_was_sent(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    async def breaks(relay: Relay) -> Served:
        await relay.start(OK)
        await relay.write(b"half")
        raise RelayFailed(FaultClass.BACKEND, "backend reset the connection")

    answerer.answer = breaks
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10)
    assert await reply.read() == b"half"
    with pytest.raises(RelayFailed) as caught:
        await reply.read()
    assert caught.value.fault.kind is FaultClass.BACKEND


async def test_parts_arrive_as_they_are_written(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    go_on = asyncio.Event()

    async def stream(relay: Relay) -> Served:
        await relay.start(OK)
        await relay.write(b"one")
        await go_on.wait()
        await relay.write(b"two")
        return Served(2, ZERO32)

    answerer.answer = stream
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10)
    assert await reply.read() == b"one"
    go_on.set()
    assert await reply.read() == b"two"
    assert await reply.read() is None


async def slow_stream(relay: Relay) -> Served:
    await relay.start(OK)
    for n in range(1, 41):
        await relay.write(b"t")
        await relay.produced(n)
    return Served(40, b"\x05" * 32)


async def test_a_hold_is_raised_as_the_answer_advances(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    answerer.answer = slow_stream
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10, most=50)
    assert await whole(reply) == b"t" * 40
    assert reply.ended is not None
    assert reply.ended.signed.response.units == 40
    assert reply.ended.receipt_signed.receipt.hold > 10
    assert answerer.account.held == 0


async def test_no_more_is_produced_than_may_be_paid(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    answerer.answer = slow_stream
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10, most=20)
    assert await whole(reply) == b"t" * 20
    assert reply.accept() == 20


async def test_cancel_stops_the_answer_and_pays_for_what_was_sent(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    stopped = asyncio.Event()

    async def endless(relay: Relay) -> Served:
        await relay.start(OK)
        await relay.write(b"abc")
        await relay.produced(3)
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        raise AssertionError("not cancelled")

    answerer.answer = endless
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10)
    assert await reply.read() == b"abc"
    begun = time.monotonic()
    ended = await reply.cancel()
    assert time.monotonic() - begun < 0.5
    assert stopped.is_set()
    assert ended is not None
    assert (ended.signed.response.units, ended.signed.response.payload) == (3, payload_hash(OK, b"abc"))
    assert reply.accept() == 3


async def test_a_gateway_that_vanishes_cancels_everything(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    stopped = asyncio.Event()

    async def endless(relay: Relay) -> Served:
        await relay.start(OK)
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        raise AssertionError("not cancelled")

    answerer.answer = endless
    lane = await lane_to()
    await lane.relay(HEAD, b"x", hold=10)
    await lane.abort(Unavailable("gone"))
    await asyncio.wait_for(stopped.wait(), 1.0)
    await until(lambda: answerer.account.closed == [lane.opening.lane])
    assert answerer.account.held == 0


async def test_a_foreign_signature_closes_the_lane_before_the_backend(
    lane_to: OpenLane, answerer: FakeAnswerer
) -> None:
    asked = False

    async def note(relay: Relay) -> Served:
        nonlocal asked
        asked = True
        raise AssertionError

    answerer.answer = note
    lane = await lane_to(key=Key(b"\x09" * 32))
    with pytest.raises(RemoteError) as caught:
        await lane.relay(HEAD, b"x", hold=10)
    assert caught.value.rule == "3.5"
    assert not asked
    assert answerer.account.newest is None


async def test_who_is_refused_hears_the_rule(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    answerer.refuse = RemoteError("3.7", "no such session")
    with pytest.raises(RemoteError) as caught:
        await lane_to()
    assert caught.value.rule == "3.7"


async def test_drain_finishes_what_runs(lane_to: OpenLane, server: RelayServer, answerer: FakeAnswerer) -> None:
    async def slow(relay: Relay) -> Served:
        await asyncio.sleep(0.2)
        await relay.start(OK)
        return Served(1, ZERO32)

    answerer.answer = slow
    lane = await lane_to()
    asked = asyncio.ensure_future(lane.relay(HEAD, b"x", hold=10))
    await until(lambda: server.in_flight == 1)
    await server.drain(2.0)
    reply = await asked
    assert await whole(reply) == b""
    await until(lambda: lane.broken)
    with pytest.raises(Unavailable):
        await lane.relay(HEAD, b"y", hold=10)


async def test_the_last_response_is_kept_for_a_claim(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"x", hold=10)
    await whole(reply)
    account = answerer.account
    assert account.newest is not None
    assert account.response is not None
    assert account.newest.receipt.hold == 10
    assert account.response.response.units == 10
    assert SUPPLIER.address == account.newest.receipt.supplier
