"""How the Settlement contract's events change the book."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pocketnode.chain.events import Claimed, Collected, GatewayFaulted, SettlementEvent, Stated, Withdrawn
from pocketnode.web.book import Book


def settle(book: Book, event: SettlementEvent, transaction: bytes, key: Mapping[str, Any] | None = None) -> None:
    """Add one event.

    Parameters
    ----------
    key : `application`, `service`, `session`, `gateway` of a claim, from the call: its event has the pot's hash alone.
    """
    match event:
        case Stated():
            _stated(book, event, transaction)
        case Claimed():
            _claimed(book, event, transaction, key)
        case GatewayFaulted():
            _faulted(book, event)
        case Withdrawn():
            _withdrawn(book, event, transaction)
        case Collected():
            pot = book.pot(event.pot)
            pot.fee = event.owner_amount + event.treasury_amount
            pot.transactions["collect"] = transaction
            book.totals.fees += pot.fee


def _stated(book: Book, event: Stated, transaction: bytes) -> None:
    pot = book.pot(event.pot, event.gateway)
    pot.gateway, pot.application, pot.service, pot.session = (
        event.gateway,
        event.application,
        event.service,
        event.session,
    )
    pot.stated, pot.relays_root, pot.taken, pot.block = True, event.relays_root, event.taken, event.block
    pot.transactions["statement"] = transaction
    gateway = book.gateway(event.gateway)
    gateway.statements += 1
    for line in event.entries:
        rank = pot.rank(line.rank)
        rank.index, rank.units, rank.amount, rank.quality = line.index, line.units, line.amount, line.quality
        rank.registration = book.holder(event.service, line.index, event.session)
        gateway.amount += line.amount
        _served(book, rank.registration, event.service, line.units, line.amount, line.quality)


def _claimed(book: Book, event: Claimed, transaction: bytes, key: Mapping[str, Any] | None) -> None:
    pot = book.pot(event.pot)
    if not pot.application and key is not None:
        pot.application, pot.service, pot.session = key["application"], key["service"], key["session"]
        pot.gateway = key["gateway"]
    rank = pot.rank(event.rank)
    fresh = rank.claimed is None and not rank.units
    more_units = event.units - max(rank.units, rank.claimed_units)
    more = event.amount - rank.demand
    rank.registration, rank.claimed, rank.claimed_units = event.registration, event.amount, event.units
    pot.taken = max(pot.taken, event.taken)
    pot.block = pot.block or event.block
    pot.transactions[f"claim {event.rank}"] = transaction
    _served(book, event.registration, pot.service, more_units, more, None, sessions=int(fresh))


def _faulted(book: Book, event: GatewayFaulted) -> None:
    pot = book.pot(event.pot, event.gateway)
    line = book.suppliers.get(event.registration)
    if line is not None:
        line.compensated += event.amount
    for rank in pot.ranks.values():
        if rank.registration == event.registration:
            rank.compensation += event.amount


def _withdrawn(book: Book, event: Withdrawn, transaction: bytes) -> None:
    rank = book.pot(event.pot).rank(event.rank)
    rank.registration, rank.paid, rank.paid_transaction = event.registration, event.amount, transaction
    book.totals.paid += event.amount
    if (line := book.suppliers.get(event.registration)) is not None:
        line.paid += event.amount


def _served(
    book: Book, registration: int, service: bytes, units: int, amount: int, quality: int | None, sessions: int = 1
) -> None:
    if (line := book.suppliers.get(registration)) is not None:
        line.sessions, line.units, line.amount = line.sessions + sessions, line.units + units, line.amount + amount
        line.quality = quality if quality is not None else line.quality
    if (sold := book.services.get(service)) is not None:
        sold.units, sold.amount = sold.units + units, sold.amount + amount
