"""What the workers of a gateway measured of suppliers: each writes its own rows, and reads the others'."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Float,
    LargeBinary,
    String,
    Table,
    delete,
    insert,
    or_,
    select,
)

from pocketnode.store.engine import transaction
from pocketnode.store.tables import metadata

scores = Table(
    "scores",
    metadata,
    Column("worker", String(32), primary_key=True),
    Column("service", String(32), primary_key=True),
    Column("kind", String(128), primary_key=True),
    Column("operator", LargeBinary(20), primary_key=True),
    Column("passes", Float, nullable=False),
    Column("tries", Float, nullable=False),
    Column("traffic", Float, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("at_s", Float, nullable=False),
)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """Decayed counts of one supplier for one class of relays; `at_s` in Unix seconds."""

    service: str
    kind: str
    operator: bytes
    passes: float
    tries: float
    traffic: float
    latency_ms: float
    at_s: float


class ScoreStore:
    """All scores. Synchronous: call it from a thread.

    Parameters
    ----------
    worker : whose rows are written; no two processes that share a database have the same.
    """

    def __init__(self, engine: Engine, worker: str = "0") -> None:
        self._engine = engine
        self._worker = worker

    def keep(self, rows: Iterable[ScoreRow], oldest_s: float) -> None:
        """Replace the worker's rows by `rows`; what is older than `oldest_s` is forgotten, whosever it is."""
        fresh = [{"worker": self._worker, **asdict(row)} for row in rows if row.at_s >= oldest_s]
        with transaction(self._engine) as tx:
            tx.execute(delete(scores).where(or_(scores.c.worker == self._worker, scores.c.at_s < oldest_s)))
            if fresh:
                tx.execute(insert(scores), fresh)

    def own(self) -> list[ScoreRow]:
        """Return what the worker wrote, also before it was started again."""
        return self._rows(scores.c.worker == self._worker)

    def others(self) -> list[ScoreRow]:
        """Return what all other workers wrote."""
        return self._rows(scores.c.worker != self._worker)

    def _rows(self, which: ColumnElement[bool]) -> list[ScoreRow]:
        with transaction(self._engine) as tx:
            return [ScoreRow(*row[1:]) for row in tx.execute(select(scores).where(which))]
