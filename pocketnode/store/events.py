"""The Settlement contract's events, as far as the chain was followed. A reorg takes out what it undid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Engine, Index, LargeBinary, Row, Table, delete, func, insert, select

from pocketnode.store.engine import transaction
from pocketnode.store.tables import metadata

BLOCKS_KEPT: Final = 256  # a reorg deeper than these is followed from the deployment's first block again

followed_blocks = Table(
    "followed_blocks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("block_hash", LargeBinary(32), nullable=False),
    Column("transaction", LargeBinary(32), nullable=False),
    Column("address", LargeBinary(20), nullable=False),
    Column("topic", LargeBinary(32), nullable=False),
    Column("subject", LargeBinary(32)),
    Column("topics", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_events_topic_subject", "topic", "subject"),
)


class EventStore:
    """Events, and the blocks they were read up to. `KeptLog` is any value with the fields of a chain log."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def checkpoints(self) -> list[tuple[int, bytes]]:
        """Return number and hash of the blocks that events were read up to, the newest first."""
        query = select(followed_blocks.c.number, followed_blocks.c.hash).order_by(followed_blocks.c.number.desc())
        with transaction(self._engine) as tx:
            return [(row.number, row.hash) for row in tx.execute(query)]

    def extend(self, number: int, block_hash: bytes, logs: Iterable[dict[str, Any]]) -> None:
        """Add the events up to a block, and note the block: both or neither.

        Parameters
        ----------
        logs : each with `block`, `position`, `block_hash`, `transaction`, `address`, `topics` (a tuple) and `data`.
        """
        rows = [_row(log) for log in logs]
        with transaction(self._engine) as tx:
            if rows:
                tx.execute(insert(events), rows)
            tx.execute(insert(followed_blocks).values(number=number, hash=block_hash))
            tx.execute(delete(followed_blocks).where(followed_blocks.c.number < number - BLOCKS_KEPT))

    def unwind(self, number: int) -> int:
        """Take out everything after block `number`; return how many events that were."""
        with transaction(self._engine) as tx:
            tx.execute(delete(followed_blocks).where(followed_blocks.c.number > number))
            return tx.execute(delete(events).where(events.c.block > number)).rowcount

    def of(self, topic: bytes, subject: bytes | None = None) -> list[dict[str, Any]]:
        """Return the events of a topic, of one pot (or registration) if `subject` names it, in the chain's order."""
        query = select(events).where(events.c.topic == topic).order_by(events.c.block, events.c.position)
        if subject is not None:
            query = query.where(events.c.subject == subject)
        with transaction(self._engine) as tx:
            return [_log(row) for row in tx.execute(query)]

    def count(self) -> int:
        """Return how many events are kept."""
        with transaction(self._engine) as tx:
            return tx.execute(select(func.count()).select_from(events)).scalar_one()

    def prune(self, before: int) -> None:
        """Forget events before a block, once nothing that they settle is open."""
        with transaction(self._engine) as tx:
            tx.execute(delete(events).where(events.c.block < before))


def _row(log: dict[str, Any]) -> dict[str, Any]:
    topics: Sequence[bytes] = log["topics"]
    subject = topics[1] if len(topics) > 1 else None
    return {**log, "topics": b"".join(topics), "topic": topics[0] if topics else b"", "subject": subject}


def _log(row: Row[Any]) -> dict[str, Any]:
    raw: bytes = row.topics
    return {
        "address": row.address,
        "topics": tuple(raw[at : at + 32] for at in range(0, len(raw), 32)),
        "data": row.data,
        "block": row.block,
        "block_hash": row.block_hash,
        "transaction": row.transaction,
        "position": row.position,
    }
