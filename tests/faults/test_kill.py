"""kill -9 at every step of the way from a relay to its money, then a restart: what was earned is paid once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import pytest

from pocketnode.localnet.plan import GATEWAY
from tests.faults import books
from tests.faults.world import UNITS, World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

AT_ONCE: Final = 4
CALLS: Final = 60
SAVED_S: Final = 1.3  # after which everything is acknowledged (rule 3.13) and on disk


@dataclass(frozen=True)
class Death:
    """One row: which daemon dies where, and what the books may differ by from what users got.

    Parameters
    ----------
    withheld : the gateway never states, so that pay rests on the supplier's own receipts.
    unpaid_most, overpaid_most : relays of the dead daemon's lanes in flight when it died. Their answers may have been
        on the way: users may lack answers that are paid, and with a dead supplier's claims the reverse.
    """

    daemon: str
    point: str
    withheld: bool = False
    unpaid_most: int = 0
    overpaid_most: int = 0

    def __str__(self) -> str:
        return f"{self.daemon}-{self.point}{'-withheld' if self.withheld else ''}"


S: Final = "supplier"  # the one that answered most in the session
RELAYING: Final = (
    Death(S, "before-receipt-stored"),
    Death(S, "after-receipt-stored"),
    Death(S, "before-answer-sent"),
    Death(S, "after-answer-sent"),
    Death(GATEWAY, "before-record-written", overpaid_most=AT_ONCE),
    Death(GATEWAY, "after-record-written", overpaid_most=AT_ONCE),
    Death(S, "before-receipt-stored", withheld=True, unpaid_most=AT_ONCE),
    Death(S, "after-receipt-stored", withheld=True, unpaid_most=AT_ONCE),
    Death(S, "before-answer-sent", withheld=True, unpaid_most=AT_ONCE),
    Death(S, "after-answer-sent", withheld=True, unpaid_most=AT_ONCE),
)
SETTLING: Final = (
    Death(GATEWAY, "before-statement-signed"),
    Death(GATEWAY, "after-statement-signed"),
    Death(GATEWAY, "before-statement-sent"),
    Death(GATEWAY, "after-statement-sent"),
    Death(GATEWAY, "before-statement-mined"),
    Death(GATEWAY, "after-statement-mined"),
    Death(GATEWAY, "before-statement-final"),
    Death(GATEWAY, "after-statement-final"),
    Death(S, "before-claim-signed", withheld=True),
    Death(S, "after-claim-signed", withheld=True),
    Death(S, "before-claim-sent", withheld=True),
    Death(S, "after-claim-sent", withheld=True),
    Death(S, "before-claim-mined", withheld=True),
    Death(S, "after-claim-mined", withheld=True),
    Death(S, "before-withdraw-sent"),
    Death(S, "after-withdraw-sent"),
    Death(S, "before-withdraw-mined"),
    Death(S, "after-withdraw-mined"),
    Death(S, "before-receipts-dropped"),
    Death(S, "after-receipts-dropped"),
)
# One of each kind runs with the other tests; all of them with `make audit`.
OFTEN: Final = {
    "supplier-before-answer-sent-withheld",
    "gateway-after-record-written",
}


def rows(deaths: tuple[Death, ...]) -> list[object]:
    marks = {False: [pytest.mark.audit], True: []}
    return [pytest.param(death, id=str(death), marks=marks[str(death) in OFTEN]) for death in deaths]


async def prepared(world: World, death: Death) -> int:
    """Have the gateway state or not, as the row wants it, and return a session that has just begun."""
    await world.withhold(death.withheld)
    return await world.new_session()


async def armed(world: World, death: Death, number: int) -> str:
    """Let the daemon that the row means die at its point, and return its name."""
    users = world.users(number)
    name = GATEWAY if death.daemon == GATEWAY else max(users, key=lambda supplier: users[supplier])
    world.arm(name, death.point)
    return name


@pytest.mark.parametrize("death", rows(RELAYING))
async def test_a_death_among_relays(world: World, death: Death) -> None:
    number = await prepared(world, death)
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(SAVED_S)
    victim = await armed(world, death, number)
    await world.load(CALLS, AT_ONCE)
    await world.gone(victim)
    await world.start(victim)
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(SAVED_S)
    await world.settle(number)
    await check_books(world, number, death)


@pytest.mark.parametrize("death", rows(SETTLING))
async def test_a_death_while_settling(world: World, death: Death) -> None:
    number = await prepared(world, death)
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(SAVED_S)
    victim = await armed(world, death, number)
    await world.mine_to(world.end_of(number))

    async def dead() -> bool:
        return not world.alive(victim)

    await world.mine_until(dead, 40, f"{victim} never came to {death.point}")
    await world.start(victim)
    await world.settle(number)
    await check_books(world, number, death)


async def check_books(world: World, number: int, death: Death) -> None:
    """Everyone is paid once, for what the gateway accepted, give or take what was in flight."""
    pot, accepted = await books.settled(world, number)
    assert pot.statements == (0 if death.withheld else 1)
    least = death.unpaid_most * UNITS
    most = death.overpaid_most * UNITS
    for name, units in pot.units.items():
        assert accepted.get(name, 0) - least <= units <= accepted.get(name, 0) + most, (name, accepted, pot)
