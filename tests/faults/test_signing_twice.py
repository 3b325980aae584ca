"""A supplier that signs two answers to one Receipt is reported by the ordinary gateway daemon, and slashed."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from click.testing import CliRunner

from pocketnode.chain.events import SupplierFaulted
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.cli.main import main
from pocketnode.localnet.plan import CHAIN, GATEWAY, SUPPLIERS
from pocketnode.protocol.session import pot_id
from tests.faults import books
from tests.faults.test_cheating_daemons import seats_of
from tests.faults.world import DAEMONS, UNITS, World, until

pytestmark = [pytest.mark.e2e, pytest.mark.audit, pytest.mark.asyncio(loop_scope="session")]

CHEAT = SUPPLIERS[0]
CALLS = 20
SYMBOL = " tPOCK"
AT_ONCE = 1  # so that its last Receipt acknowledges all before it: what it holds is on top
SLASHED = 1_000  # ten-thousandths of the bond


async def bond_of(world: World) -> tuple[int, int]:
    """Return the cheat's registration and its bond."""
    heads = Heads(world.rpc)
    await heads.refresh()
    market = Market(Reader(world.rpc, world.deployment), heads)
    operator = bytes.fromhex(world.operator(CHEAT)[2:])
    (mine,) = [s for s in await books.suppliers(world, await world.number()) if s.operator == operator]
    return mine.registration, (await market.registration(mine.registration)).bond


async def slashes(world: World) -> list[SupplierFaulted]:
    return [event for event in await books.events(world) if isinstance(event, SupplierFaulted)]


async def reported(world: World) -> int:
    """Return how many reports the gateway's metrics count."""
    headers = {"Authorization": f"Bearer {world.layout.admin_token.read_text().strip()}"}
    url = f"{world.plan.admin_url(GATEWAY)}/metrics"
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
        lines = (await answer.text()).splitlines()
    (line,) = [line for line in lines if line.startswith("pocketnode_gateway_claims_checked") and "reported" in line]
    return int(float(line.split()[-1]))


async def tempt(world: World, number: int, verdict: str) -> None:
    """Send requests until the cheat has had a part of them that ended in a verdict."""

    async def had() -> bool:
        assert await world.load(CALLS, AT_ONCE) == CALLS
        seats = await seats_of(world, number)
        return bool(seats[CHEAT]["verdicts"].get(verdict))

    await until(had, 30, f"{CHEAT} is asked nothing")


@pytest.mark.parametrize(("name", "verdict"), [("inflated-claim", "fault"), ("two-ends", "good")])
async def test_two_answers_to_one_receipt(world: World, name: str, verdict: str) -> None:
    """The gateway is killed once on the way: what it kept, and what it has reported, survive that."""
    await world.withhold(False)
    await world.stop(CHEAT)
    await world.start(CHEAT, cheat=name)
    before = await slashes(world)
    registration, bond = await bond_of(world)
    try:
        number = await world.new_session()
        await tempt(world, number, verdict)
        windows = world.deployment.windows
        await world.mine_to(world.end_of(number))
        await world.pace(world.end_of(number) + windows.statement)
        await world.kill(GATEWAY)
        await world.start(GATEWAY)
        await world.pace(world.end_of(number) + windows.statement + windows.claim + 1)

        async def is_slashed() -> bool:
            return len(await slashes(world)) > len(before)

        await world.mine_until(is_slashed, 40, f"{CHEAT} is not slashed")
        pot, accepted = await books.settled(world, number)
        (fault,) = (await slashes(world))[len(before) :]
        assert (fault.registration, fault.amount) == (registration, bond * SLASHED // 10_000)
        assert await bond_of(world) == (registration, bond - fault.amount)
        gained = pot.units.get(CHEAT, 0) - accepted.get(CHEAT, 0)
        assert gained in ({UNITS * n for n in range(1, 5)} if name == "inflated-claim" else {0})
        assert all(pot.units[other] == accepted[other] for other in set(accepted) - {CHEAT})
        assert f"0x{fault.receipt.hex()}" in world.log(GATEWAY)
        assert await reported(world) <= 1  # of this process; the one before it may have been the one that did
        await check_shown(world, pot, number)
    finally:
        await world.restart(CHEAT)
    assert all(world.alive(daemon) for daemon in DAEMONS)


async def check_shown(world: World, pot: books.Pot, number: int) -> None:
    """Commands say what was slashed, and print amounts with the token's symbol."""
    ours = pot_id(world.session(number), world.gateway)
    at = ["--deployment", str(world.layout.deployment), "--rpc", world.plan.url(CHAIN)]
    told = json.loads(await printed("session", "show", "0x" + ours.hex(), "--json", *at))
    slashed = {world.name_of(row["operator"].lower()): row["slashed"] for row in told["suppliers"]}
    assert slashed.pop(CHEAT) > 0
    assert not any(slashed.values())
    assert told["balances"]
    for daemon, command in ((GATEWAY, "gateway"), (SUPPLIERS[1], "supplier")):
        status = [command, "status", "--config", str(world.layout.config(daemon))]
        assert SYMBOL in await printed(*status)
        assert SYMBOL not in await printed(*status, "--json")


async def printed(*words: str) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, main, words)
    assert done.exit_code == 0, done.output
    return done.stdout
