"""Gets final money out: a supplier's pay to its payout addresses, a pot's fee to its owner and the treasury."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from pocketnode.chain.contracts import contract
from pocketnode.chain.errors import TransactionFailed
from pocketnode.chain.events import Claimed, Collected, Stated, Withdrawn
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Block
from pocketnode.chain.market import Market
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keccak import keccak
from pocketnode.errors import Corrupt, PocketError
from pocketnode.protocol.session import payable_from
from pocketnode.settlement.claiming import key_of
from pocketnode.store.journal import Intent
from pocketnode.store.pots import Pot, PotStage, PotStore
from pocketnode.store.receipts import ReceiptStore

log = structlog.get_logger(__name__)

DROP_AFTER_BLOCKS: Final = 64  # receipts stay so long after their pay was mined
POTS_MOST: Final = 40  # in one transaction: about 60,000 gas each


@dataclass(frozen=True, slots=True)
class WithdrawPolicy:
    """When it is worth a transaction.

    Parameters
    ----------
    least : base units that a batch must be worth, as far as known.
    age_blocks : blocks after which a pot is withdrawn whatever it is worth, and at whatever fee.
    most_fee_wei : the chain's base fee above which to wait; None for any.
    """

    least: int = 0
    age_blocks: int = 43_200
    most_fee_wei: int | None = None

    def allows(self, worth: int, age_blocks: int, base_fee_wei: int, full: bool = False) -> bool:
        """Return whether a batch is to be sent now.

        Parameters
        ----------
        full : no more pots fit into it, so that waiting makes it worth no more.

        >>> policy = WithdrawPolicy(least=100, age_blocks=50, most_fee_wei=7)
        >>> policy.allows(100, 1, 7), policy.allows(99, 1, 7), policy.allows(100, 1, 8), policy.allows(1, 50, 8)
        (True, False, False, True)
        """
        if age_blocks >= self.age_blocks:
            return True
        cheap = self.most_fee_wei is None or base_fee_wei <= self.most_fee_wei
        return cheap and (full or worth >= self.least)


@dataclass(frozen=True, slots=True)
class _Ready:
    """One pot that a registration can be paid from."""

    pot: Pot
    priced: bytes

    @property
    def worth(self) -> int:
        return max(self.pot.stated, self.pot.claimed)

    @property
    def reference(self) -> tuple[Any, ...]:
        return _key(self.pot), self.pot.rank, self.priced


class Withdrawing:
    """Withdraws what one operator's registrations are owed. `run` is a job of its daemon."""

    def __init__(
        self,
        market: Market,
        follower: Follower,
        sender: Sender,
        operator: bytes,
        receipts: ReceiptStore,
        pots: PotStore,
        policy: WithdrawPolicy | None = None,
    ) -> None:
        self._market, self._follower, self._sender, self._operator = market, follower, sender, operator
        self._receipts, self._pots, self._policy = receipts, pots, policy or WithdrawPolicy()

    async def run(self) -> None:
        """Withdraw what is worth it whenever the chain has moved, until cancelled."""
        head: Block | None = None
        while True:
            head = await self._market.heads.changed(head)
            try:
                await self.withdraw()
            except Corrupt:
                raise
            except PocketError as error:
                log.warning("withdrawal_waits", error=str(error))

    async def withdraw(self) -> int:
        """Withdraw all batches that the policy allows; return how many pots were paid."""
        paid = await self._note_paid()
        await self._drop_settled()
        by_registration: defaultdict[int, list[_Ready]] = defaultdict(list)
        for pot in await asyncio.to_thread(self._pots.all, (PotStage.STATED, PotStage.CLAIMED, PotStage.PAYABLE)):
            ready = await self._ready(pot)
            if ready is not None:
                by_registration[ready.pot.registration].append(ready)
        for registration, ready_pots in by_registration.items():
            for batch in _batches(ready_pots):
                if self._is_worth(batch):
                    paid += await self._send(registration, batch)
        return paid

    async def _ready(self, pot: Pot) -> _Ready | None:
        params = await self._market.params(pot.number)
        payable = payable_from(pot.number, params)
        if self._market.head < payable:
            return None
        await self._follower.wait(payable - 1)
        if pot.stage is not PotStage.PAYABLE:
            await asyncio.to_thread(self._pots.change, pot.id, stage=PotStage.PAYABLE, until=0)
        if not await self._is_owed(pot):
            await asyncio.to_thread(self._pots.change, pot.id, stage=PotStage.MISSED, note="a reorg took it back")
            return None
        return _Ready(pot, await priced_of(self._follower, pot.id))

    async def _is_owed(self, pot: Pot) -> bool:
        """Return whether the chain still says so: one pot that owes nothing would make the whole batch fail."""
        stated = await self._follower.events(Stated, pot.id)
        if any(entry.rank == pot.rank for event in stated for entry in event.entries):
            return True
        return any(claim.rank == pot.rank for claim in await self._follower.events(Claimed, pot.id))

    def _is_worth(self, batch: Sequence[_Ready]) -> bool:
        windows = self._market.deployment.windows
        oldest = min(ready.pot.number for ready in batch)
        age = self._market.head - (windows.anchor + (oldest + 1) * windows.length)
        worth = sum(ready.worth for ready in batch)
        newest = self._market.heads.newest
        return self._policy.allows(worth, age, newest.base_fee_wei if newest else 0, len(batch) == POTS_MOST)

    async def _send(self, registration: int, batch: Sequence[_Ready]) -> int:
        data = contract("Settlement").call_data("withdraw", registration, [ready.reference for ready in batch])
        intent = Intent(f"withdraw:{keccak(data).hex()}", self._market.deployment.contracts.settlement, data)
        try:
            mined = await self._sender.retry(intent)
        except TransactionFailed as error:
            if "NothingToWithdraw" not in str(error):  # anyone may have withdrawn for us
                raise
        else:
            await self._follower.wait(mined.block)
        return await self._note_paid()

    async def _note_paid(self) -> int:
        """Note pots that the chain says are paid; return how many."""
        noted = 0
        for pot in await asyncio.to_thread(self._pots.all, [PotStage.PAYABLE]):
            found = [w for w in await self._follower.events(Withdrawn, pot.id) if w.rank == pot.rank]
            if found:
                amount, until = found[-1].amount, found[-1].block + DROP_AFTER_BLOCKS
                await asyncio.to_thread(self._pots.change, pot.id, stage=PotStage.PAID, paid=amount, until=until)
                log.info("session_paid", pot=pot.id.hex(), session=pot.number, amount=amount)
                noted += 1
        return noted

    async def _drop_settled(self) -> None:
        """Forget receipts of pots that were paid so long ago that no reorg takes it back."""
        for pot in await asyncio.to_thread(self._pots.all, [PotStage.PAID]):
            if 0 < pot.until <= self._market.head:
                await asyncio.to_thread(self._receipts.drop, key_of(pot, self._operator))
                await asyncio.to_thread(self._pots.change, pot.id, until=0)


