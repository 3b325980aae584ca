"""A session that is settled later than the chain keeps block hashes: somebody pokes in time, and the claim is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import Spans
from pocketnode.chain.errors import Reverted
from pocketnode.chain.reader import Reader
from pocketnode.protocol.session import start_of
from pocketnode.settlement.poking import HISTORY_BLOCKS, MARGIN_SHARE, RECENT_BLOCKS, SPREAD_SHARE, blocks_kept
from pocketnode.store.pots import PotStage
from tests.anvil import anvil, ready
from tests.settlement.market import SUPPLIERS, Stage, party, receipt, set_up
from tests.settlement.test_paying import go_to

GOOD, OTHER, _ = SUPPLIERS
LONG = Spans(length=50, grace=2, statement=5, claim=400, thaw=2_000)


@pytest.fixture
async def forgetful() -> AsyncIterator[Rpc]:
    """A chain without EIP-2935: it knows the hashes of its last 256 blocks only."""
    with anvil(hardfork="cancun") as url:
        async with Rpc([url]) as rpc:
            await ready(rpc)
            yield rpc


async def test_a_seed_is_kept_until_the_last_claim(forgetful: Rpc, tmp_path: Path) -> None:
    stage = await set_up(forgetful, spans=LONG)
    async with party(stage, GOOD, tmp_path / "good") as good, party(stage, OTHER, tmp_path / "other") as other:
        session = await good.session(stage)
        for supplier in (good, other):
            supplier.receipts.keep([receipt(stage, session, supplier.key, 4_000)])
            await supplier.claiming().note_pots()
        params = await good.market.params(session.number)
        last = start_of(session.number, params) - 1 + RECENT_BLOCKS
        margin, spread = RECENT_BLOCKS // MARGIN_SHARE, RECENT_BLOCKS // SPREAD_SHARE
        await go_to(stage, last - margin - spread, good, other)
        assert await good.poking().poke() == []
        await go_to(stage, last - margin, good, other)
        assert await asyncio.wait_for(good.poking().poke(), 10) == [session.number]
        await asyncio.wait_for(other.market.heads.refresh(), 5)
        assert await asyncio.wait_for(other.poking().poke(), 10) == []  # the first spared it the gas
        await go_to(stage, last + 100, other)
        (pot,) = other.pots.all()
        assert await asyncio.wait_for(other.claiming().compare(pot), 10) is PotStage.CLAIMED
        read = other.market.reader
        assert any(await seed_of(read, session.number))
        with pytest.raises(Reverted, match="SeedUnknown"):  # nobody poked for the one before
            await seed_of(read, session.number - 1)


async def seed_of(reader: Reader, number: int) -> bytes:
    (found,) = await reader.call("Sessions", "blockHashOf", number)
    return bytes(found)


async def test_nothing_is_sent_where_windows_are_short(stage: Stage, tmp_path: Path) -> None:
    async with party(stage, GOOD, tmp_path) as good:
        session = await good.session(stage)
        good.receipts.keep([receipt(stage, session, GOOD, 4_000)])
        await good.claiming().note_pots()
        assert await blocks_kept(stage.rpc) == HISTORY_BLOCKS
        assert await good.poking().poke() == []
        assert good.journal.live() == []
