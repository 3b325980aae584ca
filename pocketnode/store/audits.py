"""What a supplier found when it recomputed its gateways' statements."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Engine, LargeBinary, String, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pocketnode.store.engine import transaction
from pocketnode.store.tables import Uint, metadata

NOTE_MOST: Final = 500


class AuditStage(StrEnum):
    """Where the audit of a pot stands. All but the first are final."""

    WAITING = "waiting"  # for the statement, or for the gateway to give its records
    AGREES = "agrees"
    DIFFERS = "differs"
    UNKNOWN = "unknown"  # the records could not be had
    NOTHING = "nothing"  # was stated of this session


audits = Table(
    "audits",
    metadata,
    Column("party", LargeBinary(20), primary_key=True),
    Column("pot", LargeBinary(32), primary_key=True),
    Column("application", LargeBinary(20), nullable=False),
    Column("service", LargeBinary(32), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("gateway", LargeBinary(20), nullable=False),
    Column("url", String(300), nullable=False),
    Column("served", Uint(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("relays", BigInteger, nullable=False),
    Column("stated_units", Uint(16), nullable=False),
    Column("units", Uint(16), nullable=False),
    Column("stated_quality", BigInteger, nullable=False),
    Column("quality", BigInteger, nullable=False),
    Column("note", String(NOTE_MOST), nullable=False),
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One pot of one supplier.

    Parameters
    ----------
    url : where the gateway gives its records; empty where it said nothing.
    served : units that the supplier answered for, as far as it knows.
    relays : records of all suppliers of the session.
    stated_units, stated_quality : what the statement says; `units` and `quality` what its records give.
    note : what differs, or why it is unknown.
    """

    pot: bytes
    application: bytes
    service: bytes
    number: int
    gateway: bytes
    url: str = ""
    served: int = 0
    stage: AuditStage = AuditStage.WAITING
    relays: int = 0
    stated_units: int = 0
    units: int = 0
    stated_quality: int = 0
    quality: int = 0
    note: str = ""


class AuditStore:
    """The audits of one supplier. Synchronous: call it from a thread."""

    def __init__(self, engine: Engine, party: bytes) -> None:
        self._engine = engine
        self._party = party
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def note(self, row: AuditRow) -> None:
        """Note a pot, or the newer address of its gateway and more units served; what was found stays."""
        values = {name: getattr(row, name) for name in AuditRow.__slots__}
        query = self._insert(audits).values(party=self._party, **values).on_conflict_do_nothing()
        mine = audits.c.party == self._party, audits.c.pot == row.pot
        with transaction(self._engine) as tx:
            tx.execute(query)
            if row.url:
                tx.execute(update(audits).where(*mine).values(url=row.url))
            tx.execute(update(audits).where(*mine, audits.c.served < row.served).values(served=row.served))

    def get(self, pot: bytes) -> AuditRow | None:
        """Return the audit of a pot, or None."""
        with transaction(self._engine) as tx:
            found = tx.execute(select(audits).where(audits.c.party == self._party, audits.c.pot == pot)).one_or_none()
        return None if found is None else _row(found)

    def finish(self, pot: bytes, stage: AuditStage, **values: Any) -> None:
        """Note what was found."""
        values["note"] = str(values.get("note", ""))[:NOTE_MOST]
        with transaction(self._engine) as tx:
            tx.execute(
                update(audits).where(audits.c.party == self._party, audits.c.pot == pot).values(stage=stage, **values)
            )

    def all(self, stages: Collection[AuditStage] | None = None) -> list[AuditRow]:
        """Return the audits in these stages (all by default), the oldest session first."""
        query = select(audits).where(audits.c.party == self._party)
        if stages is not None:
            query = query.where(audits.c.stage.in_(stages))
        with transaction(self._engine) as tx:
            return [_row(row) for row in tx.execute(query.order_by(audits.c.number, audits.c.pot))]

    def prune(self, before: int) -> None:
        """Forget sessions before number `before`."""
        with transaction(self._engine) as tx:
            tx.execute(delete(audits).where(audits.c.party == self._party, audits.c.number < before))


def _row(row: Any) -> AuditRow:
    values = {name: getattr(row, name) for name in AuditRow.__slots__}
    return AuditRow(**{**values, "stage": AuditStage(row.stage)})
