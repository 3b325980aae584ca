"""The book as JSON values: amounts in base units as decimal strings, since they may exceed what a browser counts to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pocketnode.crypto.keys import checksum
from pocketnode.web.book import (
    ApplicationLine,
    Book,
    GatewayLine,
    PotLine,
    PotRank,
    ServiceLine,
    SupplierLine,
    name_of,
)


def totals(book: Book) -> dict[str, Any]:
    """Return sums over the whole deployment."""
    return {
        "taken": str(book.totals.taken),
        "paid": str(book.totals.paid),
        "fees": str(book.totals.fees),
        "escrow": str(sum(line.balance for line in book.applications.values())),
        "bonds": str(sum(line.bond for line in book.suppliers.values())),
        "pots": book.totals.pots,
        "units": sum(line.units for line in book.services.values()),
        "suppliers": len(book.suppliers),
        "applications": len(book.applications),
        "gateways": len(book.gateways),
        "services": len(book.services),
    }


def services(book: Book) -> list[dict[str, Any]]:
    """Return every service, the one that sold most first."""
    return [_service(line) for line in sorted(book.services.values(), key=lambda line: -line.amount)]


def suppliers(book: Book) -> list[dict[str, Any]]:
    """Return every registration, the one that was paid most first."""
    return [supplier(line) for line in sorted(book.suppliers.values(), key=lambda line: (-line.paid, line.id))]


def applications(book: Book) -> list[dict[str, Any]]:
    """Return every application, the one that spent most first."""
    return [_application(line) for line in sorted(book.applications.values(), key=lambda line: -line.spent)]


def gateways(book: Book) -> list[dict[str, Any]]:
    """Return every gateway, the one that stated most first."""
    return [_gateway(line) for line in sorted(book.gateways.values(), key=lambda line: -line.amount)]


def supplier(line: SupplierLine) -> dict[str, Any]:
    """Return one registration."""
    return {
        "registration": line.id,
        "service": name_of(line.service),
        "operator": checksum(line.operator),
        "owner": checksum(line.owner),
        "price": str(line.price),
        "listed": line.listed,
        "bond": str(line.bond),
        "thawing": str(line.thawing),
        "slashed": str(line.slashed),
        "sessions": line.sessions,
        "units": line.units,
        "amount": str(line.amount),
        "paid": str(line.paid),
        "compensated": str(line.compensated),
        "quality": line.quality,
    }


def pot(
    line: PotLine, book: Book, expected: Mapping[int, int] | None, fee: int | None, payable_from: int
) -> dict[str, Any]:
    """Return one pot.

    Parameters
    ----------
    expected : what each rank gets as the logs stand; None where the parameters could not be read.
    payable_from : first block in which it can be withdrawn.
    """
    parts = [_rank(rank, book, (expected or {}).get(rank.rank)) for _, rank in sorted(line.ranks.items())]
    return {
        "pot": f"0x{line.id.hex()}",
        "application": checksum(line.application) if line.application else None,
        "gateway": checksum(line.gateway) if line.gateway else None,
        "service": name_of(line.service) if line.service else None,
        "session": line.session,
        "stated": line.stated,
        "state": _state(line, book.block, payable_from),
        "relays_root": f"0x{line.relays_root.hex()}",
        "payable_from": payable_from,
        "units": sum(part["units"] for part in parts),
        "amount": str(line.demand),
        "debit": str(line.taken),
        "pay": str(sum(int(part["pay"] or 0) for part in parts)),
        "fee": str(line.fee if line.fee is not None else fee) if fee is not None or line.fee is not None else None,
        "collected": line.fee is not None,
        "block": line.block,
        "transactions": {name: f"0x{found.hex()}" for name, found in line.transactions.items()},
        "suppliers": parts,
    }


def _state(line: PotLine, block: int, payable_from: int) -> str:
    if line.settled:
        return "paid"
    if block >= payable_from:
        return "payable"
    return "stated" if line.stated else "claimed"


def _rank(rank: PotRank, book: Book, expected: int | None) -> dict[str, Any]:
    line = book.suppliers.get(rank.registration)
    pay = rank.paid - rank.compensation if rank.paid is not None else expected
    return {
        "rank": rank.rank,
        "registration": rank.registration,
        "operator": checksum(line.operator) if line else None,
        "units": max(rank.units, rank.claimed_units),
        "amount": str(rank.demand),
        "quality": rank.quality,
        "claimed": rank.claimed is not None,
        "compensation": str(rank.compensation),
        "pay": None if pay is None else str(pay),
        "multiplier": round(pay / rank.demand, 4) if pay is not None and rank.demand else None,
        "paid": rank.paid is not None,
        "paid_transaction": f"0x{rank.paid_transaction.hex()}" if rank.paid_transaction else None,
    }


def _service(line: ServiceLine) -> dict[str, Any]:
    return {
        "id": line.name,
        "owner": checksum(line.owner),
        "kind": line.kind,
        "uri": line.uri,
        "max_price": str(line.max_price),
        "owner_share": line.owner_share,
        "registrations": line.registrations,
        "units": line.units,
        "amount": str(line.amount),
    }


def _application(line: ApplicationLine) -> dict[str, Any]:
    grants = [
        {
            "gateway": checksum(grant.gateway),
            "service": name_of(grant.service),
            "cap": str(grant.cap),
            "expiry": grant.expiry,
        }
        for grant in line.grants.values()
        if grant.cap
    ]
    return {
        "address": checksum(line.address),
        "balance": str(line.balance),
        "thawing": str(line.thawing),
        "deposited": str(line.deposited),
        "spent": str(line.spent),
        "grants": grants,
    }


def _gateway(line: GatewayLine) -> dict[str, Any]:
    return {
        "address": checksum(line.address),
        "bond": str(line.bond),
        "thawing": str(line.thawing),
        "slashed": str(line.slashed),
        "statements": line.statements,
        "amount": str(line.amount),
    }
