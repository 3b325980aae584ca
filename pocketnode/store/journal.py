"""The transaction sender's journal: what is to be done on chain, and each transaction signed for it.

An intent has a key such as `statement:0x..`; the same key is never done twice. A transaction is written here before it
is sent, so that a restarted sender sends the very same bytes again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Index,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from pocketnode.errors import NotFound
from pocketnode.store.engine import transaction
from pocketnode.store.tables import Uint, metadata


class Stage(StrEnum):
    """Where an intent stands. The last three are final."""

    QUEUED = "queued"  # no transaction signed yet
    SENT = "sent"  # signed, perhaps sent, not seen in a block
    MINED = "mined"  # in a block that may still be unwound
    DONE = "done"
    FAILED = "failed"  # the contract refused
    EXPIRED = "expired"  # its deadline passed and it can no longer be mined


LIVE = (Stage.QUEUED, Stage.SENT, Stage.MINED)

intents = Table(
    "intents",
    metadata,
    Column("sender", LargeBinary(20), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("place", BigInteger, nullable=False),
    Column("target", LargeBinary(20)),
    Column("data", LargeBinary, nullable=False),
    Column("value", Uint(32), nullable=False),
    Column("deadline", BigInteger),
    Column("stage", String(16), nullable=False),
    Column("nonce", BigInteger),
    Column("block", BigInteger),
    Column("block_hash", LargeBinary(32)),
    Column("mined", LargeBinary(32)),
    Column("error", String(1000)),
    Index("ix_intents_sender_stage", "sender", "stage"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("sender", LargeBinary(20), nullable=False),
    Column("key", String(200), nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("fee_wei", Uint(32), nullable=False),
    Column("tip_wei", Uint(32), nullable=False),
    Column("gas", BigInteger, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("cancels", Boolean, nullable=False),
    Index("ix_attempts_sender_key", "sender", "key"),
)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be done on chain, once.

    Parameters
    ----------
    key : names the effect, at most 200 characters; a second intent of the same key is the first one.
    target : 20 bytes, or None to create a contract.
    data : call data.
    value : wei.
    deadline : last block in which it makes sense; None for none.
    """

    key: str
    target: bytes | None
    data: bytes
    value: int = 0
    deadline: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An intent and where it stands.

    Parameters
    ----------
    nonce : given to it; None while queued.
    block, block_hash, mined : the block it was mined in and the hash of the transaction that was.
    error : why it failed.
    """

    intent: Intent
    stage: Stage
    nonce: int | None = None
    block: int | None = None
    block_hash: bytes | None = None
    mined: bytes | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction. All attempts of an intent share a nonce, so at most one of them is ever mined.

    Parameters
    ----------
    block : head when it was signed.
    cancels : it does nothing but use up the nonce.
    """

    hash: bytes
    key: str
    nonce: int
    raw: bytes
    fee_wei: int
    tip_wei: int
    gas: int
    block: int
    cancels: bool = False


