"""What each API key used, by service, method or model, and day. Sums only ever grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Engine, String, Table, and_, func, insert, select, update

from pocketnode.store.engine import transaction
from pocketnode.store.tables import Uint, metadata

usage = Table(
    "usage",
    metadata,
    Column("key", String(16), primary_key=True),
    Column("service", String(32), primary_key=True),
    Column("what", String(128), primary_key=True),
    Column("day", BigInteger, primary_key=True),
    Column("worker", String(32), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("worth", Uint(32), nullable=False),
)


@dataclass(frozen=True, slots=True)
class UsageKey:
    """`what` is a method or a model; `day` counts days since 1970-01-01 UTC."""

    key: str
    service: str
    what: str
    day: int


@dataclass(slots=True)
class Used:
    """Sums. `worth` is units times price: base units times a million."""

    requests: int = 0
    units: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    worth: int = 0


class UsageStore:
    """Usage of all keys. Each worker has rows of its own, so that two never change the same one."""

    def __init__(self, engine: Engine, worker: str = "0") -> None:
        self._engine = engine
        self._worker = worker

    def add(self, used: Mapping[UsageKey, Used]) -> None:
        """Add to the sums, all of it or nothing."""
        with transaction(self._engine) as tx:
            for key, more in used.items():
                self._add(tx, key, more)

    def units(self, key: str) -> int:
        """Return the units that a key has used in its life."""
        query = select(func.coalesce(func.sum(usage.c.units), 0)).where(usage.c.key == key)
        with transaction(self._engine) as tx:
            return int(tx.execute(query).scalar_one())

    def rows(self, key: str | None = None, since_day: int = 0) -> Iterable[tuple[UsageKey, Used]]:
        """Return the sums over all workers, by key, service, what and day."""
        query = select(usage).where(usage.c.day >= since_day)
        if key is not None:
            query = query.where(usage.c.key == key)
        sums: dict[UsageKey, Used] = {}
        with transaction(self._engine) as tx:
            for row in tx.execute(query.order_by(usage.c.day, usage.c.key, usage.c.service, usage.c.what)):
                used = sums.setdefault(UsageKey(row.key, row.service, row.what, row.day), Used())
                used.requests += row.requests
                used.units += row.units
                used.prompt_tokens += row.prompt_tokens
                used.output_tokens += row.output_tokens
                used.worth += row.worth
        return list(sums.items())

    def _add(self, tx: Connection, key: UsageKey, more: Used) -> None:
        place = {"key": key.key, "service": key.service, "what": key.what, "day": key.day, "worker": self._worker}
        at = and_(*(usage.c[name] == value for name, value in place.items()))
        old: Any = tx.execute(select(usage).where(at)).first()
        if old is None:
            fresh = {name: getattr(more, name) for name in Used.__slots__}
            tx.execute(insert(usage).values(**place, **fresh))
            return
        sums = {name: getattr(old, name) + getattr(more, name) for name in Used.__slots__}
        tx.execute(update(usage).where(at).values(**sums))
