"""Who was paid what for each session, from the chain alone, and whether it adds up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.localnet.plan import CHAIN, SUPPLIERS, Plan
from pocketnode.localnet.state import Layout
from pocketnode.protocol.session import service_name
from pocketnode.settlement.books import Book, BookLine, book_of, pots_on_chain


@dataclass(frozen=True, slots=True)
class SupplierPay:
    """One supplier's part of a session.

    Parameters
    ----------
    quality : 0 to 1 as stated; None where no statement names it.
    amount : what its units cost, base units.
    pay : what it was paid, base units, compensation left out.
    compensation : what the gateway's bond paid besides (rule 5.15).
    claimed : whether it claimed with its receipts.
    """

    supplier: str
    registration: int
    units: int
    quality: float | None
    amount: int
    pay: int
    compensation: int
    claimed: bool


@dataclass(frozen=True, slots=True)
class SessionPay:
    """A session of one service in which everyone has been paid. `debit` is what it took from escrow, base units."""

    session: int
    service: str
    pot: str
    stated: bool
    debit: int
    fee: int
    balanced: bool
    suppliers: list[SupplierPay]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Payouts:
    """Reads one network's settled sessions; what was settled once is not read again."""

    def __init__(self, plan: Plan, market: Market) -> None:
        self._market = market
        self._names = {bytes.fromhex(plan.addresses[name][2:]): name for name in SUPPLIERS}
        self._settled: dict[bytes, SessionPay] = {}

    @property
    def reader(self) -> Reader:
        """What it reads the contracts with."""
        return self._market.reader

    async def settled(self) -> list[SessionPay]:
        """Return every session that is settled, the oldest first.

        Raises
        ------
        Unavailable
            the chain does not answer.
        """
        await self._market.heads.refresh()
        for facts in await pots_on_chain(self._market):
            if facts.id not in self._settled:
                book = await book_of(self._market, facts)
                if is_settled(book):
                    self._settled[book.pot] = session_pay(book, self._names)
        return sorted(self._settled.values(), key=lambda session: (session.session, session.service))


def is_settled(book: Book) -> bool:
    """Return whether nothing can change any more and all that is owed has been sent."""
    return book.final and all(line.withdrawn is not None for line in book.lines if line.pay or line.compensation)


def session_pay(book: Book, names: dict[bytes, str]) -> SessionPay:
    """Return a book with the names that suppliers have here; those that served nothing are left out."""
    suppliers = [_supplier_pay(line, names) for line in book.lines if line.units]
    service = service_name(book.service)
    return SessionPay(book.number, service, book.pot.hex(), book.stated, book.debit, book.fee, book.balances, suppliers)


def _supplier_pay(line: BookLine, names: dict[bytes, str]) -> SupplierPay:
    return SupplierPay(
        supplier=names.get(line.operator, f"0x{line.operator.hex()}"),
        registration=line.registration,
        units=line.units,
        quality=line.quality / 10_000 if line.stated else None,
        amount=max(line.stated, line.claimed),
        pay=line.pay,
        compensation=line.compensation,
        claimed=line.claimed > 0,
    )


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
    share = f"{supplier.pay / supplier.amount:.4f}" if supplier.amount else "-"
    return _row(session, who, f"{supplier.units:,}", quality, supplier.pay, share)


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
        yield Payouts(plan, Market(Reader(rpc, deployment), Heads(rpc)))
