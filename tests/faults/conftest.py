"""One market for all tests that hurt it: each uses a session of its own and leaves everyone running."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pocketnode.chain.deploy import LOCAL_SPANS
from tests.faults.chain_proxy import Mood
from tests.faults.network import Weather
from tests.faults.world import DAEMONS, World, running

SLOW = LOCAL_SPANS.model_copy(update={"claim": 30, "thaw": 100})


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def market(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("faults") / "net") as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def slow_market(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A market whose claims have three times as many blocks: what a reorg takes back can be done again in time."""
    async with running(tmp_path_factory.mktemp("slow") / "net", spans=SLOW) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(market: World) -> World:
    return await mended(market)


@pytest_asyncio.fixture(loop_scope="session")
async def slow_world(slow_market: World) -> World:
    return await mended(slow_market)


async def mended(market: World) -> World:
    """Return the market with everything mended that an earlier test may have left."""
    for line in market.lines.values():
        line.weather = Weather()
    for node in market.nodes.values():
        node.mood = Mood()
    for name in DAEMONS:
        if not market.alive(name):
            await market.start(name)
    return market
