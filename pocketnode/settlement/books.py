"""The books of a settled session, read from the chain alone: who did what, how well, who got what, does it balance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pocketnode.chain.calls import calls_in
from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import Log, contract
from pocketnode.chain.events import (
    Claimed,
    Collected,
    GatewayFaulted,
    Priced,
    SettlementEvent,
    Stated,
    SupplierFaulted,
    Withdrawn,
    read_logs,
    typed,
)
from pocketnode.chain.market import Market
from pocketnode.chain.reader import hex_bytes
from pocketnode.errors import NotFound
from pocketnode.protocol.digest import receipt_digest
from pocketnode.protocol.session import payable_from, pot_id, session_id
from pocketnode.protocol.statement import Demand, Payout, divide
from pocketnode.protocol.types import Receipt


@dataclass(frozen=True, slots=True)
class BookLine:
    """One supplier of a pot. Amounts are base units; `quality` is 1/10,000, 0 where no statement names it.

    Parameters
    ----------
    pay : what it gets for its work; `compensation` comes from the gateway's bond besides.
    withdrawn : what was sent to its payout addresses; None while it has not been.
    slashed : of its bond, for two answers to one Receipt of this session (rule 5.16).
    """

    rank: int
    registration: int
    operator: bytes
    units: int
    quality: int
    stated: int
    claimed: int
    pay: int
    compensation: int
    withdrawn: int | None
    slashed: int = 0

    @property
    def owed(self) -> int:
        """What it is owed for its work before the fee: the greater of statement and claim (rule 5.8)."""
        return max(self.stated, self.claimed)


@dataclass(frozen=True, slots=True)
class Book:
    """One pot: `final` from block `payable_from` on: nothing changes any more; `collected` once its fee was paid."""

    pot: bytes
    application: bytes
    service: bytes
    number: int
    gateway: bytes
    final: bool
    payable_from: int
    stated: bool
    debit: int
    fee: int
    collected: int | None
    lines: tuple[BookLine, ...]
    agrees: bool

    @property
    def balances(self) -> bool:
        """Whether pay and fee sum to the debit exactly, what was sent is what was owed, and Python pays the same."""
        sent = all(line.withdrawn in (None, line.pay + line.compensation) for line in self.lines)
        collected = self.collected in (None, self.fee)
        return self.agrees and sent and collected and sum(line.pay for line in self.lines) + self.fee == self.debit


@dataclass(frozen=True, slots=True)
class PotFacts:
    """All events of one pot, and what its id is the hash of."""

    application: bytes
    service: bytes
    number: int
    gateway: bytes
    stated: Stated | None
    claims: tuple[Claimed, ...]
    faults: tuple[GatewayFaulted, ...]
    withdrawals: tuple[Withdrawn, ...]
    collected: Collected | None
    slashes: tuple[SupplierFaulted, ...] = ()

    @property
    def key(self) -> tuple[bytes, bytes, int, bytes]:
        """The pot as the contract names it."""
        return self.application, self.service, self.number, self.gateway

    @property
    def priced(self) -> bytes:
        """The priced entries of its statement; empty without one."""
        return self.stated.priced if self.stated else b""

    @property
    def session(self) -> bytes:
        """The session's id (rule 1.5)."""
        return session_id(self.application, self.service, self.number)

    @property
    def id(self) -> bytes:
        """The pot's id (rule 5.1)."""
        return pot_id(self.session, self.gateway)


async def pots_on_chain(market: Market, since: int | None = None) -> list[PotFacts]:
    """Return every pot that anything happened to since a block (the deployment's by default), oldest session first.

    Raises
    ------
    Unavailable
        no node answers.
    """
    deployment = market.deployment
    first = deployment.block if since is None else since
    logs = await read_logs(market.reader.rpc, deployment.contracts.settlement, first, market.head)
    by_pot: dict[bytes, list[SettlementEvent]] = {}
    origins: dict[bytes, Log] = {}
    reports: list[tuple[SupplierFaulted, Log]] = []
    for log in logs:
        event = typed(log)
        if isinstance(event, SupplierFaulted):
            reports.append((event, log))
        if event is None or isinstance(event, SupplierFaulted):
            continue
        by_pot.setdefault(event.pot, []).append(event)
        if isinstance(event, Stated | Claimed):
            origins.setdefault(event.pot, log)
    found = [await _facts(market.reader.rpc, origins[pot], by_pot[pot]) for pot in by_pot if pot in origins]
    if reports:
        slashes = await _slashes(market, reports)
        found = [None if f is None else replace(f, slashes=tuple(slashes.get(f.session, ()))) for f in found]
    return sorted((facts for facts in found if facts is not None), key=lambda facts: (facts.number, facts.id))


