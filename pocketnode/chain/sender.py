"""Sends transactions of one key: every intent takes effect once, or fails loudly.

One job takes everything to its end. A nonce is given under one lock and written to the journal with the signed bytes
before they are sent; all attempts of an intent share it, so whatever a node does, one of them at most is mined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import explain
from pocketnode.chain.errors import Expired, Refused, Reverted, TransactionFailed
from pocketnode.chain.fees import GWEI, FeePolicy, Offer, bumped, first_offer
from pocketnode.chain.heads import Block, Heads
from pocketnode.chain.signing import signed_transaction
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key, checksum
from pocketnode.errors import NotFound, Unavailable
from pocketnode.store.journal import LIVE, Attempt, Entry, Intent, Journal, Stage

log = structlog.get_logger(__name__)
T = TypeVar("T")

CANCEL_GAS: Final = 21_000
RETRY_S: Final = 1.0
RECHECK_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction that is final: its hash, and its receipt as JSON-RPC gives it."""

    hash: bytes
    block: int
    receipt: dict[str, Any]


class Sender:
    """The one sender of a key. `run` is a job of the daemon; `send` may be called from any task.

    Parameters
    ----------
    confirmations : blocks after its own until a transaction counts as final; 0 for at once.
    low_wei : a gas balance below this is warned of.
    """

    def __init__(
        self,
        rpc: Rpc,
        heads: Heads,
        key: Key,
        journal: Journal,
        chain_id: int,
        confirmations: int = 0,
        policy: FeePolicy = FeePolicy(),  # noqa: B008 - frozen
        low_wei: int = 10**16,
    ) -> None:
        self.address = key.address
        self.balance_wei: int | None = None
        self._rpc, self._heads, self._key, self._journal = rpc, heads, key, journal
        self._chain_id, self._confirmations, self._policy, self._low_wei = chain_id, confirmations, policy, low_wei
        self._reorgs = -1  # of the heads, at the last recheck; a restart rechecks
        self._lock = asyncio.Lock()
        self._work = asyncio.Event()
        self._watched: Block | None = None
        self._waiting: dict[str, list[asyncio.Future[Entry]]] = {}

    async def send(self, intent: Intent) -> Mined:
        """Return once the intent's transaction is final. The same key again returns the same transaction.

        Raises
        ------
        TransactionFailed
            the contract refuses; nothing was changed. The intent may be tried again with `retry`.
        Expired
            its deadline passed before it was mined, and it can no longer be.
        """
        return await self._finished(await self._in_thread(lambda: self._journal.add(intent)))

    async def retry(self, intent: Intent) -> Mined:
        """As `send`, but an intent that failed or expired is tried anew."""
        return await self._finished(await self._in_thread(lambda: self._journal.retry(intent)))

    async def find(self, key: str) -> Entry | None:
        """Return what the journal knows of an intent."""
        try:
            return await self._in_thread(lambda: self._journal.get(key))
        except NotFound:
            return None

    async def run(self) -> None:
        """Take every intent in the journal to its end, until cancelled; begins with what a former run left."""
        head: Block | None = None
        while True:
            head = await self._next_turn(head)
            self._work.clear()
            try:
                if head != self._watched:  # not again for work that came since
                    await self._watch_balance()
                    self._watched = head
                await self._recheck(head)
                for entry in await self._in_thread(self._journal.live):
                    await self._advance(entry, head)
            except Unavailable as error:
                log.warning("sender_waits", sender=checksum(self.address), error=str(error))
                await asyncio.sleep(RETRY_S)
                head = None

    # ---- one turn

    async def _next_turn(self, since: Block | None) -> Block:
        """Wait for a new block or for new work, whichever is first."""
        if self._heads.newest is None or (self._heads.newest == since and not self._work.is_set()):
            tasks = [asyncio.create_task(self._heads.changed(since)), asyncio.create_task(self._work.wait())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
        return self._heads.newest or await self._heads.wait(0)

    async def _recheck(self, head: Block) -> None:
        """After a reorg, look again at what was done not long ago: what fell out of the chain is sent again."""
        if self._reorgs == self._heads.reorgs:
            return
        reorgs = self._heads.reorgs
        for entry in await self._in_thread(lambda: self._journal.recent(head.number - RECHECK_BLOCKS)):
            await self._settle(entry, head)
        self._reorgs = reorgs

    async def _advance(self, entry: Entry, head: Block) -> None:
        """Take one intent one step further."""
        try:
            if entry.stage is Stage.QUEUED:
                await self._begin(entry, head)
            elif await self._settle(entry, head) is None:
                await self._push(entry, head)
        except Reverted as error:
            await self._finish(entry.intent.key, Stage.FAILED, str(error))
        except Refused as error:
            log.warning("transaction_refused", key=entry.intent.key, error=str(error))

    async def _begin(self, entry: Entry, head: Block) -> None:
        """Sign and send the first transaction of an intent."""
        intent = entry.intent
        if intent.deadline is not None and head.number >= intent.deadline:
            await self._finish(intent.key, Stage.EXPIRED, f"not sent by block {intent.deadline}")
            return
        async with self._lock:
            # At once: where the node is slow and blocks are short, a window is soon over.
            gas, tip, pending = await asyncio.gather(self._gas(intent), self._tip(), self._nonce("pending"))
            offer = self._first_offer(intent, gas, tip, head)
            if offer is None:
                return
            nonce = max(pending, await self._in_thread(self._journal.next_nonce))
            attempt = self._signed(intent, nonce, gas, offer, head)
            await self._in_thread(lambda: self._journal.sign(attempt))
        await self._broadcast(attempt)

    def _first_offer(self, intent: Intent, gas: int, tip: int, head: Block) -> Offer | None:
        """Return what to offer for an intent at first; None, and a word in the log, where it has to wait."""
        offer = first_offer(head.base_fee_wei, tip, self._policy)
        if offer is None:
            log.warning("fee_above_cap", key=intent.key, base_fee_wei=head.base_fee_wei, cap_wei=self._policy.cap_wei)
        elif not self._affords(gas, offer, intent.value):
            log.warning(
                "gas_balance_empty", sender=checksum(self.address), key=intent.key, balance_wei=self.balance_wei
            )
            return None
        return offer

    async def _settle(self, entry: Entry, head: Block) -> Stage | None:
        """Look for the intent's transactions in blocks; return None if there is none."""
        for attempt in await self._in_thread(lambda: self._journal.attempts(entry.intent.key)):
            receipt = await self._rpc.ask("eth_getTransactionReceipt", "0x" + attempt.hash.hex())
            if receipt is not None:
                return await self._judge(entry, attempt, receipt, head)
        if entry.stage is not Stage.SENT:
            log.warning("transaction_unwound", key=entry.intent.key, block=entry.block)
            await self._in_thread(lambda: self._journal.unwound(entry.intent.key))
        return None

    async def _judge(self, entry: Entry, attempt: Attempt, receipt: dict[str, Any], head: Block) -> Stage:
        key, block = entry.intent.key, int(receipt["blockNumber"], 16)
        block_hash = bytes.fromhex(receipt["blockHash"][2:])
        if entry.block_hash == block_hash and entry.stage not in LIVE:
            return entry.stage
        if entry.block_hash != block_hash:
            await self._in_thread(lambda: self._journal.mined(key, attempt.hash, block, block_hash))
        if head.number - block < self._confirmations:
            return Stage.MINED
        if attempt.cancels:
            return await self._finish(key, Stage.EXPIRED, f"cancelled after block {entry.intent.deadline}")
        if int(receipt["status"], 16) == 0:
            return await self._finish(key, Stage.FAILED, await self._reason(entry.intent, block))
        return await self._finish(key, Stage.DONE)

    async def _push(self, entry: Entry, head: Block) -> None:
        """Bring a transaction that is in no block closer to one: send it again, offer more, or give it up."""
        attempts = await self._in_thread(lambda: self._journal.attempts(entry.intent.key))
        newest = attempts[-1]
        if await self._nonce_is_gone(newest.nonce, head):
            log.warning("nonce_used_elsewhere", key=entry.intent.key, nonce=newest.nonce)
            await self._in_thread(lambda: self._journal.requeue(entry.intent.key))
            self._work.set()
            return
        late = entry.intent.deadline is not None and head.number > entry.intent.deadline
        if head.number - newest.block >= self._policy.bump_after_blocks or (late and not newest.cancels):
            newest = await self._replace(entry.intent, newest, head, cancel=late)
        await self._broadcast(newest)

    async def _replace(self, intent: Intent, before: Attempt, head: Block, cancel: bool) -> Attempt:
        offer = bumped(Offer(before.fee_wei, before.tip_wei), head.base_fee_wei, await self._tip(), self._policy)
        if offer is None or not self._affords(before.gas, offer, intent.value):
            return before
        replaced = Intent(intent.key, self.address, b"") if cancel else intent
        attempt = self._signed(replaced, before.nonce, CANCEL_GAS if cancel else before.gas, offer, head, cancel)
        log.info("transaction_replaced", key=intent.key, nonce=before.nonce, fee_wei=offer.fee_wei, cancel=cancel)
        await self._in_thread(lambda: self._journal.sign(attempt))
        return attempt

    async def _broadcast(self, attempt: Attempt) -> None:
        """Give a transaction to the nodes. What they say about it is only logged: blocks decide."""
        try:
            await self._rpc.ask("eth_sendRawTransaction", "0x" + attempt.raw.hex())
        except Refused as error:
            if not _is_known(error.message):
                log.warning("transaction_not_taken", key=attempt.key, nonce=attempt.nonce, error=error.message)

    async def _finish(self, key: str, stage: Stage, error: str | None = None) -> Stage:
        await self._in_thread(lambda: self._journal.finish(key, stage, error))
        log.info("transaction_ended", key=key, stage=str(stage), error=error)
        entry = await self._in_thread(lambda: self._journal.get(key))
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(entry)
        return stage

    # ---- for callers

    async def _finished(self, entry: Entry) -> Mined:
        key = entry.intent.key
        if entry.stage in LIVE:
            future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(key, []).append(future)
            self._work.set()
            entry = await future
        if entry.stage is Stage.EXPIRED:
            raise Expired(key, entry.intent.deadline or 0)
        if entry.stage is Stage.FAILED:
            raise TransactionFailed(key, entry.error or "refused")
        assert entry.mined is not None
        receipt = await self._rpc.ask("eth_getTransactionReceipt", "0x" + entry.mined.hex())
        return Mined(entry.mined, entry.block or 0, receipt or {})

    # ---- reading the chain

    def _affords(self, gas: int, offer: Offer, value_wei: int) -> bool:
        """Return whether the balance pays for a transaction; a node would not even take it otherwise."""
        return self.balance_wei is None or self.balance_wei >= gas * offer.fee_wei + value_wei

    async def _gas(self, intent: Intent) -> int:
        try:
            estimate = int(await self._rpc.ask("eth_estimateGas", self._call(intent)), 16)
        except Refused as error:
            raise explain(error) from error
        return estimate + estimate * self._policy.gas_margin // 100

    async def _reason(self, intent: Intent, block: int) -> str:
        """Return why an intent reverted in a block, found by doing it once more on the block before."""
        try:
            await self._rpc.ask("eth_call", self._call(intent), hex(block - 1))
        except Refused as error:
            return f"reverted in block {block}: {explain(error)}"
        return f"reverted in block {block}"

    def _call(self, intent: Intent) -> dict[str, str]:
        call = {"from": _hex(self.address), "data": _hex(intent.data), "value": hex(intent.value)}
        return call if intent.target is None else {**call, "to": _hex(intent.target)}

    async def _tip(self) -> int:
        try:
            return int(await self._rpc.ask("eth_maxPriorityFeePerGas"), 16)
        except Refused:  # a node without this method
            return GWEI

    async def _nonce(self, tag: str) -> int:
        return int(await self._rpc.ask("eth_getTransactionCount", _hex(self.address), tag), 16)

    async def _nonce_is_gone(self, nonce: int, head: Block) -> bool:
        """Return whether another transaction used the nonce, deep enough to be believed."""
        settled = max(0, head.number - max(1, self._confirmations))
        return await self._nonce(hex(settled)) > nonce

    async def _watch_balance(self) -> None:
        before = self.balance_wei
        self.balance_wei = balance = int(await self._rpc.ask("eth_getBalance", _hex(self.address), "latest"), 16)
        if balance < self._low_wei and (before is None or before >= self._low_wei):
            log.warning("gas_balance_low", sender=checksum(self.address), balance_wei=balance, low_wei=self._low_wei)

    def _signed(
        self, intent: Intent, nonce: int, gas: int, offer: Offer, head: Block, cancels: bool = False
    ) -> Attempt:
        target, fees = intent.target or b"", (offer.tip_wei, offer.fee_wei)
        raw = signed_transaction(self._key, self._chain_id, nonce, *fees, gas, target, intent.value, intent.data)
        return Attempt(keccak(raw), intent.key, nonce, raw, offer.fee_wei, offer.tip_wei, gas, head.number, cancels)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)


def _is_known(message: str) -> bool:
    """Return whether a node says that it has the transaction, or that it (or its replacement) is mined by now."""
    words = message.lower()
    known = ("already known", "already imported", "known transaction", "alreadyknown", "nonce too low")
    return any(each in words for each in known)


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
