"""A gateway that cheats, as a running daemon: suppliers refuse it, claim what it hides, or tell what it lies about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pocketnode.chain import operations
from pocketnode.localnet.configs import PRICES
from pocketnode.localnet.market import CAP
from pocketnode.localnet.plan import APPLICATION, GATEWAY, SUPPLIERS
from pocketnode.protocol.session import service_id
from pocketnode.protocol.statement import amount_down
from pocketnode.supplier.dashboard import alerts
from tests.faults import books
from tests.faults.world import DAEMONS, ETH, UNITS, World, until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
audit = pytest.mark.audit

CALLS = 60
PRICE = PRICES[ETH]


@asynccontextmanager
async def cheating(world: World, name: str) -> AsyncIterator[None]:
    """Have the gateway cheat for a while."""
    await world.stop(GATEWAY)
    await world.start(GATEWAY, cheat=name, statements={"withhold": False})
    try:
        yield
    finally:
        await world.restart(GATEWAY)


async def audited(world: World, number: int, names: set[str]) -> dict[str, str]:
    """Return what each supplier's audit of a session said; nothing where it agreed."""
    found: dict[str, str] = {}
    for name in names:

        async def done(name: str = name) -> bool:
            rows = await audits(world, name)
            if number in rows:
                found[name] = rows[number]
            return number in rows

        await world.mine_until(done, 20, f"{name} did not audit session {number}")
    return found


async def audits(world: World, name: str) -> dict[int, str]:
    """Return the notes of a supplier's ended audits by session."""
    facts = await world.facts(name)
    differing = {row["session"]: row["note"] for row in facts["disagreements"] if row["service"] == ETH}
    logged = world.log(name)
    agreed = {int(line.split('"session": ')[1].split(",")[0]) for line in logged.splitlines() if _agrees(line)}
    return dict.fromkeys(agreed, "") | differing


def _agrees(line: str) -> bool:
    return '"statement_audited"' in line and '"stage": "agrees"' in line


async def test_a_lower_quality_than_was_measured_is_told(world: World) -> None:
    """Honest sessions agree; the one that lies is told of by everyone whom it concerns."""
    await world.withhold(False)
    honest = await world.new_session()
    assert await world.load(CALLS) == CALLS
    served = set(world.users(honest))
    await world.settle(honest)
    assert await audited(world, honest, served) == dict.fromkeys(served, "")
    before = {name: (await world.facts(name))["audits"]["differs"] for name in served}
    async with cheating(world, "low-quality"):
        number = await world.new_session()
        assert await world.load(CALLS) == CALLS
        await world.settle(number)
        served = set(world.users(number))
        notes = await audited(world, number, served)
    assert all(note.startswith("quality: 0.5000 is stated, the records give 0.9") for note in notes.values()), notes
    assert all("statement_differs" in world.log(name) for name in served)
    name = next(name for name in served if name in before)
    facts = await world.facts(name)
    assert facts["audits"]["differs"] == before[name] + 1  # others of this network's sessions may have been lied about
    assert facts["audits"]["agrees"] >= 1
    assert any("otherwise than its records say" in words for _, words in alerts(facts))


@audit
async def test_the_records_of_several_workers_agree(world: World) -> None:
    """The keeper states what its workers recorded, and any worker gives all of it."""
    await world.restart(GATEWAY, workers=2, statements={"withhold": False})
    try:
        number = await world.new_session()
        assert await world.load(CALLS) == CALLS
        await world.settle(number)
        served = set(world.users(number))
        assert await audited(world, number, served) == dict.fromkeys(served, "")
    finally:
        await world.restart(GATEWAY, workers=1)


