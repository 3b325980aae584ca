"""Keeps seeds of unsettled sessions on chain, before it forgets the block hashes that they come from (rule 4.2)."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import contract
from pocketnode.chain.errors import Expired, TransactionFailed
from pocketnode.chain.events import read_logs
from pocketnode.chain.heads import Block
from pocketnode.chain.market import Market
from pocketnode.chain.reader import code_at
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keccak import keccak
from pocketnode.errors import Corrupt, PocketError
from pocketnode.protocol.session import payable_from, start_of
from pocketnode.protocol.types import Params
from pocketnode.store.journal import Intent
from pocketnode.store.pots import PotStage, PotStore

log = structlog.get_logger(__name__)

HISTORY: Final = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
HISTORY_BLOCKS: Final = 8_191  # for which EIP-2935 keeps the hash of a block
RECENT_BLOCKS: Final = 256  # for which a chain without it does
MARGIN_SHARE: Final = 16  # of these, the last begins so long before the hash is gone
SPREAD_SHARE: Final = 8  # over which daemons begin: the first spares the others the gas


class Poking:
    """Pokes for one party's sessions that are to be stated or claimed yet. `run` is a job of its daemon.

    Where the chain keeps 8,191 block hashes and windows are the usual ones, a session is settled long before, and
    nothing is ever sent.
    """

    def __init__(self, market: Market, sender: Sender, party: bytes, pots: PotStore) -> None:
        self._market, self._sender, self._party, self._pots = market, sender, party, pots
        self._done: set[int] = set()
        self._kept_blocks = 0  # for which the chain keeps hashes; 0 before it was asked

    async def run(self) -> None:
        """Poke what is due whenever the chain has moved, until cancelled."""
        head: Block | None = None
        while True:
            head = await self._market.heads.changed(head)
            try:
                await self.poke()
            except Corrupt:
                raise
            except PocketError as error:
                log.warning("seeds_wait", error=str(error))

    async def poke(self) -> list[int]:
        """Have the seeds kept that are due; return the numbers of their sessions."""
        if not self._kept_blocks:
            self._kept_blocks = await blocks_kept(self._market.reader.rpc)
        open_pots = await asyncio.to_thread(self._pots.all, [PotStage.OPEN])
        numbers = {pot.number for pot in open_pots}
        self._done &= numbers
        due = [number for number in sorted(numbers - self._done) if await self._is_due(number)]
        return [number for number in due if await self._keep(number)]

    async def _is_due(self, number: int) -> bool:
        params = await self._market.params(number)
        last = self._known_until(number, params)
        if last >= payable_from(number, params):
            self._done.add(number)  # settled before the hash is gone
            return False
        jitter = int.from_bytes(keccak(number.to_bytes(8, "big") + self._party)[:8], "big") % (
            self._kept_blocks // SPREAD_SHARE
        )
        return last - self._kept_blocks // MARGIN_SHARE - jitter <= self._market.head

    async def _keep(self, number: int) -> bool:
        params = await self._market.params(number)
        self._done.add(number)
        if await self._is_kept(number, params):
            return False
        sessions, last = self._market.deployment.contracts.sessions, self._known_until(number, params)
        data = contract("Sessions").call_data("poke", number)
        try:
            await self._sender.retry(Intent(f"poke:{number}", sessions, data, 0, last))
        except (Expired, TransactionFailed) as error:
            log.error("seed_lost", session=number, error=str(error))
            return False
        except PocketError:
            self._done.discard(number)
            raise
        log.info("seed_kept", session=number)
        return True

    async def _is_kept(self, number: int, params: Params) -> bool:
        """Return whether somebody poked before."""
        topics = contract("Sessions").topic("Poked"), number.to_bytes(32, "big")
        sessions, first = self._market.deployment.contracts.sessions, start_of(number, params)
        return bool(await read_logs(self._market.reader.rpc, sessions, first, self._market.head, topics))

    def _known_until(self, number: int, params: Params) -> int:
        """Return the last block in which a session's seed can be had without a poke."""
        return start_of(number, params) - 1 + self._kept_blocks


async def blocks_kept(rpc: Rpc) -> int:
    """Return for how many blocks a chain keeps their hashes: those of EIP-2935, or the EVM's own."""
    return HISTORY_BLOCKS if await code_at(rpc, HISTORY) else RECENT_BLOCKS
