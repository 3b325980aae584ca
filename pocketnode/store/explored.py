"""What an explorer made of a deployment's logs, and up to which block: read on from there, not from the first block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from pocketnode.store.engine import transaction
from pocketnode.store.tables import metadata

_ONLY: Final = 1

explored = Table(
    "explored",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("deployment", LargeBinary(20), nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("block_hash", LargeBinary(32), nullable=False),
)

lines = Table(
    "explored_lines",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("id", String(80), primary_key=True),
    Column("body", Text, nullable=False),
)

pots = Table(
    "explored_pots",
    metadata,
    Column("id", LargeBinary(32), primary_key=True),
    Column("session", BigInteger, nullable=False),
    Column("gateway", LargeBinary(20), nullable=False),
    Column("service", LargeBinary(32), nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_explored_pots_session", "session"),
    Index("ix_explored_pots_gateway_session", "gateway", "session"),
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The block up to which logs were read, and the contract that names the deployment."""

    deployment: bytes
    block: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class KeptLine:
    """Anything but a pot; `body` is JSON."""

    kind: str
    id: str
    body: str


@dataclass(frozen=True, slots=True)
class KeptPot:
    """What one gateway owed for one session; `body` is JSON."""

    id: bytes
    session: int
    gateway: bytes
    service: bytes
    body: str


class ExploredStore:
    """One deployment's book. Synchronous: call it from a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> tuple[Checkpoint | None, list[KeptLine]]:
        """Return up to where logs were read, and every line."""
        with transaction(self._engine) as tx:
            query = select(lines.c.kind, lines.c.id, lines.c.body)
            return _checkpoint(tx), [KeptLine(*row) for row in tx.execute(query)]

    def keep(
        self, before: Checkpoint | None, now: Checkpoint, changed: Iterable[KeptLine], pots_changed: Iterable[KeptPot]
    ) -> bool:
        """Write what changed since `before`, and note `now`: all or nothing.

        Returns False, and changes nothing, where another process wrote meanwhile: read anew and go on from there.
        """
        with transaction(self._engine) as tx:
            if _checkpoint(tx) != before:
                return False
            for line in changed:
                tx.execute(delete(lines).where(lines.c.kind == line.kind, lines.c.id == line.id))
                tx.execute(insert(lines).values(kind=line.kind, id=line.id, body=line.body))
            for pot in pots_changed:
                tx.execute(delete(pots).where(pots.c.id == pot.id))
                tx.execute(insert(pots).values({name: getattr(pot, name) for name in KeptPot.__slots__}))
            fields = {"deployment": now.deployment, "block": now.block, "block_hash": now.hash}
            if before is None:
                tx.execute(insert(explored).values(id=_ONLY, **fields))
            else:
                tx.execute(update(explored).values(**fields))
        return True

    def clear(self) -> None:
        """Forget everything: the chain changed deeper than expected, or it is another deployment."""
        with transaction(self._engine) as tx:
            for table in (explored, lines, pots):
                tx.execute(delete(table))

    def pot(self, id: bytes) -> str | None:
        """Return one pot's body."""
        with transaction(self._engine) as tx:
            found: str | None = tx.execute(select(pots.c.body).where(pots.c.id == id)).scalar_one_or_none()
            return found

    def newest(
        self, limit: int, offset: int = 0, gateway: bytes | None = None, service: bytes | None = None
    ) -> list[str]:
        """Return pots' bodies, those of the newest session first."""
        query = select(pots.c.body).order_by(pots.c.session.desc(), pots.c.id).limit(limit).offset(offset)
        if gateway is not None:
            query = query.where(pots.c.gateway == gateway)
        if service is not None:
            query = query.where(pots.c.service == service)
        with transaction(self._engine) as tx:
            return list(tx.execute(query).scalars())

    def count(self) -> int:
        """Return how many pots are kept."""
        with transaction(self._engine) as tx:
            return tx.execute(select(func.count()).select_from(pots)).scalar_one()


def _checkpoint(tx: Connection) -> Checkpoint | None:
    query = select(explored.c.deployment, explored.c.block, explored.c.block_hash)
    row = tx.execute(query).first()
    return None if row is None else Checkpoint(*row)