async def _slashes(
    market: Market, reports: Iterable[tuple[SupplierFaulted, Log]]
) -> dict[bytes, list[SupplierFaulted]]:
    """Return the slashes by the session that their reports name; those by way of untraceable contracts are left out."""
    found: dict[bytes, list[SupplierFaulted]] = {}
    function, target = contract("Settlement").functions["reportEquivocation"], market.deployment.contracts.settlement
    for event, log in reports:
        for call in await calls_in(market.reader.rpc, log.transaction, target, function):
            receipt = Receipt(*call[3])
            if receipt_digest(market.deployment.domain, receipt) == event.receipt:
                found.setdefault(receipt.session, []).append(event)
    return found


async def book_of(market: Market, facts: PotFacts) -> Book:
    """Return the book of a pot: a line for each supplier that a statement or a claim names, by rank.

    Nothing in it needs the session's seed, which is not known for ever.

    Raises
    ------
    Unavailable
        no node answers.
    """
    pays, fee = await market.reader.call("Settlement", "payOf", (facts.key, facts.priced))
    (pot,) = await market.reader.call("Settlement", "potOf", facts.id)
    _, debit, *_ = pot
    entries = {entry.rank: entry for entry in facts.stated.entries} if facts.stated else {}
    claims = {claim.rank: claim for claim in facts.claims}
    ranks = sorted({*entries, *claims})
    lines = tuple([await _line(market, facts, rank, entries.get(rank), claims.get(rank), pays[rank]) for rank in ranks])
    params = await market.params(facts.number)
    ours = divide([_demand(line) for line in lines], debit, len(pays), params)
    collected = facts.collected.owner_amount + facts.collected.treasury_amount if facts.collected else None
    return Book(
        pot=facts.id,
        application=facts.application,
        service=facts.service,
        number=facts.number,
        gateway=facts.gateway,
        final=market.head >= payable_from(facts.number, params),
        payable_from=payable_from(facts.number, params),
        stated=facts.stated is not None,
        debit=debit,
        fee=fee,
        collected=collected,
        lines=lines,
        agrees=ours == Payout(tuple(line.pay for line in lines), fee, debit),
    )


async def _line(
    market: Market, facts: PotFacts, rank: int, entry: Priced | None, claim: Claimed | None, pay: int
) -> BookLine:
    index = entry.index if entry else await _claimed_index(market, facts, rank)
    (supplier,) = await market.reader.call("Registry", "supplierAt", facts.service, facts.number, index)
    _, registration, operator, *_ = supplier
    return BookLine(
        rank=rank,
        registration=registration,
        operator=operator,
        units=max(entry.units if entry else 0, claim.units if claim else 0),
        quality=entry.quality if entry else 0,
        stated=entry.amount if entry else 0,
        claimed=claim.amount if claim else 0,
        pay=pay,
        compensation=sum(fault.amount for fault in facts.faults if fault.registration == registration),
        withdrawn=next((w.amount for w in facts.withdrawals if w.rank == rank), None),
        slashed=sum(slash.amount for slash in facts.slashes if slash.registration == registration),
    )


async def _claimed_index(market: Market, facts: PotFacts, rank: int) -> int:
    (claim,) = await market.reader.call("Settlement", "claimOf", facts.id, rank)
    _, _, index, _ = claim
    return int(index)


def _demand(line: BookLine) -> Demand:
    return Demand(line.stated, line.quality, max(0, line.claimed - line.stated))


async def books(market: Market, since: int | None = None) -> list[Book]:
    """Return the books of all pots on chain, the oldest session first."""
    return [await book_of(market, facts) for facts in await pots_on_chain(market, since)]


async def _facts(rpc: Rpc, origin: Log, happened: Iterable[SettlementEvent]) -> PotFacts | None:
    key = await _key_of(rpc, origin)
    if key is None:
        return None
    all_events = list(happened)
    return PotFacts(
        *key,
        next((e for e in all_events if isinstance(e, Stated)), None),
        tuple(e for e in all_events if isinstance(e, Claimed)),
        tuple(e for e in all_events if isinstance(e, GatewayFaulted)),
        tuple(e for e in all_events if isinstance(e, Withdrawn)),
        next((e for e in all_events if isinstance(e, Collected)), None),
    )


async def _key_of(rpc: Rpc, origin: Log) -> tuple[bytes, bytes, int, bytes] | None:
    """Return application, service, number and gateway of a pot: from its statement, or from the claim's call data."""
    event = typed(origin)
    if isinstance(event, Stated):
        return event.application, event.service, event.session, event.gateway
    transaction = await rpc.ask("eth_getTransactionByHash", "0x" + origin.transaction.hex())
    if transaction is None:
        raise NotFound(f"the chain node does not know transaction 0x{origin.transaction.hex()}")
    claim = contract("Settlement").functions["claim"]
    data = hex_bytes(transaction["input"])
    if data[:4] != claim.selector:
        return None  # claimed through another contract: its arguments are not ours to guess
    application, service, number, gateway = claim.arguments(data)[0]
    return application, service, number, gateway
