"""Keeps of each lane the one Receipt that proves most: all that a supplier needs to be paid (rule 5.7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Engine, Index, LargeBinary, Row, Table, and_, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from pocketnode.protocol.session import pot_id
from pocketnode.protocol.types import Receipt, Response, SignedReceipt, SignedResponse
from pocketnode.store.engine import transaction
from pocketnode.store.tables import Uint, metadata

receipts = Table(
    "receipts",
    metadata,
    Column("pot", LargeBinary(32), primary_key=True),
    Column("supplier", LargeBinary(20), primary_key=True),
    Column("lane", LargeBinary(32), primary_key=True),
    Column("session", LargeBinary(32), nullable=False),
    Column("gateway", LargeBinary(20), nullable=False),
    Column("application", LargeBinary(20), nullable=False),
    Column("service", LargeBinary(32), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("seq", Uint(8), nullable=False),
    Column("total", Uint(16), nullable=False),
    Column("hold", Uint(16), nullable=False),
    Column("request", LargeBinary(32), nullable=False),
    Column("signature", LargeBinary(65), nullable=False),
    Column("worth", Uint(17), nullable=False),
    Column("answered", LargeBinary(32)),
    Column("payload", LargeBinary(32)),
    Column("units", Uint(16)),
    Column("first_byte_ms", BigInteger),
    Column("done_ms", BigInteger),
    Column("backend", LargeBinary(32)),
    Column("response_signature", LargeBinary(65)),
    Index("ix_receipts_session_gateway", "session", "gateway"),
)


@dataclass(frozen=True, slots=True)
class PotKey:
    """What one gateway owes one supplier for one session.

    Parameters
    ----------
    application, gateway, supplier : 20 bytes; `supplier` is the operator's address.
    service : 32 bytes.
    number : the session's.
    session : 32 bytes, rule 1.5.
    """

    application: bytes
    service: bytes
    number: int
    session: bytes
    gateway: bytes
    supplier: bytes

    @property
    def pot(self) -> bytes:
        """The 32-byte pot id (rule 5.1)."""
        return pot_id(self.session, self.gateway)


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A Receipt with the facts of its lane, and our own Response to it once there is one."""

    application: bytes
    service: bytes
    number: int
    gateway: bytes
    receipt: SignedReceipt
    response: SignedResponse | None = None

    @property
    def units(self) -> int:
        """Units that this proves: what is acknowledged, and what was answered up to the hold (rule 5.7)."""
        receipt = self.receipt.receipt
        answered = min(receipt.hold, self.response.response.units) if self.response else 0
        return receipt.total + answered


class ReceiptStore:
    """Receipts by pot, supplier and lane. Synchronous: call it in batches, from a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        new = insert(receipts)
        changed = {c.name: new.excluded[c.name] for c in receipts.columns if not c.primary_key}
        self._upsert = new.on_conflict_do_update(
            index_elements=["pot", "supplier", "lane"], set_=changed, where=_beats(new)
        )

    def keep(self, newest: Iterable[KeptReceipt]) -> None:
        """Keep of each lane the Receipt that proves most; one that proves less, or an older one, changes nothing.

        With several relays in flight the newest Receipt can prove less than an older one that was answered: the
        older one stays until the newer is answered too, or acknowledges it.
        """
        rows = [_row(kept) for kept in newest]
        if rows:
            with transaction(self._engine) as tx:
                tx.execute(self._upsert, rows)

    def respond(self, answered: Iterable[KeptReceipt]) -> None:
        """Keep our Responses with the Receipts that they answer: `keep`, for receipts whose `response` is set."""
        self.keep(answered)

    def lanes(self, session: bytes, gateway: bytes, supplier: bytes | None = None) -> list[KeptReceipt]:
        """Return what is kept for a pot, lane ids ascending; only of one operator if `supplier` names it."""
        query = select(receipts).where(receipts.c.session == session, receipts.c.gateway == gateway)
        if supplier is not None:
            query = query.where(receipts.c.supplier == supplier)
        with transaction(self._engine) as tx:
            return [_kept(row) for row in tx.execute(query.order_by(receipts.c.lane))]

    def pots(self) -> list[PotKey]:
        """Return all that receipts are kept for, oldest session first: nothing is dropped before it is settled."""
        c = receipts.c
        query = select(c.application, c.service, c.number, c.session, c.gateway, c.supplier).distinct()
        with transaction(self._engine) as tx:
            return [PotKey(*row) for row in tx.execute(query.order_by(c.number, c.session, c.gateway, c.supplier))]

    def drop(self, key: PotKey) -> None:
        """Forget a pot, once its money is final or it owes nothing."""
        pot_of_supplier = and_(receipts.c.pot == key.pot, receipts.c.supplier == key.supplier)
        with transaction(self._engine) as tx:
            tx.execute(delete(receipts).where(pot_of_supplier))


def _beats(new: Any) -> Any:
    """Return the condition under which `new.excluded` replaces what is kept."""
    old, seq, hold = receipts.c, new.excluded.seq, new.excluded.hold
    newer = or_(seq > old.seq, and_(seq == old.seq, hold > old.hold))
    return or_(new.excluded.worth > old.worth, and_(new.excluded.worth == old.worth, newer))


def _row(kept: KeptReceipt) -> dict[str, Any]:
    receipt, answer = kept.receipt.receipt, kept.response.response if kept.response else None
    return {
        "pot": pot_id(receipt.session, kept.gateway),
        "supplier": receipt.supplier,
        "lane": receipt.lane,
        "session": receipt.session,
        "gateway": kept.gateway,
        "application": kept.application,
        "service": kept.service,
        "number": kept.number,
        "seq": receipt.seq,
        "total": receipt.total,
        "hold": receipt.hold,
        "request": receipt.request,
        "signature": kept.receipt.signature,
        "worth": kept.units,
        "answered": answer.receipt if answer else None,
        "payload": answer.payload if answer else None,
        "units": answer.units if answer else None,
        "first_byte_ms": answer.first_byte_ms if answer else None,
        "done_ms": answer.done_ms if answer else None,
        "backend": answer.backend if answer else None,
        "response_signature": kept.response.signature if kept.response else None,
    }


def _kept(row: Row[Any]) -> KeptReceipt:
    receipt = Receipt(row.session, row.supplier, row.lane, row.seq, row.total, row.hold, row.request)
    answer: SignedResponse | None = None
    if row.answered is not None:
        response = Response(row.answered, row.payload, row.units, row.first_byte_ms, row.done_ms, row.backend)
        answer = SignedResponse(response, row.response_signature)
    signed = SignedReceipt(receipt, row.signature)
    return KeptReceipt(row.application, row.service, row.number, row.gateway, signed, answer)
