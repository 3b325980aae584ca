"""What each pot of a gateway or supplier waits for: the answer to "where is the money of session 17?"."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Engine, Index, LargeBinary, String, Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pocketnode.protocol.session import pot_id
from pocketnode.store.engine import transaction
from pocketnode.store.tables import Uint, metadata


class PotStage(StrEnum):
    """Where a pot stands, for the party that keeps it. Those in `FINISHED` need nothing more."""

    OPEN = "open"  # relays may still come; a gateway will state it, a supplier compares
    STATED = "stated"  # the statement is final (gateway), or is all that was earned (supplier)
    CLAIMED = "claimed"  # the supplier's own claim is final
    PAYABLE = "payable"  # the claim window is over, nothing can change any more
    PAID = "paid"  # withdrawn (supplier) or collected (gateway), and final
    EMPTY = "empty"  # nothing was earned, or no statement was to be made
    MISSED = "missed"  # its window closed before the transaction was mined


FINISHED: Final = (PotStage.PAID, PotStage.EMPTY, PotStage.MISSED)

pots = Table(
    "pots",
    metadata,
    Column("party", LargeBinary(20), primary_key=True),
    Column("pot", LargeBinary(32), primary_key=True),
    Column("application", LargeBinary(20), nullable=False),
    Column("service", LargeBinary(32), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("session", LargeBinary(32), nullable=False),
    Column("gateway", LargeBinary(20), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("earned", Uint(12), nullable=False),
    Column("stated", Uint(12), nullable=False),
    Column("claimed", Uint(12), nullable=False),
    Column("paid", Uint(12), nullable=False),
    Column("note", String(500), nullable=False),
    Column("registration", BigInteger, nullable=False, server_default="0"),
    Column("rank", BigInteger, nullable=False, server_default="0"),
    Index("ix_pots_party_stage", "party", "stage"),
)


@dataclass(frozen=True, slots=True)
class Pot:
    """One pot as its party knows it. Amounts are base units.

    Parameters
    ----------
    until : the block that it waits for; 0 for none.
    earned : what own receipts (supplier) or records (gateway) are worth.
    stated, claimed, paid : what is on chain, for this party.
    note : for people.
    registration, rank : the supplier's, once it compared; 0 for a gateway and before.
    """

    application: bytes
    service: bytes
    number: int
    session: bytes
    gateway: bytes
    stage: PotStage = PotStage.OPEN
    until: int = 0
    earned: int = 0
    stated: int = 0
    claimed: int = 0
    paid: int = 0
    note: str = ""
    registration: int = 0
    rank: int = 0

    @property
    def id(self) -> bytes:
        """The 32-byte pot id (rule 5.1)."""
        return pot_id(self.session, self.gateway)


class PotStore:
    """The pots of one party: a gateway's or a supplier's address."""

    def __init__(self, engine: Engine, party: bytes) -> None:
        self._engine = engine
        self._party = party
        insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._insert = insert(pots).on_conflict_do_nothing()

    def open(self, pot: Pot) -> None:
        """Note a pot; one that is known already stays as it is."""
        with transaction(self._engine) as tx:
            tx.execute(self._insert.values(party=self._party, pot=pot.id, **_values(pot)))

    def change(self, pot: bytes, **values: Any) -> None:
        """Set fields of a pot."""
        with transaction(self._engine) as tx:
            tx.execute(update(pots).where(pots.c.party == self._party, pots.c.pot == pot).values(**values))

    def get(self, pot: bytes) -> Pot | None:
        """Return a pot, or None if it is unknown."""
        with transaction(self._engine) as tx:
            row = tx.execute(select(pots).where(pots.c.party == self._party, pots.c.pot == pot)).one_or_none()
        return None if row is None else _pot(row)

    def all(self, stages: Collection[PotStage] | None = None) -> list[Pot]:
        """Return the pots in these stages (all by default), the oldest session first."""
        query = select(pots).where(pots.c.party == self._party)
        if stages is not None:
            query = query.where(pots.c.stage.in_(stages))
        with transaction(self._engine) as tx:
            return [_pot(row) for row in tx.execute(query.order_by(pots.c.number, pots.c.pot))]

    def unfinished(self) -> list[Pot]:
        """Return the pots that still wait for something."""
        return self.all([stage for stage in PotStage if stage not in FINISHED])

    def oldest(self) -> int | None:
        """Return the oldest session that any party of this store keeps a pot of: they read the same events."""
        with transaction(self._engine) as tx:
            found: int | None = tx.execute(select(func.min(pots.c.number))).scalar_one()
        return found

    def prune(self, before: int, stages: Collection[PotStage] = FINISHED) -> list[Pot]:
        """Forget pots in these stages of sessions before number `before`; return them."""
        old = [pot for pot in self.all(stages) if pot.number < before]
        with transaction(self._engine) as tx:
            for pot in old:
                tx.execute(delete(pots).where(pots.c.party == self._party, pots.c.pot == pot.id))
        return old


class ManyPots:
    """The pots of several parties, to look at. `stores` may grow."""

    def __init__(self, stores: Mapping[bytes, PotStore]) -> None:
        self._stores = stores

    def all(self) -> list[Pot]:
        """Return the pots of all of them."""
        return [pot for store in list(self._stores.values()) for pot in store.all()]


def _values(pot: Pot) -> dict[str, Any]:
    return {name: getattr(pot, name) for name in Pot.__slots__}


def _pot(row: Any) -> Pot:
    values = {name: getattr(row, name) for name in Pot.__slots__}
    return Pot(**{**values, "stage": PotStage(row.stage)})
