"""Follows the Settlement contract's events: none is missed, none that the chain undid is kept.

What was read stands in the store together with the hash of the block it was read up to. If that hash is no longer the
chain's, events are taken out back to a block that is, and read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final, TypeVar

import structlog

from pocketnode.chain.contracts import Log
from pocketnode.chain.events import (
    Claimed,
    Collected,
    GatewayFaulted,
    Stated,
    SupplierFaulted,
    Withdrawn,
    logs_in,
    read_logs,
    topic_of,
    typed,
)
from pocketnode.chain.heads import Block, Heads, block_at
from pocketnode.chain.reader import Reader
from pocketnode.errors import Unavailable
from pocketnode.store.events import EventStore

log = structlog.get_logger(__name__)
E = TypeVar("E", Stated, Claimed, GatewayFaulted, SupplierFaulted, Withdrawn, Collected)

SINGLE_BLOCKS_MOST: Final = 8  # so many blocks are asked for one by one, by hash: no node can give another's logs
RANGE_BLOCKS: Final = 2_000
RETRY_S: Final = 1.0


class Follower:
    """The one follower of a daemon's store. `run` is a job; `events` answers from the store.

    Parameters
    ----------
    confirmations : blocks on top of one before its events are read; deeper reorgs are unwound.
    """

    def __init__(self, reader: Reader, heads: Heads, store: EventStore, confirmations: int = 0) -> None:
        self._rpc, self._heads, self._store, self._confirmations = reader.rpc, heads, store, confirmations
        self._address = reader.deployment.contracts.settlement
        self._first = reader.deployment.block
        self._followed = -1
        self._moved = asyncio.Condition()

    @property
    def followed(self) -> int:
        """Number of the block up to which all events are known; -1 before the first."""
        return self._followed

    async def wait(self, number: int) -> None:
        """Return once all events up to block `number` are known."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._followed >= number)

    async def events(self, kind: type[E], pot: bytes | None = None) -> list[E]:
        """Return the events of a kind, of one pot or of all, in the chain's order."""
        found = map(typed, await self.logs(kind, pot))
        return [event for event in found if isinstance(event, kind)]

    async def logs(self, kind: type[E], pot: bytes | None = None) -> list[Log]:
        """Return the same as logs, which say in which transaction each was made."""
        rows = await asyncio.to_thread(self._store.of, topic_of(kind), pot)
        return [Log(**row) for row in rows]

    async def run(self) -> None:
        """Follow until cancelled. Outages are survived: what was missed is read afterwards."""
        head: Block | None = None
        while True:
            head = await self._heads.changed(head)
            try:
                while await self._step(head.number - self._confirmations):
                    pass
            except Unavailable as error:
                log.warning("follower_waits", error=str(error), followed=self._followed)
                head = None
                await asyncio.sleep(RETRY_S)

    async def _step(self, target: int) -> bool:
        """Read one piece towards block `target`; return whether there is more."""
        base = await self._base()
        if base.number >= target:
            await self._tell(base.number)
            return False
        last = min(target, base.number + RANGE_BLOCKS)
        await (self._read_singly if last - base.number <= SINGLE_BLOCKS_MOST else self._read_range)(base, last)
        return last < target

    async def _base(self) -> Block:
        """Return the newest block read that is still the chain's, with what came after it taken out."""
        checkpoints = await asyncio.to_thread(self._store.checkpoints)
        for number, block_hash in checkpoints:
            try:
                found = await block_at(self._rpc, number)
            except Unavailable:
                if number > self._heads.number:
                    continue  # the chain is shorter than it was
                raise
            if found.hash == block_hash:
                if number != checkpoints[0][0]:
                    await self._unwind(number)
                return found
        if checkpoints:
            await self._unwind(self._first - 1)
        return await block_at(self._rpc, self._first - 1)

    async def _unwind(self, number: int) -> None:
        undone = await asyncio.to_thread(self._store.unwind, number)
        log.warning("chain_unwound", to_block=number, events=undone)
        self._followed = number

    async def _read_singly(self, base: Block, last: int) -> None:
        for number in range(base.number + 1, last + 1):
            block = await block_at(self._rpc, number)
            _check_link(base, block)
            await self._keep(block, await logs_in(self._rpc, self._address, block.hash))
            base = block

    async def _read_range(self, base: Block, last: int) -> None:
        """Read many blocks at once; both ends must be the same before and after."""
        end = await block_at(self._rpc, last)
        logs = await read_logs(self._rpc, self._address, base.number + 1, last)
        _check_link(base, await block_at(self._rpc, base.number + 1))
        if await block_at(self._rpc, last) != end:
            raise Unavailable("the chain changed while its logs were read")
        await self._keep(end, logs)

    async def _keep(self, block: Block, logs: Sequence[Log]) -> None:
        if any(found.block > block.number or found.address != self._address for found in logs):
            raise Unavailable("the chain node gives other logs than asked for")
        rows = [asdict(found) for found in logs]
        await asyncio.to_thread(self._store.extend, block.number, block.hash, rows)
        await self._tell(block.number)

    async def _tell(self, number: int) -> None:
        async with self._moved:
            self._followed = number
            self._moved.notify_all()


def _check_link(base: Block, block: Block) -> None:
    if block.parent != base.hash:
        raise Unavailable(f"block {block.number} does not follow the one read before: the chain changed")
