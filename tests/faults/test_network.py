"""The line between gateway and supplier, and the supplier itself: whatever becomes of one, the others answer."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import pytest

from pocketnode.localnet.plan import GATEWAY, SUPPLIERS
from tests.faults import books
from tests.faults.world import UNITS, World, until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

CALLS: Final = 60
AT_ONCE: Final = 4
VICTIM: Final = SUPPLIERS[0]
Act = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Trouble:
    """One row: what happens to the victim's line, and how long a user may wait meanwhile."""

    name: str
    begin: Act
    end: Act
    waits_most_s: float = 2.0


def line(**weather: object) -> Act:
    async def act(world: World) -> None:
        for name, value in weather.items():
            setattr(world.lines[VICTIM].weather, name, value)

    return act


async def cut(world: World) -> None:
    await world.lines[VICTIM].cut()


async def mend(world: World) -> None:
    await world.lines[VICTIM].start()


async def reset(world: World) -> None:
    for _ in range(5):
        world.lines[VICTIM].reset()
        await asyncio.sleep(0.1)


async def nothing(world: World) -> None:
    await asyncio.sleep(0)


async def freeze(world: World) -> None:
    world.signal(VICTIM, signal.SIGSTOP)


async def go_on(world: World) -> None:
    world.signal(VICTIM, signal.SIGCONT)


TROUBLES: Final = (
    Trouble("cut", cut, mend),
    Trouble("reset", reset, nothing),
    Trouble("delayed", line(delay_s=0.2), line(delay_s=0.0), waits_most_s=5),
    Trouble("reordered", line(jitter_s=0.3), line(jitter_s=0.0), waits_most_s=5),
    Trouble("narrow", line(bytes_per_s=2_000), line(bytes_per_s=0), waits_most_s=25),
    Trouble("stalled", line(stalled=True), line(stalled=False), waits_most_s=25),
    Trouble("half-open", line(deaf=True), line(deaf=False), waits_most_s=25),
    Trouble("stopped", freeze, go_on, waits_most_s=25),
)
OFTEN: Final = {"stopped"}


@pytest.mark.parametrize(
    "trouble",
    [pytest.param(t, id=t.name, marks=[] if t.name in OFTEN else [pytest.mark.audit]) for t in TROUBLES],
)
async def test_a_user_notices_little(world: World, trouble: Trouble) -> None:
    await world.withhold(False)
    number = await world.new_session()
    assert await world.load(CALLS, AT_ONCE) == CALLS
    users = asyncio.create_task(world.load(CALLS * 2, AT_ONCE))
    begun_s = time.monotonic()
    await trouble.begin(world)
    assert await users == CALLS * 2, world.answered.failures
    assert time.monotonic() - begun_s < trouble.waits_most_s
    await trouble.end(world)
    await until(lambda: lane_open(world), 30, f"{VICTIM} is not used again", 0.2)
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await world.settle(number)
    await check_books(world, number)


async def lane_open(world: World) -> bool:
    """Return whether the victim's lane is open again, at both ends."""
    sessions = (await world.facts(GATEWAY))["sessions"]
    lanes = [s["lane"] for found in sessions for s in found["suppliers"] if s["operator"] == world.operator(VICTIM)]
    return lanes[:1] == ["open"]


async def check_books(world: World, number: int) -> None:
    """Everyone is paid for what was accepted; the victim at most for what was in flight besides: it did answer that."""
    pot, accepted = await books.settled(world, number)
    assert pot.statements == 1
    for name, units in pot.units.items():
        more = AT_ONCE * UNITS if name == VICTIM else 0
        assert accepted.get(name, 0) <= units <= accepted.get(name, 0) + more, (name, accepted, pot)
