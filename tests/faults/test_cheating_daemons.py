"""A supplier that cheats among honest ones: users notice nothing, and it earns nothing by it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pocketnode.localnet.plan import GATEWAY, SUPPLIERS
from tests.faults import books
from tests.faults.cheating import CHEATS
from tests.faults.world import DAEMONS, UNITS, World

pytestmark = [pytest.mark.e2e, pytest.mark.audit, pytest.mark.asyncio(loop_scope="session")]

CHEAT = SUPPLIERS[0]
CALLS = 120
AT_ONCE = 4


@pytest.mark.parametrize("name", CHEATS)
async def test_a_supplier_that_signs_what_is_not_so(world: World, name: str) -> None:
    await world.withhold(False)
    await world.stop(CHEAT)
    await world.start(CHEAT, cheat=name)
    try:
        number = await world.new_session()
        assert await world.load(CALLS, AT_ONCE) == CALLS
        seats = await seats_of(world, number)
        cheats, honest = seats.pop(CHEAT), seats
        answered = sum(world.users(number).values())
        assert cheats["verdicts"]["wrong"] > 0
        assert cheats["quality"] < min(seat["quality"] for seat in honest.values())
        await world.settle(number)
        await check_books(world, number, answered)
    finally:
        await world.restart(CHEAT)
    assert all(world.alive(daemon) for daemon in DAEMONS)


async def test_a_supplier_that_claims_with_old_receipts(world: World) -> None:
    """It is paid for the session that they are of, once, and for no other."""
    await world.withhold(True)
    await world.stop(CHEAT)
    await world.start(CHEAT, cheat="old-receipts")
    try:
        first = await world.new_session()
        assert await world.load(CALLS, AT_ONCE) == CALLS
        await asyncio.sleep(1.5)
        await world.settle(first)
        await books.settled(world, first)
        later = await world.new_session()
        assert await world.load(CALLS, AT_ONCE) == CALLS
        await asyncio.sleep(1.5)
        served = set(world.users(later))
        assert CHEAT in served
        await world.settle(later)

        async def honest_are_paid() -> bool:
            return (await books.pot(world, later)).paid.keys() >= served - {CHEAT}

        await world.mine_until(honest_are_paid, 40, "the honest are not paid")
        assert CHEAT not in (await books.pot(world, later)).units
        assert "claim_missed" in world.log(CHEAT)
        assert world.alive(CHEAT)
    finally:
        await world.restart(CHEAT)


async def test_a_supplier_that_claims_with_anothers_receipts(world: World) -> None:
    """The contract takes none of them; the one that they were given to is paid once, as everybody else."""
    await world.withhold(True)
    await world.stop(CHEAT)
    await world.start(CHEAT, cheat="anothers-receipts")
    try:
        number = await world.new_session()
        assert await world.load(CALLS, AT_ONCE) == CALLS
        await asyncio.sleep(1.5)
        accepted = await books.recorded(world, number)
        assert set(accepted) == set(SUPPLIERS)
        await world.settle(number)

        async def honest_are_paid() -> bool:
            return (await books.pot(world, number)).paid.keys() >= accepted.keys() - {CHEAT}

        await world.mine_until(honest_are_paid, 40, "the honest are not paid")
        pot = await books.pot(world, number)
        assert pot.claimed == {name: units for name, units in accepted.items() if name != CHEAT}
        assert (CHEAT in pot.paid, pot.payments, pot.faults) == (False, len(SUPPLIERS) - 1, [])
        books.check_pay(pot)
        assert "claim_missed" in world.log(CHEAT)
        assert world.alive(CHEAT)
    finally:
        await world.restart(CHEAT)


async def seats_of(world: World, number: int) -> dict[str, dict[str, Any]]:
    """Return what the gateway says of each supplier in a session."""
    sessions = (await world.facts(GATEWAY))["sessions"]
    found = next(session for session in sessions if session["number"] == number)
    return {world.name_of(seat["operator"]): seat for seat in found["suppliers"]}


async def check_books(world: World, number: int, answered: int) -> None:
    """The honest are paid for all; the cheat for what was accepted of it, and one hold for each of its lanes at most.

    Only the first answer of the one that repeats itself was sound.
    """
    pot, accepted = await books.settled(world, number)
    assert answered <= sum(accepted.values())
    assert accepted.get(CHEAT, 0) <= UNITS
    lanes = 30  # it is asked again by every lane that is opened anew, and may keep the hold of the last relay on each
    assert pot.units.get(CHEAT, 0) <= accepted.get(CHEAT, 0) + lanes * UNITS
    for supplier in set(accepted) - {CHEAT}:
        assert pot.units[supplier] == accepted[supplier]
