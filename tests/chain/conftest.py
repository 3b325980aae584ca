"""A deployed market on a real chain, fresh for each test; anvil itself runs once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from pocketnode.chain.actor import sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Plan, deploy
from pocketnode.chain.deployment import Deployment
from tests.anvil import KEYS, anvil, ready


@dataclass(frozen=True)
class Chain:
    url: str
    rpc: Rpc
    deployment: Deployment


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    with anvil() as url:
        yield url


@pytest.fixture
async def rpc(anvil_url: str) -> AsyncIterator[Rpc]:
    """The chain, put back after the test to what it was before."""
    async with Rpc([anvil_url], patience_s=5.0) as rpc:
        await ready(rpc)
        snapshot = await rpc.ask("evm_snapshot")
        yield rpc
        await rpc.ask("evm_revert", snapshot)


@pytest.fixture
async def chain(anvil_url: str, rpc: Rpc) -> Chain:
    async with sending(rpc, KEYS[0]) as sender:
        return Chain(anvil_url, rpc, await deploy(rpc, sender, Plan(spans=LOCAL_SPANS)))
