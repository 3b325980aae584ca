"""Subscriptions to a real node, and to one that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.http import Target
from pocketnode.backends.websocket import SubscriptionBackend, subscribes
from pocketnode.protocol.fault import RelayFailed
from pocketnode.services.spec import builtin
from tests.backends.conftest import RPC, FakeExchange

SPEC = builtin("eth")
HEADS = b'{"jsonrpc":"2.0","id":"mine","method":"eth_subscribe","params":["newHeads"]}'
UNITS = SPEC.method_units("eth_subscribe")

BackendTo = Callable[[str], SubscriptionBackend]


@pytest.fixture
def backend_to(http: aiohttp.ClientSession) -> BackendTo:
    return lambda url: SubscriptionBackend(http, Target("node-1", url.replace("http", "ws")), SPEC)


def lines(exchange: FakeExchange) -> list[Any]:
    return [orjson.loads(line) for line in exchange.sent.splitlines()]


async def until(exchange: FakeExchange, count: int) -> None:
    async with asyncio.timeout(10):
        while exchange.sent.count(b"\n") < count:
            exchange.first.clear()
            await exchange.first.wait()


async def test_new_heads_of_a_real_node_come_as_lines(
    backend_to: BackendTo, anvil_url: str, http: aiohttp.ClientSession
) -> None:
    exchange = FakeExchange(RPC, HEADS)
    answering = asyncio.ensure_future(backend_to(anvil_url).answer(exchange))
    await until(exchange, 1)
    for n in range(3):
        await http.post(anvil_url, json={"jsonrpc": "2.0", "id": 1, "method": "evm_mine", "params": []})
        await until(exchange, 2 + n)
    opened, *notified = lines(exchange)
    assert opened["id"] == "mine"
    assert [n["params"]["subscription"] for n in notified] == [opened["result"]] * 3
    numbers = [int(n["params"]["result"]["number"], 16) for n in notified]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert exchange.units == UNITS + 2 * SPEC.method_units("eth_subscription"), "the last line is counted with the next"
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)


async def test_a_check_asks_the_real_node(backend_to: BackendTo, anvil_url: str) -> None:
    await backend_to(anvil_url).check()
    with pytest.raises(BackendFailed):
        await backend_to("http://127.0.0.1:1").check()


async def test_what_the_node_refuses_is_an_answer(backend_to: BackendTo, anvil_url: str) -> None:
    exchange = FakeExchange(RPC, HEADS.replace(b"newHeads", b"nonsense"))
    assert await backend_to(anvil_url).answer(exchange) == UNITS
    (refused,) = lines(exchange)
    assert refused["error"]
    with pytest.raises(RelayFailed):
        await backend_to(anvil_url).answer(FakeExchange(RPC, b'{"method":"eth_call"}'))


@dataclass
class Node:
    """A node that sends one notification on each connection and then hangs up, `lives` times."""

    lives: int = 3
    url: str = ""
    open: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.open += 1
        call = await socket.receive_json()
        await socket.send_json({"jsonrpc": "2.0", "id": call["id"], "result": f"0x{self.open}"})
        told = {"subscription": f"0x{self.open}", "result": self.open}
        await socket.send_json({"jsonrpc": "2.0", "method": "eth_subscription", "params": told})
        if self.open >= self.lives:
            await socket.receive()
            self.closed.set()
        await socket.close()
        return socket


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    app = web.Application()
    app.router.add_get("/", node.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield node
    await runner.cleanup()


async def test_a_lost_node_is_subscribed_again_under_the_same_id_and_the_gap_is_told(
    backend_to: BackendTo, node: Node
) -> None:
    exchange = FakeExchange(RPC, HEADS)
    answering = asyncio.ensure_future(backend_to(node.url).answer(exchange))
    await until(exchange, 6)
    told = [(line.get("method"), line.get("params", {}).get("subscription")) for line in lines(exchange)]
    gap, notified = ("pocketnode_gap", "0x1"), ("eth_subscription", "0x1")
    assert told == [(None, None), notified, gap, notified, gap, notified]
    answering.cancel()
    async with asyncio.timeout(1):
        await node.closed.wait()


async def test_lines_wait_where_the_hold_is_used_up(backend_to: BackendTo, node: Node) -> None:
    node.lives = 1
    exchange = FakeExchange(RPC, HEADS, hold=UNITS)
    answering = asyncio.ensure_future(backend_to(node.url).answer(exchange))
    await until(exchange, 1)
    await asyncio.sleep(0.1)
    assert len(lines(exchange)) == 1
    exchange.hold = 1000
    exchange.raised.set()
    await until(exchange, 2)
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)


@pytest.mark.parametrize(
    ("body", "expected"), [(HEADS, True), (b"", False), (b'{"method":"eth_call","params":["eth_subscribe"]}', False)]
)
def test_a_subscription_is_told_from_a_call(body: bytes, expected: bool) -> None:
    assert subscribes(body) is expected
