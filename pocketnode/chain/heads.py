"""The newest block, read by one poller and awaited by everyone."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

import structlog

from pocketnode.chain.agreement import agreed_head
from pocketnode.chain.blocks import Block, block_at
from pocketnode.chain.client import Rpc
from pocketnode.errors import Unavailable

__all__ = ["Block", "Heads", "block_at", "confirmations_of"]

log = structlog.get_logger(__name__)

POLL_LEAST_S: Final = 0.1
POLL_MOST_S: Final = 4.0
STALE_AFTER_S: Final = 60.0
MEMORY_BLOCKS: Final = 64
CONFIRMATIONS: Final = 12  # of a layer 2 with blocks of 2 s: half a minute
WINDOW_SHARE: Final = 20
SLACK_S: Final = 6.0
SLACK_BLOCKS_LEAST: Final = 3


def confirmations_of(wanted: int | None, statement_window: int) -> int:
    """Return the blocks to wait for on top of one: as wanted, else `CONFIRMATIONS`, fewer where windows are short.

    >>> confirmations_of(None, statement_window=300), confirmations_of(None, 5), confirmations_of(3, 5)
    (12, 0, 3)
    """
    return min(CONFIRMATIONS, statement_window // WINDOW_SHARE) if wanted is None else wanted


class Heads:
    """The head of the chain. `run` is a job of the daemon; `newest` is what it saw last.

    Parameters
    ----------
    poll_interval_s : how often the chain is asked; None for a quarter of the time between blocks, as seen.
    """

    def __init__(self, rpc: Rpc, poll_interval_s: float | None = None) -> None:
        self._rpc = rpc
        self._poll_interval_s = poll_interval_s
        self._spacing_s = 1.0
        self._newest: Block | None = None
        self._seen_s = time.monotonic()
        self._changed = asyncio.Condition()
        self._hashes: dict[int, bytes] = {}
        self.reorgs = 0  # how often blocks that were seen here turned out not to be the chain's

    @property
    def newest(self) -> Block | None:
        """The newest block, or None before the first was read."""
        return self._newest

    @property
    def number(self) -> int:
        """Number of the newest block; 0 before the first was read."""
        return self._newest.number if self._newest else 0

    @property
    def age_s(self) -> float:
        """Seconds since a new block was last seen: a gauge of the chain's or its nodes' lag."""
        return time.monotonic() - self._seen_s

    async def run(self) -> None:
        """Read the head again and again until cancelled; outages of the chain are survived and told."""
        stale = False
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("chain_unavailable", error=str(error), head=self.number)
            if (self.age_s > STALE_AFTER_S) != stale:
                stale = not stale
                log.warning(
                    "chain_head_stale" if stale else "chain_head_moves", age_s=round(self.age_s), head=self.number
                )
            await asyncio.sleep(self._pause_s())

    async def refresh(self) -> Block:
        """Read the head now and wake who waits for it.

        Raises
        ------
        Unavailable
            no node answers.
        """
        block = await agreed_head(self._rpc, self._slack_blocks())
        before = self._newest
        if before is not None and self._is_behind(before, block):
            return before
        if before is None or before.hash != block.hash:
            await self._link(block)
            self._note(before, block)
            async with self._changed:
                self._newest = block
                self._changed.notify_all()
        return block

    async def wait(self, number: int) -> Block:
        """Return the head once it is block `number` or later."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._newest is not None and self._newest.number >= number)
        assert self._newest is not None
        return self._newest

    async def changed(self, since: Block | None) -> Block:
        """Return the head once it is another block than `since` (also after a reorg)."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._newest is not None and self._newest != since)
        assert self._newest is not None
        return self._newest

    def _is_behind(self, before: Block, block: Block) -> bool:
        """Return whether a node lags: it gives a block as its newest that was followed by others here already."""
        known = block.number < before.number and self._hashes.get(block.number) == block.hash
        return known and self.age_s < STALE_AFTER_S

    async def _link(self, block: Block) -> None:
        """Compare a new head with the blocks seen before, back to the last one that both share."""
        if not self._hashes and block.number:
            _parent(block, await block_at(self._rpc, block.number - 1))
        link, undone, hashes = block, False, dict(self._hashes)  # nothing is kept of a head that does not hold
        while hashes and link.number >= min(hashes) and block.number - link.number < MEMORY_BLOCKS:
            known = hashes.get(link.number)
            if known == link.hash:
                break
            undone = undone or known is not None
            hashes[link.number] = link.hash
            if hashes.get(link.number - 1) == link.parent or link.number == 0:
                break
            link = _parent(link, await block_at(self._rpc, link.number - 1))
        undone = undone or any(number > block.number for number in hashes)
        hashes[block.number] = block.hash
        last = block.number
        self._hashes = {n: h for n, h in hashes.items() if last - MEMORY_BLOCKS < n <= last}
        if undone:
            self.reorgs += 1
            log.warning("chain_reorg", head=block.number, depth=block.number - link.number + 1)

    def _note(self, before: Block | None, block: Block) -> None:
        now_s = time.monotonic()
        if before is not None and block.number > before.number:
            seen_s = (now_s - self._seen_s) / (block.number - before.number)
            self._spacing_s += 0.2 * (min(seen_s, 30.0) - self._spacing_s)
        self._seen_s = now_s

    def _slack_blocks(self) -> int:
        """Return the blocks by which good nodes may differ: what comes in a few seconds."""
        return max(SLACK_BLOCKS_LEAST, math.ceil(SLACK_S / self._spacing_s))

    def _pause_s(self) -> float:
        if self._poll_interval_s is not None:
            return self._poll_interval_s
        return min(POLL_MOST_S, max(POLL_LEAST_S, self._spacing_s / 4))


def _parent(block: Block, found: Block) -> Block:
    if found.hash != block.parent:
        raise Unavailable(f"block {block.number} does not follow the node's own block {found.number}", 0.5)
    return found