@audit
@pytest.mark.parametrize(("cheat", "word"), [("short-statement", "units"), ("hidden-records", "hidden")])
async def test_what_is_hidden_is_claimed_told_and_paid_twice(world: World, cheat: str, word: str) -> None:
    async with cheating(world, cheat):
        number = await world.new_session()
        assert await world.load(CALLS) == CALLS
        await world.settle(number)
        users = world.users(number)

        async def paid() -> bool:
            return (await books.pot(world, number)).paid.keys() >= users.keys()

        await world.mine_until(paid, 40, f"session {number} is not paid out")
        notes = await audited(world, number, set(users))
    pot = await books.pot(world, number)
    assert all(word in note for note in notes.values()), notes
    faults = sum(fault.amount for fault in pot.faults)
    assert faults > 0
    for name, units in users.items():
        assert pot.claimed[name] >= units > pot.stated[name]
        assert pot.paid[name] >= amount_down(units, PRICE) * 9 // 10
    # What was hidden comes out of the bond once more (rule 5.15).
    assert sum(pot.paid.values()) > amount_down(sum(users.values()), PRICE)


@audit
async def test_a_second_statement_is_refused(world: World) -> None:
    async with cheating(world, "two-statements"):
        number = await world.new_session()
        assert await world.load(CALLS) == CALLS
        await world.settle(number)
        pot, accepted = await books.settled(world, number)
    assert (pot.statements, pot.units) == (1, accepted)
    assert "second_statement_refused" in world.log(GATEWAY)
    assert "AlreadyStated" in world.log(GATEWAY)


@audit
async def test_receipts_of_another_session_buy_nothing(world: World) -> None:
    async with cheating(world, "reused-receipts"):
        number = await world.number() + 1
        await world.mine_to(world.start_of(number))
        assert await world.load(10) == 0
        assert all(world.alive(name) for name in DAEMONS)
        await world.settle(number)
    assert (await books.pot(world, number)).debit == 0


@audit
async def test_an_expired_grant_buys_nothing(world: World) -> None:
    await world.withhold(False)
    another = bytes.fromhex(world.operator(SUPPLIERS[0])[2:])  # so that the application is still in sessions
    async with world.acting_as(APPLICATION) as actor:
        await operations.revoke(actor, world.gateway, service_id(ETH))
        await operations.grant(actor, another, service_id(ETH), CAP)
    try:
        await world.stop(GATEWAY)
        number = await world.number() + 2
        await world.mine_to(world.start_of(number))
        await until(lambda: all_know(world), 10, "suppliers do not follow")
        starting = world.start(GATEWAY, cheat="expired-grant", timeout_s=8)
        with pytest.raises(Exception, match="gateway"):  # it never comes to be ready: nobody takes its lanes
            await starting
        assert await world.load(10) == 0
        assert "no grant for gateway" in world.log(SUPPLIERS[0])
        await world.kill(GATEWAY)
    finally:
        async with world.acting_as(APPLICATION) as actor:
            await operations.revoke(actor, another, service_id(ETH))
            await operations.grant(actor, world.gateway, service_id(ETH), CAP)
        await world.mine_to(world.start_of(await world.number() + 1))
        if not world.alive(GATEWAY):
            await world.start(GATEWAY)
    assert (await books.pot(world, number)).debit == 0


async def all_know(world: World) -> bool:
    head = await world.head()
    return all([(await world.facts(name))["block"] == head for name in SUPPLIERS])


@audit
async def test_a_cap_is_not_overspent(world: World) -> None:
    """Each supplier serves up to what escrow guarantees it, and what they served is paid."""
    relays_each = 5
    cap = len(SUPPLIERS) * relays_each * amount_down(UNITS, PRICE)
    async with world.acting_as(APPLICATION) as actor:
        await operations.grant(actor, world.gateway, service_id(ETH), cap)
    try:
        await world.mine_to(world.start_of(await world.number() + 1))
        async with cheating(world, "overspent-cap"):
            number = await world.new_session()
            answered = await world.load(CALLS)
            assert 0 < answered <= len(SUPPLIERS) * relays_each
            assert set(world.users(number).values()) <= {UNITS * relays for relays in range(relays_each + 1)}
            await world.settle(number)
            pot, _ = await books.settled(world, number)
        assert 0 < pot.debit <= cap
    finally:
        async with world.acting_as(APPLICATION) as actor:
            await operations.grant(actor, world.gateway, service_id(ETH), CAP)
        await world.mine_to(world.start_of(await world.number() + 1))