class Journal:
    """The journal of one sender."""

    def __init__(self, engine: Engine, sender: bytes) -> None:
        self._engine = engine
        self._sender = sender

    def add(self, intent: Intent) -> Entry:
        """Return the entry of an intent: a new one, or what became of it so far."""
        with transaction(self._engine) as tx:
            row = tx.execute(self._one(intent.key)).one_or_none()
            if row is not None:
                return _entry(row)
            values: dict[str, Any] = {
                "sender": self._sender,
                "key": intent.key,
                "place": time.time_ns(),
                "target": intent.target,
                "data": intent.data,
                "value": intent.value,
                "deadline": intent.deadline,
                "stage": Stage.QUEUED,
            }
            tx.execute(insert(intents).values(**values))
        return Entry(intent, Stage.QUEUED)

    def get(self, key: str) -> Entry:
        """Return an entry.

        Raises
        ------
        NotFound
            there is none of this key.
        """
        with transaction(self._engine) as tx:
            row = tx.execute(self._one(key)).one_or_none()
        if row is None:
            raise NotFound(f"no transaction {key!r} of 0x{self._sender.hex()}")
        return _entry(row)

    def live(self) -> list[Entry]:
        """Return what is not final, in the order it was added."""
        query = select(intents).where(intents.c.sender == self._sender, intents.c.stage.in_(LIVE))
        with transaction(self._engine) as tx:
            return [_entry(row) for row in tx.execute(query.order_by(intents.c.place))]

    def recent(self, since: int) -> list[Entry]:
        """Return what ended in a block after `since`, well or badly: a reorg may still undo it."""
        ended = intents.c.stage.in_((Stage.DONE, Stage.FAILED, Stage.EXPIRED))
        query = select(intents).where(intents.c.sender == self._sender, ended, intents.c.block > since)
        with transaction(self._engine) as tx:
            return [_entry(row) for row in tx.execute(query.order_by(intents.c.place))]

    def attempts(self, key: str) -> list[Attempt]:
        """Return the transactions signed for an intent, the oldest first."""
        c = attempts.c
        query = select(c.hash, c.key, c.nonce, c.raw, c.fee_wei, c.tip_wei, c.gas, c.block, c.cancels)
        with transaction(self._engine) as tx:
            rows = tx.execute(query.where(c.sender == self._sender, c.key == key).order_by(c.nonce, c.fee_wei))
            return [Attempt(*row) for row in rows]

    def next_nonce(self) -> int:
        """Return one more than the highest nonce given to an intent that is not final; 0 if there is none."""
        query = select(func.max(intents.c.nonce)).where(intents.c.sender == self._sender, intents.c.stage.in_(LIVE))
        with transaction(self._engine) as tx:
            highest: int | None = tx.execute(query).scalar()
        return 0 if highest is None else highest + 1

    def sign(self, attempt: Attempt) -> None:
        """Note a transaction, before it is sent."""
        row = {name: getattr(attempt, name) for name in Attempt.__slots__}
        with transaction(self._engine) as tx:
            tx.execute(insert(attempts).values(sender=self._sender, **row))
            tx.execute(self._change(attempt.key).values(stage=Stage.SENT, nonce=attempt.nonce))

    def mined(self, key: str, attempt: bytes, block: int, block_hash: bytes) -> None:
        """Note that a transaction is in a block."""
        self._write(key, stage=Stage.MINED, mined=attempt, block=block, block_hash=block_hash)

    def unwound(self, key: str) -> None:
        """Note that the block of a transaction is no longer part of the chain."""
        self._write(key, stage=Stage.SENT, mined=None, block=None, block_hash=None)

    def requeue(self, key: str) -> None:
        """Give an intent's nonce back: somebody else used it, so none of its transactions can be mined."""
        with transaction(self._engine) as tx:
            tx.execute(delete(attempts).where(attempts.c.sender == self._sender, attempts.c.key == key))
            tx.execute(
                self._change(key).values(stage=Stage.QUEUED, nonce=None, mined=None, block=None, block_hash=None)
            )

    def finish(self, key: str, stage: Stage, error: str | None = None) -> None:
        """Note how an intent ended."""
        self._write(key, stage=stage, error=error[:1000] if error else None)

    def retry(self, intent: Intent) -> Entry:
        """Put a failed or expired intent on the queue again, with new data and deadline."""
        ended = self._change(intent.key).where(intents.c.stage.in_((Stage.FAILED, Stage.EXPIRED)))
        anew: dict[str, Any] = dict.fromkeys(("nonce", "error", "mined", "block", "block_hash"))
        anew |= {"target": intent.target, "data": intent.data, "value": intent.value, "deadline": intent.deadline}
        with transaction(self._engine) as tx:
            if tx.execute(ended.values(stage=Stage.QUEUED, **anew)).rowcount:
                old = attempts.c.sender == self._sender, attempts.c.key == intent.key
                tx.execute(delete(attempts).where(*old))
        return self.add(intent)

    def prune(self, before: int) -> None:
        """Forget what was done before block `before`."""
        old = select(intents.c.key).where(
            intents.c.sender == self._sender, intents.c.stage == Stage.DONE, intents.c.block < before
        )
        with transaction(self._engine) as tx:
            keys = tx.execute(old).scalars().all()
            tx.execute(delete(attempts).where(attempts.c.sender == self._sender, attempts.c.key.in_(keys)))
            tx.execute(delete(intents).where(intents.c.sender == self._sender, intents.c.key.in_(keys)))

    def _write(self, key: str, **values: Any) -> None:
        with transaction(self._engine) as tx:
            tx.execute(self._change(key).values(**values))

    def _one(self, key: str) -> Any:
        return select(intents).where(intents.c.sender == self._sender, intents.c.key == key)

    def _change(self, key: str) -> Any:
        return update(intents).where(intents.c.sender == self._sender, intents.c.key == key)


def _entry(row: Any) -> Entry:
    intent = Intent(row.key, row.target, row.data, row.value, row.deadline)
    return Entry(intent, Stage(row.stage), row.nonce, row.block, row.block_hash, row.mined, row.error)
