"""Each class of refusal (rule 3.12), signed, as a gateway gets it from a whole daemon; and what reaches no backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pocketnode.crypto.keys import Key
from pocketnode.errors import RemoteError, Unavailable
from pocketnode.protocol.fault import Fault, FaultClass, RelayFailed
from pocketnode.transport.client import Lane
from tests.backends.conftest import RawServer, http_answer
from tests.supplier.conftest import CHAT, GATEWAY, RPC, FakeMarket, Running, Start, ask, described
from tests.supplier.test_daemon import BLOCK_NUMBER, eth

ANSWER = http_answer(b'{"jsonrpc":"2.0","id":1,"result":"0x1"}')


async def refused(asking: Awaitable[Any]) -> Fault:
    with pytest.raises(RelayFailed) as failed:
        async with asyncio.timeout(10):
            await asking
    return failed.value.fault


@pytest.fixture
async def hanging(start: Start, tmp_path: Path, raw_server: RawServer) -> Running:
    """One place at a node that never answers, and a line of one."""
    service = {**eth(raw_server.url, concurrency=1), "queue": {"most": 1, "wait_s": 0.2}}
    config = described(tmp_path, eth=service)
    return await start({**config, "limits": {"in_flight_per_lane": 3, "drain_s": 1}})


async def test_over_the_queue_it_is_busy_at_once_and_in_it_after_a_while(
    hanging: Running, raw_server: RawServer
) -> None:
    lanes = [await hanging.lane() for _ in range(3)]
    asking = asyncio.ensure_future(ask(lanes[0], RPC, BLOCK_NUMBER))
    await raw_server.asked.wait()
    waits = asyncio.ensure_future(refused(ask(lanes[1], RPC, BLOCK_NUMBER)))
    await asyncio.sleep(0.05)
    at_once = await refused(ask(lanes[2], RPC, BLOCK_NUMBER))
    assert not waits.done()
    late = await waits
    for fault in (at_once, late):
        assert fault.kind is FaultClass.BUSY
        assert fault.retry_after_ms >= 50
    asking.cancel()


async def test_more_on_a_lane_than_it_was_told_is_busy(start: Start, tmp_path: Path, raw_server: RawServer) -> None:
    config = described(tmp_path, eth=eth(raw_server.url))
    running = await start({**config, "limits": {"in_flight_per_lane": 3, "drain_s": 1}})
    lane = await running.lane()
    asking = [asyncio.ensure_future(ask(lane, RPC, BLOCK_NUMBER)) for _ in range(3)]
    await asyncio.sleep(0.1)
    fault = await refused(ask(lane, RPC, BLOCK_NUMBER))
    assert fault.kind is FaultClass.BUSY
    assert "in flight" in fault.message
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"[]", b'{"jsonrpc":"2.0","id":1,"method":"anvil_mine"}', b'{"id":1,"method":7}'],
)
async def test_what_is_no_call_is_a_bad_request_and_costs_nothing(
    body: bytes, start: Start, tmp_path: Path, raw_server: RawServer
) -> None:
    running = await start(described(tmp_path, eth=eth(raw_server.url)))
    raw_server.requests.clear()
    lane = await running.lane()
    assert (await refused(ask(lane, RPC, body))).kind is FaultClass.BAD_REQUEST
    assert lane.total == 0
    assert not any(b"anvil" in request for request in raw_server.requests)


BROKEN = {
    "hangs up": b"",
    "500": http_answer(b"oops", "500 Oops", kind="text/plain"),
    "garbage": b"\x00\xff\x00 what\r\n\r\n",
    "not JSON": http_answer(b"<html>", kind="text/html"),
    "lies about its length": b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_backend_that_breaks_is_our_fault_signed_and_costs_nothing(
    name: str, start: Start, tmp_path: Path, raw_server: RawServer
) -> None:
    raw_server.answers(BROKEN[name], close=True)
    running = await start(described(tmp_path, eth=eth(raw_server.url)))
    lane = await running.lane()
    assert (await refused(ask(lane, RPC, BLOCK_NUMBER))).kind is FaultClass.BACKEND
    assert lane.total == 0


async def test_a_backend_that_resets_is_our_fault(start: Start, tmp_path: Path, raw_server: RawServer) -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    raw_server.handler = reset
    running = await start(described(tmp_path, eth=eth(raw_server.url)))
    assert (await refused(ask(await running.lane(), RPC, BLOCK_NUMBER))).kind is FaultClass.BACKEND


@pytest.mark.parametrize("timeouts", [{"total_s": 0.1}, {"first_byte_s": 0.1}, {"first_byte_s": 5, "between_s": 0.1}])
async def test_an_llm_that_stalls_is_given_up_by_whichever_time_passes_first(
    timeouts: dict[str, float], start: Start, tmp_path: Path, raw_server: RawServer
) -> None:
    if "between_s" in timeouts:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
        raw_server.answers(head + b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
    running = await start(described(tmp_path, smollm2={"backends": [{"url": raw_server.url, "timeouts": timeouts}]}))
    body = orjson.dumps({"messages": [], "max_tokens": 5, "stream": True})
    fault = await refused(ask(await running.lane("smollm2"), CHAT, body))
    assert fault.kind is FaultClass.BACKEND
    assert fault.message.endswith("in time") or "between_s" in timeouts, "what broke off was sent in part"


async def test_429_is_busy_with_the_delay_that_was_asked(start: Start, tmp_path: Path, raw_server: RawServer) -> None:
    raw_server.answers(http_answer(b"{}", "429 Too Many", headers="retry-after: 3\r\n"))
    running = await start(described(tmp_path, eth=eth(raw_server.url)))
    fault = await refused(ask(await running.lane(), RPC, BLOCK_NUMBER))
    assert fault.kind is FaultClass.BUSY
    assert fault.retry_after_ms >= 1000


async def test_20_mb_come_through_whole(start: Start, tmp_path: Path, raw_server: RawServer) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":"' + b"0" * 20_000_000 + b'"}'
    raw_server.answers(http_answer(body))
    running = await start(described(tmp_path, eth=eth(raw_server.url)))
    assert await ask(await running.lane(), RPC, BLOCK_NUMBER) == body


async def test_an_answer_above_the_operators_limit_is_not_sent_on(
    start: Start, tmp_path: Path, raw_server: RawServer
) -> None:
    raw_server.answers(http_answer(b'{"jsonrpc":"2.0","id":1,"result":"' + b"0" * 5_000_000 + b'"}'))
    running = await start(described(tmp_path, eth=eth(raw_server.url, answer_mib=1)))
    fault = await refused(ask(await running.lane(), RPC, BLOCK_NUMBER))
    assert fault.kind is FaultClass.BACKEND
    assert "longer than" in fault.message


# ---- what closes or refuses a lane, and reaches no backend


async def without_grant(running: Running, market: FakeMarket) -> Lane:
    market.cap = 0
    return await running.lane()


async def as_a_stranger(running: Running, market: FakeMarket) -> Lane:
    return await running.lane(key=Key(b"\x07" * 32))


async def unlisted(running: Running, market: FakeMarket) -> Lane:
    market.listed = False
    return await running.lane()


async def uncovered(running: Running, market: FakeMarket) -> Lane:
    market.covered = False
    return await running.lane()


async def too_late(running: Running, market: FakeMarket) -> Lane:
    market.number = 200
    return await running.lane(number=2)


async def too_cheap(running: Running, market: FakeMarket) -> Lane:
    market.price = 1
    return await running.lane()


async def denied(running: Running, market: FakeMarket) -> Lane:
    changed = described(running.path.parent, eth=eth("http://127.0.0.1:1"))
    running.write({**changed, "policy": {"deny": [f"0x{GATEWAY.address.hex()}"]}})
    await running.daemon.reload()
    return await running.lane()


WAYS: dict[str, tuple[Callable[[Running, FakeMarket], Awaitable[Lane]], str]] = {
    "without a grant": (without_grant, "3.5"),
    "a stranger": (as_a_stranger, "3.5"),
    "denied by policy": (denied, "3.5"),
    "session does not list us": (unlisted, "3.7"),
    "escrow does not cover": (uncovered, "3.7"),
    "session is over": (too_late, "3.7"),
    "below the least price": (too_cheap, "3.7"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_who_may_not_open_a_lane_is_told_the_rule_and_leaves_nothing(
    way: str, start: Start, tmp_path: Path, market: FakeMarket, raw_server: RawServer
) -> None:
    raw_server.answers(ANSWER)
    policy = {"least_price": {"eth": 2}}
    running = await start({**described(tmp_path, eth=eth(raw_server.url)), "policy": policy})
    open_lane, rule = WAYS[way]
    with pytest.raises(RemoteError) as refusal:
        await open_lane(running, market)
    assert refusal.value.rule == rule
    assert not running.daemon.answerer.accounts


async def test_more_lanes_than_the_operator_allows_are_not_opened(start: Start, tmp_path: Path, anvil_url: str) -> None:
    running = await start({**described(tmp_path, eth=eth(anvil_url)), "limits": {"lanes": 1, "drain_s": 1}})
    lane = await running.lane()
    with pytest.raises(Unavailable, match="1 lanes are open"):
        await running.lane()
    await ask(lane, RPC, BLOCK_NUMBER)


@pytest.mark.parametrize("size", [20_000, 300_000])
async def test_a_request_above_the_limit_is_a_bad_request_and_its_lane_goes_on(
    size: int, start: Start, tmp_path: Path, raw_server: RawServer
) -> None:
    raw_server.answers(ANSWER)
    limits = {"request_mib": 0.01, "drain_s": 1}
    running = await start({**described(tmp_path, eth=eth(raw_server.url)), "limits": limits})
    lane = await running.lane()
    fault = await refused(ask(lane, RPC, b"x" * size))
    assert fault.kind is FaultClass.BAD_REQUEST
    assert "8.3" in fault.message
    assert await ask(lane, RPC, BLOCK_NUMBER)
    (account,) = running.daemon.answerer.accounts
    assert account.held == 0