class Collecting:
    """Pays out the fees of one gateway's pots, as anyone may. `run` is a job of its daemon."""

    def __init__(self, market: Market, follower: Follower, sender: Sender, pots: PotStore) -> None:
        self._market, self._follower, self._sender, self._pots = market, follower, sender, pots

    async def run(self) -> None:
        """Collect whenever the chain has moved, until cancelled."""
        head: Block | None = None
        while True:
            head = await self._market.heads.changed(head)
            try:
                await self.collect()
            except Corrupt:
                raise
            except PocketError as error:
                log.warning("collection_waits", error=str(error))

    async def collect(self) -> int:
        """Collect from all final pots that this gateway stated; return how many."""
        due: list[Pot] = []
        for pot in await asyncio.to_thread(self._pots.all, (PotStage.STATED, PotStage.PAYABLE)):
            params = await self._market.params(pot.number)
            if self._market.head < payable_from(pot.number, params):
                continue
            if collected := await self._follower.events(Collected, pot.id):
                paid = collected[-1].owner_amount + collected[-1].treasury_amount
                await asyncio.to_thread(self._pots.change, pot.id, stage=PotStage.PAID, paid=paid, until=0)
                continue
            due.append(pot)
        for at in range(0, len(due), POTS_MOST):
            await self._send(due[at : at + POTS_MOST])
        return len(due)

    async def _send(self, batch: Iterable[Pot]) -> None:
        references = [(_key(pot), await priced_of(self._follower, pot.id)) for pot in batch]
        data = contract("Settlement").call_data("collect", references)
        intent = Intent(f"collect:{keccak(data).hex()}", self._market.deployment.contracts.settlement, data)
        mined = await self._sender.retry(intent)
        await self._follower.wait(mined.block)


async def priced_of(follower: Follower, pot: bytes) -> bytes:
    """Return the priced entries of a pot's statement; empty without one."""
    stated = await follower.events(Stated, pot)
    return stated[-1].priced if stated else b""


def _batches(ready: Sequence[_Ready]) -> Iterable[Sequence[_Ready]]:
    return (ready[at : at + POTS_MOST] for at in range(0, len(ready), POTS_MOST))


def _key(pot: Pot) -> tuple[bytes, bytes, int, bytes]:
    return pot.application, pot.service, pot.number, pot.gateway
