"""anvil runs once and the market is set up once; each test gets the chain as it was before."""

from __future__ import annotations

import asyncio

import pytest

from pocketnode.chain.client import Rpc
from pocketnode.chain.deployment import Deployment
from tests.anvil import ready
from tests.chain.conftest import anvil_url, rpc
from tests.settlement.market import Stage, set_up

__all__ = ["anvil_url", "rpc"]


@pytest.fixture(scope="session")
def opened(anvil_url: str) -> tuple[Deployment, bytes]:
    async def open_market() -> tuple[Deployment, bytes]:
        async with Rpc([anvil_url]) as rpc:
            await ready(rpc)
            stage = await set_up(rpc, bond=1_000_000)
            return stage.deployment, stage.service

    return asyncio.run(open_market())


@pytest.fixture
def stage(opened: tuple[Deployment, bytes], rpc: Rpc) -> Stage:
    """The market in the first session that everyone is in."""
    return Stage(rpc, *opened)
