"""A supplier that hangs now and then costs its users little, and is scored for it."""

from __future__ import annotations

import asyncio
import random
import time

from hypothesis import given
from hypothesis import strategies as st

from pocketnode.gateway.hedging import BURST, SHARE, Hedging, Tail
from pocketnode.protocol.quality import Verdict
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Start, until
from tests.gateway.market import node


@given(seed=st.integers(), scale=st.floats(0.001, 1))
def test_the_tail_is_learnt(seed: int, scale: float) -> None:
    draw, tail = random.Random(seed), Tail()
    for _ in range(3000):
        tail.observe(scale * (1 + draw.random()))
    assert 1.6 * scale < tail.estimate_s < 2.6 * scale


@given(st.lists(st.booleans(), max_size=400))
def test_the_budget_bounds_what_is_asked_twice(steps: list[bool]) -> None:
    hedging, seen, spent = Hedging(), 0, 0
    for observes in steps:
        if observes:
            hedging.observe("s", "k", 0.01)
            seen += 1
        else:
            spent += hedging.spend()
    assert spent <= BURST + SHARE * seen


async def test_a_late_answer_is_asked_for_twice_and_scored_once_each(start: Start) -> None:
    gateway = await start()
    for n in range(80):
        await gateway.rpc("eth_getCode", hex(n), "0x1")

    async def hangs(relay: Relay) -> Served:
        await asyncio.sleep(1.0)
        return await node(relay)

    late = gateway.suppliers[0]
    late.answers["eth"] = hangs
    before = len(gateway.records())
    started_s = time.monotonic()
    slowest_s = 0.0
    for n in range(20):
        asked_s = time.monotonic()
        assert "result" in await gateway.rpc("eth_getCode", hex(1000 + n), "0x1")
        slowest_s = max(slowest_s, time.monotonic() - asked_s)
    assert slowest_s < 0.8
    await until(lambda: not gateway.daemon.gate.in_flight)
    await asyncio.sleep(max(0.0, 1.5 - (time.monotonic() - started_s)))
    new = gateway.records()[before:]
    assert len(new) == 20 + len([r for r in new if r.index == 0])
    assert all(r.verdict == Verdict.GOOD for r in new)
    assert all(r.first_byte_ms >= 1000 for r in new if r.index == 0)


async def test_a_user_who_leaves_a_hedged_request_leaves_both(start: Start) -> None:
    gateway = await start()
    for n in range(80):
        await gateway.rpc("eth_getCode", hex(n), "0x1")

    async def hangs(relay: Relay) -> Served:
        await asyncio.sleep(5)
        return await node(relay)

    for supplier in gateway.suppliers:
        supplier.answers["eth"] = hangs
    asking = asyncio.create_task(gateway.rpc("eth_getCode", "0x9999", "0x1"))
    await until(lambda: sum(any(b"0x9999" in body for body in s.asked) for s in gateway.suppliers) == 2)
    asking.cancel()
    await until(lambda: sum(s.cancelled for s in gateway.suppliers) == 2)
    await until(lambda: len(gateway.records()) == 82)
    assert [r.verdict for r in gateway.records()[80:]] == [Verdict.NOBODY] * 2
