"""Who is asked, who waits, who is left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pocketnode.backends.breaker import FAILURES_IN_A_ROW
from pocketnode.backends.degrade import DegradedBackend
from pocketnode.backends.failure import BackendFailed, bad_request
from pocketnode.backends.pool import Member, Pool, Queue
from pocketnode.backends.ports import Exchange
from pocketnode.protocol.fault import FaultClass, RelayFailed
from tests.backends.conftest import RPC, FakeExchange


class FakeBackend:
    """Answers when it is let, or fails as it is told."""

    def __init__(self, name: str, *failures: RelayFailed) -> None:
        self.name = name
        self.identity = name.encode().ljust(32, b"\x00")
        self.facts: dict[str, Any] = {}
        self.failures = list(failures)
        self.asked = 0
        self.checked = 0
        self.sick = False
        self.busy: int | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def answer(self, exchange: Exchange) -> int:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        await self.free.wait()
        return 10

    async def check(self) -> None:
        self.checked += 1
        if self.sick:
            raise BackendFailed("sick")

    async def load(self) -> int | None:
        return self.busy


def pool_of(*backends: FakeBackend, concurrency: int = 2, most: int = 1, wait_s: float = 0.05) -> Pool:
    return Pool([Member(backend, concurrency) for backend in backends], Queue(most, wait_s))


def exchange() -> FakeExchange:
    return FakeExchange(RPC, b"")


async def test_the_one_with_the_most_room_is_asked() -> None:
    one, two = FakeBackend("one"), FakeBackend("two")
    one.free.clear()
    two.free.clear()
    pool = pool_of(one, two)
    asking = [asyncio.ensure_future(pool.answer(exchange())) for _ in range(4)]
    await asyncio.sleep(0)
    assert (one.asked, two.asked) == (2, 2)
    one.free.set()
    two.free.set()
    assert {answered.backend[:3] for answered in await asyncio.gather(*asking)} == {b"one", b"two"}


async def test_beyond_the_queue_it_is_busy_at_once_and_in_the_queue_after_a_while() -> None:
    one = FakeBackend("one")
    one.free.clear()
    pool = pool_of(one, concurrency=1, most=1, wait_s=0.05)
    first = asyncio.ensure_future(pool.answer(exchange()))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(pool.answer(exchange()))
    await asyncio.sleep(0)
    with pytest.raises(RelayFailed) as refused:
        await asyncio.wait_for(pool.answer(exchange()), 0.02)
    assert refused.value.fault.kind is FaultClass.BUSY
    assert refused.value.fault.retry_after_ms >= 50
    with pytest.raises(RelayFailed) as late:
        await waiting
    assert late.value.fault.kind is FaultClass.BUSY
    assert pool.waiting == 0
    one.free.set()
    await first


async def test_who_waits_is_served_when_there_is_room() -> None:
    one = FakeBackend("one")
    one.free.clear()
    pool = pool_of(one, concurrency=1, wait_s=5)
    first = asyncio.ensure_future(pool.answer(exchange()))
    second = asyncio.ensure_future(pool.answer(exchange()))
    await asyncio.sleep(0)
    one.free.set()
    assert (await first).units == (await second).units == 10


async def test_who_came_first_is_served_first() -> None:
    one = FakeBackend("one")
    one.free.clear()
    pool = pool_of(one, concurrency=1, most=5, wait_s=5)
    order: list[int] = []

    async def ask(n: int) -> None:
        await pool.answer(exchange())
        order.append(n)

    asking = [asyncio.ensure_future(ask(n)) for n in range(5)]
    await asyncio.sleep(0)
    one.free.set()
    asking.append(asyncio.ensure_future(ask(5)))
    await asyncio.gather(*asking)
    assert order == [0, 1, 2, 3, 4, 5]


async def test_who_leaves_the_line_takes_no_place_with_it() -> None:
    one = FakeBackend("one")
    one.free.clear()
    pool = pool_of(one, concurrency=1, most=5, wait_s=5)
    first, leaver, last = (asyncio.ensure_future(pool.answer(exchange())) for _ in range(3))
    await asyncio.sleep(0)
    one.free.set()
    await first
    leaver.cancel()  # at the moment at which its place came
    await asyncio.gather(leaver, return_exceptions=True)
    assert (await last).units == 10
    assert pool.in_flight == 0


async def test_a_server_that_others_keep_busy_is_chosen_last() -> None:
    one, two = FakeBackend("one"), FakeBackend("two")
    one.busy, two.busy = 2, 0
    pool = pool_of(one, two)
    await pool.check()
    await pool.answer(exchange())
    assert (one.asked, two.asked) == (0, 1)


async def test_another_is_asked_where_that_is_safe() -> None:
    one, two = FakeBackend("one", BackendFailed("down")), FakeBackend("two")
    assert (await pool_of(one, two).answer(exchange())).backend == two.identity
    one.failures = [BackendFailed("half sent", elsewhere=False)]
    with pytest.raises(BackendFailed, match="half sent"):
        await pool_of(one, two).answer(exchange())
    one.failures = [bad_request("nonsense")]
    pool = pool_of(one, two)
    with pytest.raises(RelayFailed, match="nonsense"):
        await pool.answer(exchange())
    assert pool.members[0].failures == 0, "the client's fault is not the backend's"


async def test_a_connection_gone_stale_is_tried_again_once() -> None:
    one = FakeBackend("one", BackendFailed("closed", again=True))
    assert (await pool_of(one).answer(exchange())).units == 10
    one.failures = [BackendFailed("closed", again=True), BackendFailed("closed", again=True)]
    with pytest.raises(BackendFailed):
        await pool_of(one).answer(exchange())


async def test_one_that_keeps_failing_is_left_alone_until_a_check_succeeds() -> None:
    one, two = FakeBackend("one"), FakeBackend("two")
    one.sick = True
    one.failures = [BackendFailed("down")] * 100
    pool = pool_of(one, two)
    for _ in range(3 * FAILURES_IN_A_ROW):
        await pool.answer(exchange())
    assert one.asked == FAILURES_IN_A_ROW
    assert pool.healthy == 1
    one.failures, one.sick = [], False
    async with asyncio.timeout(5):
        while pool.healthy == 1:
            await pool.check()
            await asyncio.sleep(0.05)
    before = one.asked
    for _ in range(4):
        await pool.answer(exchange())
    assert one.asked > before


async def test_with_none_in_use_it_is_the_backends_fault_at_once() -> None:
    one = FakeBackend("one", *[BackendFailed("down")] * FAILURES_IN_A_ROW)
    pool = pool_of(one)
    for _ in range(FAILURES_IN_A_ROW):
        with pytest.raises(BackendFailed):
            await pool.answer(exchange())
    with pytest.raises(BackendFailed, match="no backend works: down") as failed:
        await asyncio.wait_for(pool.answer(exchange()), 0.02)
    assert failed.value.fault.kind is FaultClass.BACKEND
    assert one.asked == FAILURES_IN_A_ROW


async def test_only_idle_backends_are_checked() -> None:
    one = FakeBackend("one")
    pool = pool_of(one)
    await pool.check()
    await pool.check()
    assert one.checked == 1


async def test_cancelling_gives_the_place_back() -> None:
    one = FakeBackend("one")
    one.free.clear()
    pool = pool_of(one, concurrency=1, wait_s=5)
    first = asyncio.ensure_future(pool.answer(exchange()))
    second = asyncio.ensure_future(pool.answer(exchange()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    one.free.set()
    assert (await second).units == 10
    assert pool.in_flight == 0


async def test_degrading_fails_the_share_that_was_asked_for_the_same_ones_each_time() -> None:
    async def failures(seed: int) -> list[int]:
        backend, failed = DegradedBackend(FakeBackend("one"), 0, 0.2, seed), []
        for n in range(200):
            try:
                await backend.answer(exchange())
            except BackendFailed:
                failed.append(n)
        return failed

    assert 25 <= len(await failures(1)) <= 55
    assert await failures(1) == await failures(1)
    assert await failures(1) != await failures(2)
