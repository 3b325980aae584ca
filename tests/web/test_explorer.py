"""The explorer on a real chain: what it shows, what it reads again after a restart, and after a deep reorg."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pocketnode.chain.client import Rpc
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.explored import ExploredStore
from pocketnode.web.explorer import Explorer
from pocketnode.web.feed import Feed
from pocketnode.web.meter import Meter
from pocketnode.web.serve import Dashboard
from tests.anvil import eventually, mine
from tests.settlement.market import set_up
from tests.web.fakes import FakeSource

DEEP = 40


class Watched(Rpc):
    """Notes from which blocks on logs are asked for."""

    first: int

    async def ask(self, method: str, *params: Any) -> Any:
        if method == "eth_getLogs":
            self.first = min(getattr(self, "first", 1 << 62), int(params[0]["fromBlock"], 16))
        return await super().ask(method, *params)


@asynccontextmanager
async def explorer_at(url: str, deployment: Deployment, folder: Path) -> AsyncIterator[tuple[Explorer, Watched]]:
    engine = open_store(sqlite_url(folder / "explorer.db"))
    async with Watched([url], patience_s=5.0) as rpc:
        heads = Heads(rpc, poll_interval_s=0.02)
        await heads.refresh()
        market = Market(Reader(rpc, deployment), heads)
        explorer = Explorer(market.reader, market, ExploredStore(engine))
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(heads.run()), group.create_task(explorer.run())]
            try:
                yield explorer, rpc
            finally:
                for job in jobs:
                    job.cancel()
    engine.dispose()


async def caught_up(explorer: Explorer, block: int) -> None:
    await eventually(lambda: explorer.book.block >= block)


async def head(rpc: Rpc) -> int:
    return int(await rpc.ask("eth_blockNumber"), 16)


async def test_a_restart_reads_on_from_where_it_was(anvil_url: str, rpc: Rpc, tmp_path: Path) -> None:
    stage = await set_up(rpc, bond=1_000_000)
    await mine(rpc, DEEP)
    block = await head(rpc) - DEEP
    async with explorer_at(anvil_url, stage.deployment, tmp_path) as (explorer, watched):
        await caught_up(explorer, block)
        first = explorer.book
        assert watched.first == stage.deployment.block
    await mine(rpc, DEEP)
    async with explorer_at(anvil_url, stage.deployment, tmp_path) as (explorer, watched):
        await caught_up(explorer, block + DEEP)
        assert watched.first > stage.deployment.block
        assert explorer.book.suppliers == first.suppliers != {}
        assert explorer.book.applications == first.applications != {}


async def test_lists_come_in_pages_and_are_searched(anvil_url: str, rpc: Rpc, tmp_path: Path) -> None:
    stage = await set_up(rpc, bond=1_000_000)
    await mine(rpc, DEEP)
    async with explorer_at(anvil_url, stage.deployment, tmp_path) as (explorer, _):
        await caught_up(explorer, await head(rpc) - DEEP)
        app, source = web.Application(), FakeSource()
        Dashboard(source, Feed(Meter(), source, None), panels=[explorer]).attach(app)
        async with TestClient(TestServer(app)) as client:
            whole = await (await client.get("/api/chain/suppliers")).json()
            assert whole["count"] == len(explorer.book.suppliers) == len(whole["rows"])
            page = await (await client.get("/api/chain/suppliers?offset=1&limit=1")).json()
            assert page["rows"] == whole["rows"][1:2]
            operator = whole["rows"][0]["operator"]
            found = await (await client.get(f"/api/chain/suppliers?find={operator.lower()}")).json()
            assert {row["operator"] for row in found["rows"]} == {operator}
            assert (await client.get("/api/chain/nobodies")).status == 404
            assert (await client.get("/api/chain/suppliers?limit=0")).status == 400
            chain = await (await client.get("/api/chain")).json()
            assert chain["totals"]["suppliers"] == whole["count"]


async def test_a_deep_reorg_has_the_logs_read_again(anvil_url: str, rpc: Rpc, tmp_path: Path) -> None:
    empty = await rpc.ask("evm_snapshot")
    stage = await set_up(rpc, bond=1_000_000)
    await mine(rpc, DEEP)
    async with explorer_at(anvil_url, stage.deployment, tmp_path) as (explorer, _):
        await caught_up(explorer, await head(rpc) - DEEP)
        assert explorer.book.suppliers
        await rpc.ask("evm_revert", empty)
        await mine(rpc, 20 * DEEP)
        await eventually(lambda: not explorer.book.suppliers)
