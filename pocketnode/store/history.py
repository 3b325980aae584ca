"""What the dashboard's charts show of the last weeks: sums of ten minutes, by service and by peer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
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
    Column("units", BigInteger, nullable=False),
    Column("amount", Float, nullable=False),
    Column("p50_ms", Float),
    Column("p95_ms", Float),
    Column("p99_ms", Float),
)


@dataclass(frozen=True, slots=True)
class Span:
    """One service and peer in one span; `start_s` in Unix seconds, `amount` in base units of the token.

    The peer is empty for the service as a whole. Latencies are None where nothing was answered well.
    """

    start_s: int
    service: str
    peer: str
    relays: int
    good: int
    units: int
    amount: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


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
            return [Span(*row) for row in tx.execute(query)]


def _add(tx: Connection, span: Span) -> None:
    c = history.c
    place = and_(c.start_s == span.start_s, c.service == span.service, c.peer == span.peer)
    row = tx.execute(select(history).where(place)).first()
    if row is None:
        tx.execute(insert(history).values(**{name: getattr(span, name) for name in Span.__slots__}))
        return
    whole = merged(Span(*row), span)
    tx.execute(update(history).where(place).values(**{name: getattr(whole, name) for name in Span.__slots__}))


def merged(one: Span, other: Span) -> Span:
    """Return two parts of a span as one; latencies are weighed by the good relays that they are of."""
    good = one.good + other.good

    def mean(a: float | None, b: float | None) -> float | None:
        if a is None or b is None or not good:
            return b if a is None else a
        return (a * one.good + b * other.good) / good

    return Span(
        one.start_s,
        one.service,
        one.peer,
        one.relays + other.relays,
        good,
        one.units + other.units,
        one.amount + other.amount,
        mean(one.p50_ms, other.p50_ms),
        mean(one.p95_ms, other.p95_ms),
        mean(one.p99_ms, other.p99_ms),
    )
