"""A supplier daemon becomes slow: users of the gateway wait no longer than the tail that it has learnt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pocketnode.gateway.hedging import BURST, SHARE
from pocketnode.gateway.rpc_items import WATCH_EVERY_S
from pocketnode.localnet.plan import GATEWAY, SUPPLIERS
from tests.faults.serving_badly import PROMPT_AT_FIRST, TIRED_S
from tests.faults.world import World, running, until

pytestmark = pytest.mark.e2e
TIRED = SUPPLIERS[0]
AFTER = 60


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("hedging") / "net", start=False) as world:
        await asyncio.gather(*(world.start(name, cheat="tires" if name == TIRED else "") for name in SUPPLIERS))
        await world.start(GATEWAY)
        yield world


@pytest.mark.asyncio(loop_scope="session")
async def test_users_do_not_wait_for_a_supplier_that_tires(world: World) -> None:
    asked, started_s = 0, time.monotonic()
    while (await relays(world))[TIRED] < PROMPT_AT_FIRST:
        assert await world.ask()
        asked += 1
        assert asked < 40 * PROMPT_AT_FIRST
    before = await relays(world)
    slowest_s = 0.0
    for _ in range(AFTER):
        begun_s = time.monotonic()
        assert await world.ask()
        slowest_s = max(slowest_s, time.monotonic() - begun_s)
    assert slowest_s < TIRED_S / 2

    async def all_scored() -> bool:
        found = await relays(world)
        return found[TIRED] > before[TIRED] and sum(await in_flight(world)) == 0

    await until(all_scored, 2 * TIRED_S, "the late answers are scored")
    after = await relays(world)
    late = after[TIRED] - before[TIRED]
    more = sum(after.values()) - sum(before.values())
    # Whoever was late is scored for its own attempt, who stood in for another one; no attempt is scored twice.
    own = (time.monotonic() - started_s) / WATCH_EVERY_S + 1  # the gateway's own looks at the head
    assert AFTER + late <= more <= AFTER + late + own
    assert sum(after.values()) - asked - AFTER <= BURST + SHARE * (asked + AFTER) + own
    assert world.answered.count == asked + AFTER
    assert not world.answered.failures
    for supplier in await seats(world):
        assert supplier["verdicts"]["good"] == supplier["relays"]


async def seats(world: World) -> list[dict[str, Any]]:
    facts = await world.facts(GATEWAY)
    return [seat for session in facts["sessions"] if session["service"] == "eth" for seat in session["suppliers"]]


async def relays(world: World) -> dict[str, int]:
    found = dict.fromkeys(SUPPLIERS, 0)
    for supplier in await seats(world):
        found[world.name_of(supplier["operator"])] += supplier["relays"]
    return found


async def in_flight(world: World) -> list[int]:
    return [supplier["in_flight"] for supplier in await seats(world)]
