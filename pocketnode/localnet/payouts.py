"""Who was paid what for each session, read from the chain's logs alone, and whether it adds up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.events import (
    Claimed,
    Collected,
    GatewayFaulted,
    SettlementEvent,
    Stated,
    Withdrawn,
    read_logs,
    typed,
)
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.localnet.configs import PRICES
from pocketnode.localnet.plan import APPLICATION, CHAIN, GATEWAY, SUPPLIERS, Plan
from pocketnode.localnet.state import Layout
from pocketnode.protocol.session import pot_id, service_id, session_id
from pocketnode.protocol.types import Session


@dataclass(frozen=True, slots=True)
class SupplierPay:
    """One supplier's part of a session.

    Parameters
    ----------
    quality : 0 to 1 as stated; None where the gateway did not state.
    price : base units per million units.
    amount : what the units cost, base units.
    pay : what it was paid, base units, compensation left out.
    compensation : what the gateway's bond paid besides (rule 5.15).
    claimed : whether it claimed with its receipts.
    """

    supplier: str
    registration: int
    units: int
    quality: float | None
    price: int
    amount: int
    pay: int
    compensation: int
    claimed: bool
    paid_block: int


@dataclass(frozen=True, slots=True)
class SessionPay:
    """A session of one service in which everyone has been paid. `debit` is what it took from escrow, base units."""

    session: int
    service: str
    stated: bool
    debit: int
    fee: int
    collected: bool
    balanced: bool
    suppliers: list[SupplierPay]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Pot:
    """Everything that was logged of one pot."""

    stated: Stated | None = None
    claims: dict[int, Claimed] = field(default_factory=dict)
    paid: dict[int, Withdrawn] = field(default_factory=dict)
    faults: dict[int, GatewayFaulted] = field(default_factory=dict)
    collected: Collected | None = None
    debit: int = 0

    def add(self, event: SettlementEvent) -> None:
        match event:
            case Stated():
                self.stated = event
                self.debit += event.taken
            case Claimed():
                self.claims[event.rank] = event
                self.debit += event.taken
            case Withdrawn():
                self.paid[event.rank] = event
            case GatewayFaulted():
                self.faults[event.registration] = event
            case Collected():
                self.collected = event

    @property
    def owed_ranks(self) -> set[int]:
        return {entry.rank for entry in self.stated.entries} | set(self.claims) if self.stated else set(self.claims)

    @property
    def settled(self) -> bool:
        return bool(self.owed_ranks) and self.owed_ranks <= set(self.paid)


class Payouts:
    """Reads one network's settled sessions."""

    def __init__(self, plan: Plan, reader: Reader, market: Market) -> None:
        self._reader = reader
        self._market = market
        self._application = bytes.fromhex(plan.addresses[APPLICATION][2:])
        self._gateway = bytes.fromhex(plan.addresses[GATEWAY][2:])
        self._names = {bytes.fromhex(plan.addresses[name][2:]): name for name in SUPPLIERS}

    async def settled(self) -> list[SessionPay]:
        """Return every session that is settled, the oldest first."""
        head = await self._market.heads.refresh()
        deployment = self._reader.deployment
        address = deployment.contracts.settlement
        logs = await read_logs(self._reader.rpc, address, deployment.block, head.number)
        pots = group(event for log in logs if (event := typed(log)) is not None)
        found = []
        for number in range(self._market.number_now() + 1):
            for service in PRICES:
                session = session_id(self._application, service_id(service), number)
                pot = pots.get(pot_id(session, self._gateway))
                if pot is not None and pot.settled:
                    found.append(await self._session_pay(number, service, pot))
        return found

    async def _session_pay(self, number: int, service: str, pot: _Pot) -> SessionPay:
        session = await self._market.session(self._application, service_id(service), number)
        suppliers = [self._supplier_pay(session, rank, pot) for rank in sorted(pot.owed_ranks)]
        fee = await self._fee(number, service, pot)
        pay = sum(supplier.pay for supplier in suppliers)
        return SessionPay(
            session=number,
            service=service,
            stated=pot.stated is not None,
            debit=pot.debit,
            fee=fee,
            collected=pot.collected is not None,
            balanced=pay + fee == pot.debit,
            suppliers=suppliers,
        )

    def _supplier_pay(self, session: Session, rank: int, pot: _Pot) -> SupplierPay:
        entries = {entry.rank: entry for entry in pot.stated.entries} if pot.stated else {}
        entry, claim, paid = entries.get(rank), pot.claims.get(rank), pot.paid[rank]
        fault = pot.faults.get(paid.registration)
        compensation = fault.amount if fault else 0
        supplier = session.suppliers[rank]
        return SupplierPay(
            supplier=self._names.get(supplier.operator, f"0x{supplier.operator.hex()}"),
            registration=paid.registration,
            units=max(entry.units if entry else 0, claim.units if claim else 0),
            quality=entry.quality / 10_000 if entry else None,
            price=supplier.price,
            amount=max(entry.amount if entry else 0, claim.amount if claim else 0),
            pay=paid.amount - compensation,
            compensation=compensation,
            claimed=claim is not None,
            paid_block=paid.block,
        )

    async def _fee(self, number: int, service: str, pot: _Pot) -> int:
        """Return what was collected; before that, what the contract says will be."""
        if pot.collected is not None:
            return pot.collected.owner_amount + pot.collected.treasury_amount
        key = (self._application, service_id(service), number, self._gateway)
        priced = pot.stated.priced if pot.stated else b""
        _, fee = await self._reader.call("Settlement", "payOf", (key, priced))
        return int(fee)


def group(events: Iterable[SettlementEvent]) -> dict[bytes, _Pot]:
    """Return the events of each pot, in one place."""
    pots: dict[bytes, _Pot] = defaultdict(_Pot)
    for event in events:
        if isinstance(event, Stated | Claimed | Withdrawn | GatewayFaulted | Collected):
            pots[event.pot].add(event)
    return dict(pots)


def table(sessions: Sequence[SessionPay]) -> list[dict[str, Any]]:
    """Return one row for each supplier and one for each sum, for people to read."""
    rows: list[dict[str, Any]] = []
    for session in sessions:
        rows.extend(_supplier_row(session, supplier) for supplier in session.suppliers)
        balance = "= pay + fee" if session.balanced else "DOES NOT BALANCE"
        rows.append(_row(session, "fee", pay=session.fee))
        rows.append(_row(session, "application's debit", pay=session.debit, share=balance))
    return rows


def _supplier_row(session: SessionPay, supplier: SupplierPay) -> dict[str, Any]:
    who = supplier.supplier + (" (claimed)" if supplier.claimed else "")
    quality = f"{supplier.quality:.4f}" if supplier.quality is not None else "-"
    return _row(session, who, f"{supplier.units:,}", quality, supplier.pay, f"{supplier.pay / supplier.amount:.4f}")


def _row(
    session: SessionPay, who: str, units: str = "", quality: str = "", pay: int = 0, share: str = ""
) -> dict[str, Any]:
    head = {"session": str(session.session), "service": session.service, "who": who}
    return {**head, "units": units, "quality": quality, "pay": pay, "of its amount": share}


@asynccontextmanager
async def opened(layout: Layout, plan: Plan) -> AsyncIterator[Payouts]:
    """Give a reader of the network in this folder."""
    deployment = deployments.read(layout.deployment)
    async with Rpc([plan.url(CHAIN)]) as rpc:
        reader = Reader(rpc, deployment)
        yield Payouts(plan, reader, Market(reader, Heads(rpc)))
