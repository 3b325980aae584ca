"""WebSockets and subscriptions, over the loss of suppliers and over sessions and reorgs."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
from web3 import AsyncWeb3, WebSocketProvider

from pocketnode.gateway.chain_feed import ChainFeed
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Running, Start, until
from tests.gateway.market import broken, reply_json


class Chain:
    """A chain that grows and forks; every supplier's node."""

    def __init__(self) -> None:
        self.blocks = [self.block(number, "a") for number in range(5)]

    def block(self, number: int, fork: str, parent: str = "a") -> dict[str, Any]:
        return {
            "number": hex(number),
            "hash": f"0x{fork}{number:02x}",
            "parentHash": f"0x{parent}{number - 1:02x}",
            "logsBloom": "0x01",
            "transactions": [],
        }

    def grow(self, count: int = 1, fork: str = "a") -> None:
        for _ in range(count):
            parent = self.blocks[-1]["hash"][2]
            self.blocks.append(self.block(len(self.blocks), fork, parent))

    def fork(self, depth: int, fork: str) -> None:
        del self.blocks[-depth:]
        self.grow(depth + 1, fork)

    def ask(self, method: str, params: list[Any]) -> Any:
        if method == "eth_blockNumber":
            return self.blocks[-1]["number"]
        if method == "eth_getBlockByNumber":
            number = int(params[0], 16)
            return self.blocks[number] if number < len(self.blocks) else None
        if method == "eth_getLogs":
            return [{"address": "0xAB", "topics": ["0x1"], "blockHash": params[0]["blockHash"]}]
        return "0x7a69"

    async def answer(self, relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        value = self.ask(asked["method"], asked["params"])
        return await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": value}, 10)


async def started(start: Start) -> tuple[Running, Chain]:
    gateway, chain = await start(), Chain()
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = chain.answer
    return gateway, chain


def address(gateway: Running) -> str:
    return f"ws://127.0.0.1:{gateway.daemon.port}/rpc/eth/{gateway.secret}"


async def heads(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            message = await socket.receive_json()
            found.append(message["params"]["result"]["hash"])
    return found


async def subscribed(socket: aiohttp.ClientWebSocketResponse, *params: Any) -> str:
    await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": list(params)})
    return str((await socket.receive_json())["result"])


async def test_requests_and_batches_work_over_a_socket(start: Start) -> None:
    gateway, _ = await started(start)
    async with gateway.http.ws_connect(address(gateway)) as socket:
        await socket.send_str('{"jsonrpc":"2.0","id":"x","method":"eth_chainId","params":[]}')
        assert await socket.receive_json() == {"jsonrpc": "2.0", "id": "x", "result": "0x7a69"}
        await socket.send_str('[{"id":1,"method":"eth_chainId"},{"id":2,"method":"nope"}]')
        assert [a["id"] for a in await socket.receive_json()] == [1, 2]
        await socket.send_str("{")
        assert (await socket.receive_json())["error"]["code"] == -32700


async def test_web3_reads_and_subscribes(start: Start) -> None:
    gateway, _ = await started(start)
    async with AsyncWeb3(WebSocketProvider(address(gateway))) as web3:
        assert await web3.eth.chain_id == 31337
        identity = await web3.eth.subscribe("newHeads")
        assert await web3.eth.unsubscribe(identity)


async def test_no_block_is_missed_or_told_twice(start: Start) -> None:
    gateway, chain = await started(start)
    async with gateway.http.ws_connect(address(gateway)) as one, gateway.http.ws_connect(address(gateway)) as two:
        await subscribed(one, "newHeads")
        await subscribed(two, "newHeads")
        feed = gateway.daemon.sockets._feeds["eth"]
        await until(lambda: bool(feed._blocks))
        chain.grow(3)
        assert await heads(one, 3) == ["0xa05", "0xa06", "0xa07"]
        gateway.suppliers[0].answers["eth"] = broken
        gateway.market.head += 20
        chain.grow(4)
        assert await heads(one, 4) == ["0xa08", "0xa09", "0xa0a", "0xa0b"]
        assert await heads(two, 7) == ["0xa05", "0xa06", "0xa07", "0xa08", "0xa09", "0xa0a", "0xa0b"]
    await until(lambda: not feed.subscriptions)


async def test_a_reorg_is_told_with_the_logs_that_are_gone() -> None:
    chain = Chain()
    told: list[tuple[Any, ...]] = []

    async def ask(method: str, params: list[Any]) -> Any:
        return chain.ask(method, params)

    feed = ChainFeed(ask)
    feed.subscribe(["newHeads"], lambda _, block: told.append(("head", block["hash"])))
    feed.subscribe(["logs", {"address": "0xab"}], lambda _, e: told.append(("log", e["blockHash"], e.get("removed"))))
    feed.subscribe(["logs", {"address": "0xcd"}], lambda _, e: told.append(("none",)))
    await feed.step()
    chain.grow(2)
    await feed.step()
    chain.fork(2, "b")
    await feed.step()
    await feed.step()
    assert told == [
        ("head", "0xa05"),
        ("log", "0xa05", None),
        ("head", "0xa06"),
        ("log", "0xa06", None),
        ("log", "0xa06", True),
        ("log", "0xa05", True),
        ("head", "0xb05"),
        ("log", "0xb05", None),
        ("head", "0xb06"),
        ("log", "0xb06", None),
        ("head", "0xb07"),
        ("log", "0xb07", None),
    ]


async def test_logs_of_a_supplier_that_lies_end_nothing(start: Start) -> None:
    gateway, chain = await started(start)
    honest = chain.ask

    def lies(method: str, params: list[Any]) -> Any:
        said = honest(method, params)
        return [{**entry, "topics": 5} for entry in said] if method == "eth_getLogs" else said

    chain.ask = lies  # type: ignore[method-assign]
    async with gateway.http.ws_connect(address(gateway)) as socket:
        for identity, wanted in enumerate((["logs", {"topics": ["0x1"]}], ["logs", {}], ["newHeads"])):
            await socket.send_json({"id": identity, "method": "eth_subscribe", "params": wanted})
            everything = (await socket.receive_json())["result"]
        await asyncio.sleep(0.6)
        chain.grow()
        told = [(await socket.receive_json())["params"] for _ in range(2)]
        assert [news["result"].get("topics") for news in told] == [None, 5]
        assert told[0]["subscription"] == everything
    assert not gateway.task.done()


async def test_a_feed_whose_listeners_leave_in_the_midst_of_a_reorg_goes_on() -> None:
    chain = Chain()
    listening: list[str] = []

    async def ask(method: str, params: list[Any]) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "0x5" and listening:
            feed.unsubscribe(listening.pop())
        return chain.ask(method, params)

    feed = ChainFeed(ask)
    identity = feed.subscribe(["newHeads"], lambda _, block: None)
    await feed.step()
    chain.fork(1, "b")
    listening.append(identity)
    await feed.step()
    assert not feed.subscriptions


async def test_a_key_for_some_addresses_works_over_a_socket(start: Start) -> None:
    gateway = await start(rules='{"addresses": ["127.0.0.1/32"]}')
    chain = Chain()
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = chain.answer
    async with gateway.http.ws_connect(address(gateway)) as socket:
        await socket.send_str('{"jsonrpc":"2.0","id":1,"method":"eth_gasPrice","params":[]}')
        assert (await socket.receive_json())["result"] == "0x7a69"


async def test_a_socket_without_a_key_is_refused(start: Start) -> None:
    gateway, _ = await started(start)
    async with gateway.http.get(f"{gateway.url}/rpc/eth", headers={"Upgrade": "websocket"}) as answer:
        assert answer.status == 401
    async with gateway.http.get(f"{gateway.url}/rpc/eth") as answer:
        assert answer.status == 405


async def test_unknown_subscriptions_are_refused(start: Start) -> None:
    gateway, _ = await started(start)
    async with gateway.http.ws_connect(address(gateway)) as socket:
        await socket.send_json({"id": 1, "method": "eth_subscribe", "params": ["syncing"]})
        assert (await socket.receive_json())["error"]["code"] == -32602
        await socket.send_json({"id": 2, "method": "eth_unsubscribe", "params": ["0x1"]})
        assert (await socket.receive_json())["result"] is False


class Mempool:
    """A node that keeps filters of waiting transactions, each for who made it here."""

    def __init__(self, name: str) -> None:
        self.name, self.news, self.made = name, list[str](), 0

    async def __call__(self, relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"], "result": None}
        if asked["method"] == "eth_newPendingTransactionFilter":
            self.made += 1
            said["result"] = f"0x{self.name}{self.made}"
        elif asked["params"] == [f"0x{self.name}{self.made}"]:
            said["result"], self.news = self.news, []
        else:
            said = {**said, "error": {"code": -32000, "message": "filter not found"}}
            del said["result"]
        return await reply_json(relay, said, 10)


async def test_waiting_transactions_are_told_once_and_survive_the_loss_of_their_supplier(start: Start) -> None:
    gateway = await start(suppliers=2)
    pools = [Mempool("a"), Mempool("b")]
    for supplier, pool in zip(gateway.suppliers, pools, strict=True):
        supplier.answers["eth"] = pool
    async with gateway.http.ws_connect(address(gateway)) as socket, gateway.http.ws_connect(address(gateway)) as other:
        identities = []
        for one in (socket, other):
            await one.send_json({"id": 1, "method": "eth_subscribe", "params": ["newPendingTransactions"]})
            identities.append((await one.receive_json())["result"])
        await until(lambda: any(pool.made for pool in pools))
        assert sum(pool.made for pool in pools) == 1
        keeper = next(pool for pool in pools if pool.made)
        keeper.news = ["0x01", "0x02", "0x01"]
        for one, identity in ((socket, identities[0]), (other, identities[1])):
            told = [(await one.receive_json(timeout=5))["params"] for _ in range(2)]
            assert told == [{"subscription": identity, "result": f"0x0{n}"} for n in (1, 2)]
        await gateway.suppliers[pools.index(keeper)].server.drain(0)
        heir = next(pool for pool in pools if pool is not keeper)
        await until(lambda: heir.made > 0)
        heir.news = ["0x02", "0x03"]
        assert (await socket.receive_json(timeout=5))["params"]["result"] == "0x03"
        await socket.send_json({"id": 2, "method": "eth_subscribe", "params": ["newPendingTransactions", True]})
        assert (await socket.receive_json(timeout=5))["error"]["code"] == -32602
