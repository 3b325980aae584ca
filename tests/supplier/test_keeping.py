"""Receipts on their way to disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

import pytest
from sqlalchemy import Engine

from pocketnode.errors import Unavailable
from pocketnode.store.receipts import KeptReceipt, ReceiptStore
from pocketnode.supplier.account import Credit
from pocketnode.supplier.keeping import Keeper
from tests.supplier.test_account import SESSION, account, receipt, response


class FakeStore:
    """Keeps in memory, or fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.batches: list[list[KeptReceipt]] = []
        self.threads: set[int] = set()

    def keep(self, newest: Iterable[KeptReceipt]) -> None:
        self.threads.add(threading.get_ident())
        if self.failures:
            self.failures -= 1
            raise Unavailable("disk full")
        self.batches.append(list(newest))


async def test_of_each_lane_only_what_proves_most_is_written_off_the_loop() -> None:
    store = FakeStore()
    keeper, owner = Keeper(store), account(Credit(1000))
    for seq in range(1, 50):
        keeper.acknowledged(owner, receipt(seq * 10, 10, b"a" * 32, seq))
    keeper.acknowledged(owner, receipt(5, 0, b"b" * 32))
    await keeper.flush()
    (batch,) = store.batches
    assert sorted(kept.receipt.receipt.total for kept in batch) == [5, 490]
    assert threading.get_ident() not in store.threads
    assert keeper.pending == 0


async def test_a_response_proves_more_than_the_next_bare_receipt_may() -> None:
    store = FakeStore()
    keeper, owner = Keeper(store), account(Credit(1000))
    keeper.acknowledged(owner, receipt(100, 50, seq=1))
    keeper.responded(owner, receipt(100, 50, seq=1), response(40))
    keeper.acknowledged(owner, receipt(100, 50, seq=2))
    await keeper.flush()
    assert store.batches[0][0].units == 140
    keeper.acknowledged(owner, receipt(140, 0, seq=3))
    await keeper.flush()
    assert store.batches[1][0].receipt.receipt.seq == 3


async def test_what_was_not_written_is_kept_for_the_next_time() -> None:
    store = FakeStore(failures=1)
    keeper, owner = Keeper(store), account(Credit(1000))
    owner.unsaved = 10
    keeper.acknowledged(owner, receipt(10))
    with pytest.raises(Unavailable):
        await keeper.flush()
    assert owner.unsaved == 10
    keeper.acknowledged(owner, receipt(30, seq=2))
    await keeper.flush()
    assert store.batches[0][0].receipt.receipt.total == 30
    assert owner.unsaved == 0


async def test_running_it_writes_soon_and_a_last_time_at_the_end() -> None:
    store = FakeStore()
    keeper, owner = Keeper(store), account(Credit(1000))
    running = asyncio.ensure_future(keeper.run())
    keeper.acknowledged(owner, receipt(10))
    await asyncio.sleep(0.5)
    assert store.batches[0][0].receipt.receipt.total == 10
    keeper.acknowledged(owner, receipt(20, seq=2))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert store.batches[-1][0].receipt.receipt.total == 20


async def test_the_real_store_takes_it(engine: Engine) -> None:
    store = ReceiptStore(engine)
    keeper, owner = Keeper(store), account(Credit(1000))
    keeper.acknowledged(owner, receipt(10, 5))
    keeper.responded(owner, receipt(10, 5), response(4))
    await keeper.flush()
    (kept,) = store.lanes(SESSION.id, owner.pot.gateway)
    assert kept.units == 14
