"""What the dashboard's charts show of the last weeks: sums of ten minutes, by service and by peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    String,
    Table,
    and_,
    delete,
    insert,
    select,
    update,
)

from pocketnode.store.engine import transaction
from pocketnode.store.tables import metadata

history = Table(
    "history",
    metadata,
    Column("start_s", BigInteger, primary_key=True),
    Column("service", String(32), primary_key=True),
    Column("peer", String(64), primary_key=True),
    Column("relays", BigInteger, nullable=False),
    Column("good", BigInteger, nullable=False),
    Column("kept", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("amount", Float, nullable=False),
    Column("p50_ms", Float),
    Column("p95_ms", Float),
    Column("p99_ms", Float),
    Column("first_p50_ms", Float),
    Column("first_p95_ms", Float),
    Column("errors", JSON, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What happened in a span of time: counts, spend in base units of the token, latencies in milliseconds.

    Latencies are None where nothing was answered well: `p..` of whole answers, `first_p..` of their first bytes. `kept`
    of the good were answered without a supplier, `refused` were turned away besides the relays; `errors` counts both
    kinds of failure by class.
    """

    relays: int
    good: int
    kept: int
    refused: int
    units: int
    amount: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    first_p50_ms: float | None
    first_p95_ms: float | None
    errors: Mapping[str, int]


COLUMNS: Final = tuple(Row.__slots__)
_COUNTS: Final = ("relays", "kept", "refused", "units", "amount")
_LATENCIES: Final = tuple(name for name in COLUMNS if name.endswith("_ms"))


@dataclass(frozen=True, slots=True)
class Span:
    """One service and peer from `start_s` (Unix seconds) on; the peer is empty for the service as a whole."""

    start_s: int
    service: str
    peer: str
    row: Row


class HistoryStore:
    """All spans. Synchronous: call it from a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, spans: Iterable[Span], oldest_s: int) -> None:
        """Add spans to what is kept of them, and forget those that began before `oldest_s`.

        A span comes in parts where the daemon was started anew within it, or where several workers count.
        """
        with transaction(self._engine) as tx:
            tx.execute(delete(history).where(history.c.start_s < oldest_s))
            for span in spans:
                _add(tx, span)

    def since(self, start_s: int, peers: bool = False) -> list[Span]:
        """Return the spans from `start_s` on, the oldest first; those of peers only if asked for."""
        query = select(history).where(history.c.start_s >= start_s).order_by(history.c.start_s)
        if not peers:
            query = query.where(history.c.peer == "")
        with transaction(self._engine) as tx:
            return [Span(start_s, service, peer, Row(*row)) for start_s, service, peer, *row in tx.execute(query)]


def _add(tx: Connection, span: Span) -> None:
    c = history.c
    place = and_(c.start_s == span.start_s, c.service == span.service, c.peer == span.peer)
    found = tx.execute(select(*(c[name] for name in COLUMNS)).where(place)).first()
    row = span.row if found is None else merged(Row(*found), span.row)
    values = {name: getattr(row, name) for name in COLUMNS}
    if found is None:
        tx.execute(insert(history).values(start_s=span.start_s, service=span.service, peer=span.peer, **values))
    else:
        tx.execute(update(history).where(place).values(**values))


def merged(one: Row, other: Row) -> Row:
    """Return two rows as one; latencies are weighed by the good relays that they are of."""
    good = one.good + other.good

    def mean(a: float | None, b: float | None) -> float | None:
        if a is None or b is None or not good:
            return b if a is None else a
        return (a * one.good + b * other.good) / good

    counts: dict[str, Any] = {name: getattr(one, name) + getattr(other, name) for name in _COUNTS}
    latencies: dict[str, Any] = {name: mean(getattr(one, name), getattr(other, name)) for name in _LATENCIES}
    errors = dict(Counter(one.errors) + Counter(other.errors))
    return replace(one, good=good, **counts, **latencies, errors=errors)
