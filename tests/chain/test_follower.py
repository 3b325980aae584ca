"""No event is missed and none is kept that the chain undid, whatever happens to the chain and its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pocketnode.chain import follower as following
from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import contract
from pocketnode.chain.events import read_logs
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Heads
from pocketnode.chain.reader import Reader
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.events import EventStore
from tests.anvil import KEYS, eventually, mine, reorg
from tests.chain.conftest import Chain
from tests.chain.proxy import proxy


@asynccontextmanager
async def follower_at(
    chain: Chain, folder: Path, rpc: Rpc | None = None, confirmations: int = 0
) -> AsyncIterator[tuple[Follower, EventStore]]:
    """Run a follower of the token: its transfers stand in for settlement's events, which take whole sessions."""
    engine = open_store(sqlite_url(folder / "state.db"))
    contracts = chain.deployment.contracts.model_copy(update={"settlement": chain.deployment.contracts.token})
    reader = Reader(rpc or chain.rpc, chain.deployment.model_copy(update={"contracts": contracts}))
    heads = Heads(reader.rpc, poll_interval_s=0.02)
    store = EventStore(engine)
    follower = Follower(reader, heads, store, confirmations)
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(heads.run()), group.create_task(follower.run())]
        try:
            yield follower, store
        finally:
            for job in jobs:
                job.cancel()
    engine.dispose()


async def transfer(chain: Chain, amount: int) -> None:
    data = contract("TestToken").call_data("mint", KEYS[3].address, amount)
    call = {
        "from": f"0x{KEYS[4].address.hex()}",
        "to": f"0x{chain.deployment.contracts.token.hex()}",
        "data": f"0x{data.hex()}",
    }
    await chain.rpc.ask("eth_sendTransaction", call)


def amounts(store: EventStore) -> list[int]:
    topic = contract("TestToken").topic("Transfer")
    return [int.from_bytes(row["data"], "big") for row in store.of(topic)]


async def test_events_of_the_past_and_of_now_are_read_once(chain: Chain, tmp_path: Path) -> None:
    for amount in (1, 2):
        await transfer(chain, amount)
    await mine(chain.rpc, 30)
    async with follower_at(chain, tmp_path) as (follower, store):
        await eventually(lambda: amounts(store) == [1, 2])
        await transfer(chain, 3)
        await eventually(lambda: amounts(store) == [1, 2, 3])
    await transfer(chain, 4)
    async with follower_at(chain, tmp_path) as (follower, store):
        await eventually(lambda: amounts(store) == [1, 2, 3, 4])
        await asyncio.wait_for(follower.wait(int(await chain.rpc.ask("eth_blockNumber"), 16)), 5)


@pytest.mark.parametrize("depth", [1, 3, 8])
async def test_what_a_reorg_undid_is_taken_out(chain: Chain, tmp_path: Path, depth: int) -> None:
    async with follower_at(chain, tmp_path) as (_, store):
        await transfer(chain, 1)
        await mine(chain.rpc, 9 - depth)
        await transfer(chain, 2)
        await mine(chain.rpc, depth - 1)
        await eventually(lambda: amounts(store) == [1, 2])
        await reorg(chain.rpc, depth)
        await eventually(lambda: amounts(store) == [1])
        await transfer(chain, 3)
        await eventually(lambda: amounts(store) == [1, 3])


async def test_a_reorg_while_it_was_down_is_noticed(chain: Chain, tmp_path: Path) -> None:
    async with follower_at(chain, tmp_path) as (_, store):
        await transfer(chain, 1)
        await eventually(lambda: amounts(store) == [1])
    await reorg(chain.rpc, 1)
    await mine(chain.rpc, 20)
    await transfer(chain, 2)
    async with follower_at(chain, tmp_path) as (_, store):
        await eventually(lambda: amounts(store) == [2])


async def test_a_reorg_deeper_than_all_it_remembers_starts_over(chain: Chain, tmp_path: Path) -> None:
    async with follower_at(chain, tmp_path) as (_, store):
        await transfer(chain, 1)
        await eventually(lambda: amounts(store) == [1])
        store.extend(store.checkpoints()[0][0] + 1, b"x" * 32, [])
        for number, _ in store.checkpoints()[1:]:
            store.unwind(number)
        await reorg(chain.rpc, 1)
        await eventually(lambda: amounts(store) == [])


async def test_events_wait_for_confirmations(chain: Chain, tmp_path: Path) -> None:
    async with follower_at(chain, tmp_path, confirmations=3) as (follower, store):
        await transfer(chain, 1)
        block = int(await chain.rpc.ask("eth_blockNumber"), 16)
        await mine(chain.rpc, 2)
        await asyncio.wait_for(follower.wait(block - 1), 5)
        assert amounts(store) == []
        await mine(chain.rpc)
        await eventually(lambda: amounts(store) == [1])


async def test_an_outage_leaves_no_gap(chain: Chain, tmp_path: Path) -> None:
    async with (
        proxy(chain.url) as node,
        Rpc([node.url], patience_s=0.1) as rpc,
        follower_at(chain, tmp_path, rpc) as (_, store),
    ):
        await transfer(chain, 1)
        await eventually(lambda: amounts(store) == [1])
        node.down = True
        await transfer(chain, 2)
        await mine(chain.rpc, 12)
        await asyncio.sleep(0.3)
        node.down = False
        await transfer(chain, 3)
        await eventually(lambda: amounts(store) == [1, 2, 3])


async def test_a_node_that_gives_other_logs_is_not_believed(chain: Chain, tmp_path: Path) -> None:
    async with proxy(chain.url) as node, Rpc([node.url], patience_s=0.1) as rpc:
        foreign = {
            "address": "0x" + "11" * 20,
            "topics": ["0x" + "22" * 32],
            "data": "0x",
            "blockNumber": "0x1",
            "blockHash": "0x" + "33" * 32,
            "transactionHash": "0x" + "44" * 32,
            "logIndex": "0x0",
        }
        node.answer = lambda method, params: {"result": [foreign]} if method == "eth_getLogs" else None
        async with follower_at(chain, tmp_path, rpc) as (_, store):
            await asyncio.sleep(0.3)
            assert store.count() == 0
            node.answer = lambda method, params: None
            await transfer(chain, 1)
            await eventually(lambda: amounts(store) == [1])


async def test_a_node_that_limits_ranges_is_asked_for_less(chain: Chain) -> None:
    await transfer(chain, 1)
    await mine(chain.rpc, 40)

    def limit(method: str, params: list[dict[str, str]]) -> object:
        if method != "eth_getLogs" or int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) < 10:
            return None
        return {"error": {"code": -32000, "message": "at most 10 blocks a query"}}

    async with proxy(chain.url) as node, Rpc([node.url], patience_s=0.1) as rpc:
        node.answer = limit
        head = int(await chain.rpc.ask("eth_blockNumber"), 16)
        token = chain.deployment.contracts.token
        assert len(await read_logs(rpc, token, chain.deployment.block, head)) == 1
        assert following.RANGE_BLOCKS > 10
