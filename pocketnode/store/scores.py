"""What a gateway measured of suppliers, kept over restarts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import Column, Engine, Float, LargeBinary, String, Table, delete, insert, select

from pocketnode.store.engine import transaction
from pocketnode.store.tables import metadata

scores = Table(
    "scores",
    metadata,
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
    """All scores. Synchronous: call it from a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, rows: Iterable[ScoreRow], oldest_s: float) -> None:
        """Replace what is kept by `rows`; what is older than `oldest_s` is forgotten."""
        fresh = [asdict(row) for row in rows if row.at_s >= oldest_s]
        with transaction(self._engine) as tx:
            tx.execute(delete(scores))
            if fresh:
                tx.execute(insert(scores), fresh)

    def all(self) -> list[ScoreRow]:
        """Return what is kept."""
        with transaction(self._engine) as tx:
            return [ScoreRow(*row) for row in tx.execute(select(scores))]
