"""Brings Receipts to disk: at once to a log, so that a kill loses none, and in batches to the store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from pocketnode.errors import Unavailable
from pocketnode.protocol.types import SignedReceipt, SignedResponse
from pocketnode.store.receipt_log import ReceiptLog
from pocketnode.store.receipts import KeptReceipt
from pocketnode.supplier.account import GatewayAccount
from pocketnode.supplier.ports import Receipts

EVERY_S = 0.1
RETRY_S = 1.0
_log = structlog.get_logger("supplier.keeping")


@dataclass(slots=True)
class _Newest:
    """The Receipt of a lane that proves most and is not on disk yet; `worth` is what it proves, in units."""

    account: GatewayAccount
    receipt: SignedReceipt
    response: SignedResponse | None
    worth: int


class Keeper:
    """Implements `account.Kept`.

    Parameters
    ----------
    store : where receipts go; called in a thread.
    log : where they stand until then; without one a kill loses the last 200 ms of them.
    """

    def __init__(self, store: Receipts, log: ReceiptLog | None = None) -> None:
        self._store = store
        self._log = log
        self._newest: dict[bytes, _Newest] = {}
        self._urgent = asyncio.Event()
        self._writing = asyncio.Lock()
        self.failures = 0

    @property
    def pending(self) -> int:
        """Lanes whose newest Receipt is not on disk."""
        return len(self._newest)

    def acknowledged(self, account: GatewayAccount, receipt: SignedReceipt) -> None:
        """Take a Receipt, unless an older one with our Response proves more."""
        worth = receipt.receipt.total
        known = self._newest.get(receipt.receipt.lane)
        if known is None or worth >= known.worth:
            self._take(_Newest(account, receipt, None, worth))
        if account.unsaved * 2 > account.terms.credit_limit:
            self._urgent.set()

    def responded(self, account: GatewayAccount, receipt: SignedReceipt, response: SignedResponse) -> None:
        """Take our Response to a Receipt: together they prove what it cost as well (rule 5.7)."""
        worth = receipt.receipt.total + min(receipt.receipt.hold, response.response.units)
        known = self._newest.get(receipt.receipt.lane)
        if known is None or worth >= known.worth:
            self._take(_Newest(account, receipt, response, worth))

    def _take(self, newest: _Newest) -> None:
        self._newest[newest.receipt.receipt.lane] = newest
        if self._log is not None:
            self._log.note(_kept(newest))

    async def run(self) -> None:
        """Write every 100 ms, at once where much is unsaved, and a last time when cancelled."""
        try:
            while True:
                await self._pause(EVERY_S)
                try:
                    await self.flush()
                except Unavailable as error:
                    self.failures += 1
                    _log.error("receipts not written", reason=str(error), lanes=self.pending)
                    await asyncio.sleep(RETRY_S)
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Bring everything taken so far to disk.

        Raises
        ------
        Unavailable
            the store did not take it; it is kept for the next time.
        """
        async with self._writing:
            batch, self._newest = self._newest, {}
            if not batch:
                return
            if self._log is not None:
                self._log.turn()
            saved = {newest.account: newest.account.unsaved for newest in batch.values()}
            try:
                await asyncio.to_thread(self._store.keep, [_kept(newest) for newest in batch.values()])
            except Unavailable:
                self._put_back(batch)
                raise
            if self._log is not None:
                self._log.committed()
            for account, units in saved.items():
                account.unsaved -= units

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
        except TimeoutError:
            pass
        self._urgent.clear()

    def _put_back(self, batch: dict[bytes, _Newest]) -> None:
        for lane, newest in batch.items():
            since = self._newest.get(lane)
            if since is None or since.worth < newest.worth:
                self._newest[lane] = newest


def _kept(newest: _Newest) -> KeptReceipt:
    session = newest.account.pot.session
    return KeptReceipt(
        session.application,
        session.service,
        session.number,
        newest.account.pot.gateway,
        newest.receipt,
        newest.response,
    )
