"""Relays through a whole daemon: real lanes, real backends, real store."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import orjson
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pocketnode.errors import RemoteError, Unavailable
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.metering import TokenRates, untold_units
from pocketnode.protocol.session import service_id, session_id
from pocketnode.protocol.types import Receipt, SignedReceipt
from pocketnode.store.receipts import KeptReceipt
from tests.backends import engines
from tests.backends.conftest import RawServer
from tests.backends.engines import free_port
from tests.supplier.conftest import (
    APPLICATION,
    CHAT,
    GATEWAY,
    RPC,
    STRANGER,
    SUPPLIER,
    FakeMarket,
    Running,
    Start,
    ask,
    described,
)

BLOCK_NUMBER = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'


def eth(url: str, **more: Any) -> dict[str, Any]:
    return {"backends": [{"url": url, "name": "node-1", **more}]}


@pytest.fixture
async def running(start: Start, tmp_path: Path, anvil_url: str, llama_url: str) -> Running:
    return await start(described(tmp_path, eth=eth(anvil_url), smollm2={"backends": [{"url": llama_url}]}))


async def test_calls_and_chats_are_answered_and_their_receipts_kept(running: Running) -> None:
    lane = await running.lane("eth")
    for _ in range(5):
        assert orjson.loads(await ask(lane, RPC, BLOCK_NUMBER))["result"].startswith("0x")
    chat = await running.lane("smollm2")
    asked = orjson.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 6, "stream": True})
    streamed = await ask(chat, CHAT, asked, hold=400, most=2000)
    assert streamed.endswith(b"data: [DONE]\n\n")
    await running.daemon.keeper.flush()
    kept = running.store.lanes(session_id(APPLICATION, service_id("eth"), 2), GATEWAY.address)
    assert [row.units for row in kept] == [50]
    assert lane.total == 50
    await lane.close()
    await running.daemon.keeper.flush()
    (row,) = running.store.lanes(session_id(APPLICATION, service_id("eth"), 2), GATEWAY.address)
    assert row.receipt.receipt.total == 50


async def test_a_stream_goes_on_past_its_first_hold(running: Running) -> None:
    lane = await running.lane("smollm2")
    asked = orjson.dumps(
        {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 60, "stream": True, "temperature": 0}
    )
    streamed = await ask(lane, CHAT, asked, hold=100, most=1000)
    assert streamed.endswith(b"data: [DONE]\n\n")
    assert lane.total > 100


async def test_who_may_not_open_a_lane_is_told_the_rule(running: Running, market: FakeMarket, start: Start) -> None:
    for key, number, service, rule in (
        (STRANGER, 2, "eth", "3.5"),
        (GATEWAY, 9, "eth", "3.7"),
        (GATEWAY, 1, "eth", "3.7"),
        (GATEWAY, 2, "other", "3.7"),
    ):
        with pytest.raises(RemoteError) as refused:
            await running.lane(service, key, number)
        assert refused.value.rule == rule
    reads = market.reads
    with pytest.raises(RemoteError):
        await running.lane("eth", STRANGER)
    assert market.reads == reads, "a refusal is remembered"


async def test_a_session_that_does_not_list_us_or_is_not_covered_is_refused(
    running: Running, market: FakeMarket
) -> None:
    market.listed = False
    with pytest.raises(RemoteError, match="does not list us"):
        await running.lane("eth")
    market.listed, market.covered = True, False
    with pytest.raises(RemoteError, match="not covered"):
        await running.lane("smollm2")


async def test_no_lane_without_the_chain(running: Running, market: FakeMarket) -> None:
    market.down = True
    with pytest.raises(Unavailable):
        await running.lane("eth")


async def test_relays_end_with_the_grace_blocks(running: Running, market: FakeMarket) -> None:
    lane = await running.lane("eth")
    market.number = 161
    await ask(lane, RPC, BLOCK_NUMBER)
    market.number = 162
    with pytest.raises(RelayFailed) as refused:
        await ask(lane, RPC, BLOCK_NUMBER)
    assert refused.value.fault.kind is FaultClass.NOT_IN_SESSION


async def test_what_escrow_does_not_guarantee_is_not_served(running: Running, market: FakeMarket) -> None:
    market.cap = 60  # at one base unit a unit, shared by two suppliers: 30 units
    lane = await running.lane("eth")
    for _ in range(3):
        await ask(lane, RPC, BLOCK_NUMBER, hold=10)
    with pytest.raises(RelayFailed) as refused:
        await ask(lane, RPC, BLOCK_NUMBER, hold=10)
    assert refused.value.fault.kind is FaultClass.OUT_OF_BUDGET
    assert "3.8" in refused.value.fault.message


async def test_a_gateway_that_does_not_acknowledge_is_held_at_its_credit(
    start: Start, tmp_path: Path, anvil_url: str
) -> None:
    running = await start({**described(tmp_path, eth=eth(anvil_url)), "policy": {"credit_limit": 25}})
    lane = await running.lane("eth")
    for _ in range(2):
        reply = await lane.relay(RPC, BLOCK_NUMBER, 10)
        while await reply.read():
            pass  # and not accepted
    with pytest.raises(RelayFailed) as refused:
        await ask(lane, RPC, BLOCK_NUMBER, hold=10)
    assert refused.value.fault.kind is FaultClass.OUT_OF_BUDGET
    assert "3.6" in refused.value.fault.message


async def test_the_operator_sees_readiness_status_and_metrics(running: Running) -> None:
    await ask(await running.lane("eth"), RPC, BLOCK_NUMBER)
    url = f"http://127.0.0.1:{running.daemon.admin_port}"
    async with aiohttp.ClientSession(url) as http:
        assert (await http.get("/healthz")).status == 200
        assert (await http.get("/readyz")).status == 200
        facts = await (await http.get("/status")).json()
        text = await (await http.get("/metrics")).text()
    assert facts["services"][0]["backends"][0]["served"] == 1
    assert facts["sessions"][0]["acknowledged_units"] + facts["sessions"][0]["unacknowledged_units"] == 10
    assert 'pocketnode_supplier_relays_total{outcome="good",service="eth"} 1.0' in text
    assert 'pocketnode_supplier_backend_up{backend="node-1",service="eth"} 1.0' in text


async def test_stopping_finishes_what_is_in_flight_and_keeps_the_last_receipt(running: Running) -> None:
    lane = await running.lane("smollm2")
    asked = orjson.dumps({"messages": [{"role": "user", "content": "Count."}], "max_tokens": 12, "stream": True})
    asking = asyncio.ensure_future(ask(lane, CHAT, asked, hold=1000))
    await asyncio.sleep(0.1)
    running.stop.set()
    assert (await asking).endswith(b"data: [DONE]\n\n")
    await running.task
    (row,) = running.store.lanes(session_id(APPLICATION, service_id("smollm2"), 2), GATEWAY.address)
    assert row.units == lane.total
    with pytest.raises(Unavailable):
        await running.lane("eth")


async def test_2000_relays_with_a_reload_and_a_backend_restart_and_none_lost(start: Start, tmp_path: Path) -> None:
    """Two nodes: one is killed and started again, and the file is read anew, while relays run."""
    port = free_port()
    with ExitStack() as nodes:
        steady = nodes.enter_context(engines.anvil(tmp_path))
        restarting = nodes.enter_context(ExitStack())
        restarting.enter_context(engines.anvil(tmp_path, port))
        backends = [{"url": steady, "name": "steady"}, {"url": f"http://127.0.0.1:{port}", "name": "restarting"}]
        config = described(tmp_path, eth={"backends": backends})
        running = await start(config)
        lane = await running.lane("eth")
        left, answers = iter(range(2000)), []

        async def work() -> None:
            for n in left:
                if n == 500:
                    restarting.close()
                if n == 1000:
                    second = {"operators": [{"keystore": "second.json", "password_file": "password"}]}
                    limits = {"lanes": 1, "in_flight_per_lane": 1, "request_mib": 0.0001, "drain_s": 30}
                    running.write({**config, **second, "limits": limits, "policy": {"credit_limit": 1_000_000}})
                    os.kill(os.getpid(), signal.SIGHUP)
                if n == 1200:
                    restarting.enter_context(await asyncio.to_thread(_entered, tmp_path, port))
                if n == 1500:
                    running.write(described(tmp_path, eth={"backends": backends[:1]}))
                    await running.daemon.reload()
                answers.append(orjson.loads(await ask(lane, RPC, BLOCK_NUMBER, hold=10)))

        await asyncio.gather(*(work() for _ in range(32)))
    assert len(answers) == 2000
    assert all(answer["result"].startswith("0x") for answer in answers)
    assert lane.total == 20_000
    assert running.daemon.config.policy.credit_limit == 2_000_000, "read three times: the default is back"
    pool = running.daemon.answerer.offers[service_id("eth")].pool
    assert [member.backend.name for member in pool.members] == ["steady"]


def _entered(folder: Path, port: int) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(engines.anvil(folder, port))
    return stack


async def test_a_reload_that_does_not_hold_changes_nothing(running: Running) -> None:
    before = running.daemon.answerer.offers
    running.path.write_text("listen: 1\n")
    await running.daemon.reload()
    assert running.daemon.answerer.offers is before
    await ask(await running.lane("eth"), RPC, BLOCK_NUMBER)


async def test_a_load_balancer_sees_health_and_what_is_served(running: Running) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.daemon.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service="pocketnode.v1.Relay")
        async with asyncio.timeout(5):
            async for told in stub.Watch(asked):
                if told.status == health_pb2.HealthCheckResponse.SERVING:
                    break
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        names = [service.name async for answer in reflected for service in answer.list_services_response.service]
    assert "pocketnode.v1.Relay" in names


async def test_a_user_who_leaves_stops_the_backend_within_100_ms_and_is_charged_for_what_was_sent(
    start: Start, tmp_path: Path, raw_server: RawServer
) -> None:
    event = b'data: {"choices":[{"delta":{"content":"word "}}]}\n\n'

    async def five_tokens_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n")
        for _ in range(5):
            writer.write(event)
            await writer.drain()
            await asyncio.sleep(0.02)
        await reader.read()
        raw_server.gone.set()

    raw_server.handler = five_tokens_and_hang
    running = await start(described(tmp_path, smollm2={"backends": [{"url": raw_server.url}]}))
    lane = await running.lane("smollm2")
    body = orjson.dumps({"messages": [], "max_tokens": 100, "stream": True})
    raw_server.gone.clear()
    reply = await lane.relay(CHAT, body, hold=1000)
    received = b""
    while received.count(b"word") < 5:
        received += await reply.read() or b""
    begun_s = time.monotonic()
    cancelling = asyncio.ensure_future(reply.cancel())
    async with asyncio.timeout(0.1):
        await raw_server.gone.wait()
    assert time.monotonic() - begun_s < 0.1
    ended = await cancelling
    assert ended is not None
    assert ended.signed.response.units == untold_units(len(body), 4, TokenRates(1, 4)), "the last part is not paid for"


async def test_a_gateway_that_goes_away_stops_its_backends_too(
    start: Start, tmp_path: Path, raw_server: RawServer
) -> None:
    running = await start(described(tmp_path, eth=eth(raw_server.url)))
    lane = await running.lane("eth")
    raw_server.gone.clear()
    raw_server.asked.clear()
    asking = asyncio.ensure_future(ask(lane, RPC, BLOCK_NUMBER))
    await raw_server.asked.wait()
    await lane.abort(Unavailable("gone"))
    async with asyncio.timeout(0.5):
        await raw_server.gone.wait()
    await asyncio.gather(asking, return_exceptions=True)
    (account,) = running.daemon.answerer.accounts
    assert account.held == 0


async def test_a_subscription_runs_beside_calls_until_the_user_leaves(
    start: Start, tmp_path: Path, anvil_url: str
) -> None:
    running = await start(described(tmp_path, eth=eth(anvil_url, websocket=anvil_url.replace("http", "ws"))))
    lane = await running.lane("eth")
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'
    reply = await lane.relay(RPC, subscribe, hold=100, most=1000)
    assert orjson.loads(await reply.read() or b"")["result"].startswith("0x")
    for _ in range(2):
        await ask(lane, RPC, BLOCK_NUMBER)
        async with aiohttp.ClientSession() as http:
            await http.post(anvil_url, json={"jsonrpc": "2.0", "id": 1, "method": "evm_mine", "params": []})
        assert orjson.loads(await reply.read() or b"")["method"] == "eth_subscription"
    ended = await reply.cancel()
    assert ended is not None
    assert ended.signed.response.units > 0


async def test_what_is_owed_from_before_a_restart_counts(running: Running) -> None:
    """Escrow guarantees five million units (rule 3.8); all but five of them are owed since an earlier run."""
    session = session_id(APPLICATION, service_id("eth"), 2)
    receipt = Receipt(session, SUPPLIER.address, b"\x01" * 32, 9, 4_999_995, 0)
    signed = SignedReceipt(receipt, b"\x02" * 65)
    running.store.keep([KeptReceipt(APPLICATION, service_id("eth"), 2, GATEWAY.address, signed)])
    lane = await running.lane("eth")
    with pytest.raises(RelayFailed) as refused:
        await ask(lane, RPC, BLOCK_NUMBER, hold=10)
    assert refused.value.fault.kind is FaultClass.OUT_OF_BUDGET
    assert "3.8" in refused.value.fault.message


async def test_what_another_process_keeps_of_the_same_session_counts_too(running: Running) -> None:
    lane = await running.lane("eth")
    await ask(lane, RPC, BLOCK_NUMBER, hold=10)
    await lane.close()
    await running.daemon.keeper.flush()
    session = session_id(APPLICATION, service_id("eth"), 2)
    signed = SignedReceipt(Receipt(session, SUPPLIER.address, b"\x01" * 32, 9, 4_999_985, 0), b"\x02" * 65)
    running.store.keep([KeptReceipt(APPLICATION, service_id("eth"), 2, GATEWAY.address, signed)])
    await running.daemon.answerer.look_elsewhere()
    (account,) = running.daemon.answerer.accounts
    assert (account.elsewhere, account.owed_units) == (4_999_985, 4_999_995)
    with pytest.raises(RelayFailed, match=r"3\.8"):
        await ask(await running.lane("eth"), RPC, BLOCK_NUMBER, hold=10)
