"""Suppliers of one owner share its part of the traffic, and a retry goes to another owner."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketnode.errors import Unavailable
from pocketnode.gateway.selection import Standing, pick, rank
from tests.gateway.conftest import Start, until
from tests.gateway.market import broken

BIG = b"\x0b" * 20


async def test_owners_are_read_from_the_chain_beside_the_requests(start: Start) -> None:
    gateway = await start(suppliers=3, owners={0: BIG, 1: BIG})
    _, rows = await gateway.admin("/explain/eth?class=quick")
    found = {row["supplier"]: row["owner"] for row in rows}
    keys = ["0x" + supplier.key.address.hex() for supplier in gateway.suppliers]
    big = "0x" + BIG.hex()
    assert found == {keys[0]: big, keys[1]: big, keys[2]: keys[2]}


async def test_a_retry_goes_to_another_owner(start: Start) -> None:
    gateway = await start(suppliers=3, owners={0: BIG, 1: BIG})
    gateway.suppliers[0].answers["eth"] = broken
    for number in range(40):
        assert "result" in await gateway.rpc("eth_getCode", hex(number), "latest")
    records = gateway.records()
    after_fault = [later.index for first, later in itertools.pairwise(records) if not first.units]
    assert after_fault
    assert set(after_fault) == {2}


async def test_who_cannot_be_read_owns_itself(start: Start) -> None:
    gateway = await start(suppliers=1)

    async def unreadable(registration: int) -> bytes:
        raise Unavailable("no node answers")

    gateway.market.owner = unreadable  # type: ignore[method-assign]
    gateway.market.head += 20
    before = gateway.daemon.sessions.all()[0].session.number
    await until(lambda: gateway.daemon.sessions.all()[0].session.number > before)
    assert "result" in await gateway.rpc("eth_getCode", "0x1", "latest")


def test_who_failed_and_rests_is_known_by_its_owner_still() -> None:
    failed = Standing(b"\x01", BIG, resting=True)
    ranking = rank([failed, Standing(b"\x02", BIG), Standing(b"\x03", b"\x03")], 1.0)
    for seed in range(20):
        assert pick(ranking, lambda _: 0, random.Random(seed).random, tried=[failed.operator]) == b"\x03"


@pytest.mark.parametrize("share", [0.3, 0.6])
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_no_owner_gets_more_than_its_share(share: float, seed: int) -> None:
    draw = random.Random(seed)
    # One owner with nine quick suppliers out of twelve: left to chance it would have nine tenths.
    pool = [Standing(bytes([n]), BIG if n < 9 else bytes([n]), latency_ms=1.0 if n < 9 else 5.0) for n in range(12)]
    given_to: Counter[bytes] = Counter()
    for _ in range(200):
        ranking = rank([replace(s, traffic=given_to[s.operator]) for s in pool], share)
        for _ in range(10):
            chosen = pick(ranking, lambda _: 0, draw.random)
            assert chosen is not None
            given_to[chosen] += 1
    of_big = sum(count for operator, count in given_to.items() if operator[0] < 9)
    assert of_big / given_to.total() <= max(share, 1 / 4) + 0.02
