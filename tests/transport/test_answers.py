"""Which answers of a lane are kept, and what a second answer to one Receipt leaves."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.crypto.keccak import keccak
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.types import ZERO32, Receipt, Response, SignedReceipt, SignedResponse
from pocketnode.transport.answers import LEAST, MOST, KeptAnswers, SecondAnswers, gainful, most_of
from pocketnode.transport.ports import Ended, Served
from pocketnode.transport.served import ServedRelay
from pocketnode.wire.pb.relay_pb2 import Done
from tests.transport.conftest import DOMAIN, OK, SUPPLIER, FakeAnswerer, OpenLane
from tests.transport.test_lane import HEAD, until, whole


def answer(seq: int, total: int, hold: int, units: int, sign: bool = False) -> Ended:
    receipt = Receipt(ZERO32, SUPPLIER.address, ZERO32, seq, total, hold, keccak(b"request"))
    digest = receipt_digest(DOMAIN, receipt)
    response = Response(digest, keccak(b"answer"), units, 1, 2, ZERO32)
    told = response_digest(DOMAIN, response)
    signature = SUPPLIER.sign(told) if sign else b""
    return Ended(digest, told, SignedResponse(response, signature), SignedReceipt(receipt, b""))


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100)), max_size=300))
def test_every_answer_that_could_be_claimed_with_more_units_is_kept(relays: list[tuple[int, int, int]]) -> None:
    """Totals rise by what is accepted; a hold is at least the units, and several relays may be in flight."""
    kept, seen, total = KeptAnswers(), list[Ended](), 0
    for seq, (accepted, units, spare) in enumerate(relays):
        total += accepted
        seen.append(answer(seq, total, units + spare, units))
        kept.add(seen[-1])
    assert set(map(id, kept.all())) == {id(one) for one in seen if most_of(one) > total}


def test_a_lane_keeps_what_is_in_flight_and_not_what_it_served() -> None:
    kept = KeptAnswers()
    for seq in range(100_000):
        kept.add(answer(1, 0, 0, 0) if seq % 50 else answer(seq, max(0, seq - 8) * 10, 10, 10))
    assert len(kept._answers) <= 4 * LEAST
    assert len(kept.all()) <= 8


def test_a_lane_of_large_holds_keeps_the_dearest() -> None:
    kept = KeptAnswers()
    for seq in range(5 * MOST):
        kept.add(answer(seq, seq, 10**6 + seq % 7, 1))
    assert len(kept.all()) == MOST
    assert most_of(answer(0, 5 * MOST - 7, 10**6 + 6, 1)) <= max(map(most_of, kept.all()))


@pytest.mark.parametrize(("payload", "units"), [(b"answer", 9), (b"another", 5)])
def test_a_second_end_with_another_response_is_kept_beside_the_first(payload: bytes, units: int) -> None:
    kept = KeptAnswers()
    first = answer(7, 0, 10, 5, sign=True)
    kept.add(first)
    second = SecondAnswers(kept, SUPPLIER.address, DOMAIN)
    if payload == b"another":
        second.begin(7, b"", b"an")
        second.go_on(7, b"other")
    other = replace(first.signed.response, payload=keccak(payload), units=units)
    signature = SUPPLIER.sign(response_digest(DOMAIN, other))
    second.end(Done(seq=7, units=units, first_byte_ms=1, done_ms=2, signature=signature), ZERO32)
    assert [one.signed for one in kept.doubles] == [SignedResponse(other, signature)]
    assert kept.all() == [first, first, *kept.doubles]


def test_neither_the_same_end_again_nor_what_nobody_signed_is_one() -> None:
    kept = KeptAnswers()
    first = answer(7, 0, 10, 5, sign=True)
    kept.add(first)
    second = SecondAnswers(kept, SUPPLIER.address, DOMAIN)
    same = Done(seq=7, units=5, first_byte_ms=1, done_ms=2, signature=first.signed.signature)
    second.end(same, ZERO32)
    second.end(Done(seq=7, units=9, first_byte_ms=1, done_ms=2, signature=first.signed.signature), ZERO32)
    second.end(Done(seq=8, units=9, signature=first.signed.signature), ZERO32)
    assert not kept.doubles


async def test_a_supplier_that_ends_a_relay_twice_is_noticed(lane_to: OpenLane, answerer: FakeAnswerer) -> None:
    async def twice(relay: Any) -> Served:
        await relay.start(OK)
        await relay.write(relay.body)
        ServedRelay.end(relay, 3, ZERO32, SUPPLIER, DOMAIN)
        return Served(10, ZERO32)

    answerer.answer = twice
    lane = await lane_to()
    reply = await lane.relay(HEAD, b"hello", hold=10)
    assert await whole(reply) == b"hello"
    await until(lambda: bool(lane._answers.doubles))
    assert [one.signed.response.units for one in lane._answers.all()] == [3, 3, 10]
    assert not lane.broken


def test_keeping_an_answer_costs_no_copy() -> None:
    kept, one = KeptAnswers(), answer(1, 0, 10, 5)
    before = sys.getrefcount(one)
    kept.add(one)
    assert sys.getrefcount(one) == before + 1
    assert gainful([one]) == [one]
