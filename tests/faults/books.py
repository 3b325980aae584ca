"""The books of sessions as the chain has them, beside what users got: is everyone paid, once, and for what was done?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pocketnode.chain.events import (
    Claimed,
    GatewayFaulted,
    SettlementEvent,
    Stated,
    SupplierFaulted,
    Withdrawn,
    read_logs,
    typed,
)
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.localnet.configs import PRICES
from pocketnode.localnet.plan import GATEWAY
from pocketnode.protocol.record import RECORD_BYTES, decode
from pocketnode.protocol.session import pot_id, service_id
from pocketnode.protocol.statement import amount_down
from pocketnode.protocol.types import SessionSupplier
from tests.faults.world import ETH, World

FEE = 200
WHOLE = 10_000


@dataclass
class Pot:
    """One session of one service between the gateway and its suppliers. Units and base units, by supplier's name."""

    stated: dict[str, int] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    payments: int = 0
    statements: int = 0
    debit: int = 0
    faults: list[GatewayFaulted] = field(default_factory=list)

    @property
    def units(self) -> dict[str, int]:
        """What each supplier is owed for: the greater of statement and claim (rule 5.8)."""
        names = self.stated.keys() | self.claimed.keys()
        return {name: max(self.stated.get(name, 0), self.claimed.get(name, 0)) for name in names}


async def events(world: World) -> list[SettlementEvent]:
    """Return everything that the Settlement contract told."""
    deployment = world.deployment
    head = await world.head()
    logs = await read_logs(world.rpc, deployment.contracts.settlement, deployment.block, head)
    return [event for log in logs if (event := typed(log)) is not None]


async def pot(world: World, number: int, service: str = ETH) -> Pot:
    """Return the books of one session."""
    ours = pot_id(world.session(number, service), world.gateway)
    found = [event for event in await events(world) if not isinstance(event, SupplierFaulted) and event.pot == ours]
    return book(found, await ranks(world, number, service))


async def recorded(world: World, number: int, service: str = ETH) -> dict[str, int]:
    """Return the units that the gateway accepted in a session, from the records in its files.

    They are those of users' answers, and of what the gateway asks for itself.
    """
    name = f"{pot_id(world.session(number, service), world.gateway).hex()}.records"
    raw = (Path(world.configured(GATEWAY)["records"]) / name).read_bytes()
    units: Counter[int] = Counter()
    for at in range(0, len(raw) - len(raw) % RECORD_BYTES, RECORD_BYTES):
        record = decode(raw[at : at + RECORD_BYTES])
        units[record.index] += record.units
    listed = await suppliers(world, number, service)
    return {world.name_of("0x" + s.operator.hex()): units[s.index] for s in listed if units[s.index]}


async def ranks(world: World, number: int, service: str = ETH) -> list[str]:
    """Return the names of a session's suppliers by rank."""
    return [world.name_of("0x" + s.operator.hex()) for s in await suppliers(world, number, service)]


async def suppliers(world: World, number: int, service: str = ETH) -> tuple[SessionSupplier, ...]:
    """Return the suppliers of a session by rank, as the contract lists them."""
    heads = Heads(world.rpc)
    await heads.refresh()
    market = Market(Reader(world.rpc, world.deployment), heads)
    return (await market.session(world.application, service_id(service), number)).suppliers


def book(found: Iterable[SettlementEvent], by_rank: list[str]) -> Pot:
    """Return the books that a pot's events make."""
    books = Pot()
    paid: defaultdict[str, int] = defaultdict(int)
    for event in found:
        match event:
            case Stated():
                books.statements += 1
                books.debit = event.taken  # of the pot, so far
                books.stated = {by_rank[entry.rank]: entry.units for entry in event.entries}
            case Claimed():
                books.debit = event.taken  # of the pot, so far
                books.claimed[by_rank[event.rank]] = event.units
            case Withdrawn():
                paid[by_rank[event.rank]] += event.amount
                books.payments += 1
            case GatewayFaulted():
                books.faults.append(event)
    books.paid = dict(paid)
    return books


async def settled(world: World, number: int, timeout_s: float = 40) -> tuple[Pot, dict[str, int]]:
    """Wait until all that was accepted in a session is paid; return its books, and what was accepted.

    What users got is a part of that; each was paid once; and the sums are those of the rules.
    """
    accepted = await recorded(world, number)

    async def everyone_is_paid() -> bool:
        return (await pot(world, number)).paid.keys() >= accepted.keys()

    await world.mine_until(everyone_is_paid, timeout_s, f"session {number} is not paid out to {accepted}")
    await world.pace(await world.head() + 2)
    books = await pot(world, number)
    users = world.users(number)
    assert all(units <= accepted.get(name, 0) for name, units in users.items()), (users, accepted)
    assert books.payments == len(books.paid)
    assert not books.faults
    check_pay(books)
    return books, accepted


def check_pay(pot: Pot) -> None:
    """Check the money of one pot against the rules, computed anew: who gets what (5.6 to 5.9), and the debit (5.11)."""
    price = PRICES[ETH]
    amounts = {name: amount_down(units, price) for name, units in pot.units.items()}
    assert pot.debit == sum(amounts.values()), pot
    for name, amount in amounts.items():
        most, least = 12_000, 9_000  # the multiplier of quality, 10,000 being one
        if not pot.stated:
            assert pot.paid[name] == amount * (WHOLE - FEE) // WHOLE, (name, pot)
        assert amount * (WHOLE - FEE) * least <= (pot.paid[name] + 1) * WHOLE**2, (name, pot)
        assert pot.paid[name] * WHOLE**2 <= amount * (WHOLE - FEE) * most, (name, pot)
    assert sum(pot.paid.values()) <= pot.debit * (WHOLE - FEE) // WHOLE + len(amounts), pot
