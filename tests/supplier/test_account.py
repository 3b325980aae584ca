"""What a gateway may cost, and that its credit always adds up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.types import (
    ZERO32,
    Grant,
    Receipt,
    Response,
    Session,
    SessionSupplier,
    SignedReceipt,
    SignedResponse,
)
from pocketnode.supplier.account import Credit, GatewayAccount, Pot
from pocketnode.transport.ports import LaneTerms

US = SessionSupplier(0, 7, b"\x01" * 20, 1_000_000, "here:1", ZERO32)
SESSION = Session(b"\x05" * 32, b"\xaa" * 20, b"eth".ljust(32, b"\x00"), 2, 140, 159, True, (US, replace(US, index=1)))


@dataclass
class Clock:
    number: int = 150


@dataclass
class Kept:
    receipts: list[SignedReceipt] = field(default_factory=list)
    responses: list[SignedResponse] = field(default_factory=list)

    def acknowledged(self, account: GatewayAccount, receipt: SignedReceipt) -> None:
        self.receipts.append(receipt)

    def responded(self, account: GatewayAccount, receipt: SignedReceipt, response: SignedResponse) -> None:
        self.responses.append(response)


def receipt(total: int = 0, hold: int = 0, lane: bytes = b"l" * 32, seq: int = 1) -> SignedReceipt:
    return SignedReceipt(Receipt(SESSION.id, US.operator, lane, seq, total, hold), b"s" * 65)


def response(units: int) -> SignedResponse:
    return SignedResponse(Response(ZERO32, ZERO32, units, 1, 2, ZERO32), b"r" * 65)


def account(credit: Credit, cap: int = 10**9, price: int = 1_000_000, clock: Clock | None = None) -> GatewayAccount:
    us = replace(US, price=price)
    pot = Pot(SESSION, b"\x02" * 20, us, Grant(cap, 9))
    return GatewayAccount(pot, credit, LaneTerms(credit.limit), Kept(), clock or Clock(), SESSION.end + 2)


def refusal(held: GatewayAccount, units: int) -> tuple[FaultClass, str]:
    with pytest.raises(RelayFailed) as refused:
        held.hold(units)
    return refused.value.fault.kind, refused.value.fault.message


def test_holds_and_what_is_unpaid_share_one_limit_over_all_sessions_of_a_gateway() -> None:
    credit = Credit(100)
    one, two = account(credit), account(credit)
    one.hold(60)
    two.hold(40)
    kind, said = refusal(one, 1)
    assert kind is FaultClass.OUT_OF_BUDGET
    assert "3.6" in said
    one.release(60, 50)
    two.hold(10)
    assert refusal(two, 1)[0] is FaultClass.OUT_OF_BUDGET
    one.acknowledge(receipt(50), 50)
    two.hold(50)


def test_the_guarantee_is_the_cap_shared_by_the_suppliers_at_our_price() -> None:
    assert account(Credit(1), cap=60).pot.guarantee == 30
    assert account(Credit(1), cap=60, price=2_000_000).pot.guarantee == 15
    assert account(Credit(1), cap=60, price=0).pot.guarantee == 2**63
    short = account(Credit(1000), cap=60)
    short.hold(30)
    short.release(30, 30)
    short.acknowledge(receipt(30), 30)
    kind, said = refusal(short, 1)
    assert kind is FaultClass.OUT_OF_BUDGET
    assert "3.8" in said


def test_what_replicas_keep_counts_against_the_guarantee_and_our_own_is_not_counted_twice() -> None:
    shared = account(Credit(1000), cap=60)
    shared.hold(10)
    shared.release(10, 10)
    shared.acknowledge(receipt(10), 10)
    shared.count_elsewhere(20)
    assert shared.owed_units == 30, "none of the 20 are ours: they are not saved yet"
    kind, said = refusal(shared, 1)
    assert kind is FaultClass.OUT_OF_BUDGET
    assert "3.8" in said
    shared.unsaved = 0
    shared.count_elsewhere(30)
    assert (shared.elsewhere, shared.owed_units) == (20, 30)
    shared.count_elsewhere(5)
    assert shared.elsewhere == 0, "a store that lags behind us takes nothing away"


def test_a_statement_need_not_name_what_was_answered_after_the_end() -> None:
    clock = Clock()
    held = account(Credit(1000), clock=clock)
    for number, units in ((SESSION.end, 70), (SESSION.end + 1, 30)):
        clock.number = number
        held.hold(100)
        held.release(100, units)
    assert held.statable_units == 70
    held.acknowledge(receipt(total=90), 90)
    assert held.statable_units == 90


def test_after_the_grace_blocks_nothing_is_served() -> None:
    clock = Clock(161)
    late = account(Credit(100), clock=clock)
    late.hold(1)
    clock.number = 162
    assert refusal(late, 1)[0] is FaultClass.NOT_IN_SESSION


def test_while_the_disk_does_not_keep_up_it_is_busy() -> None:
    slow = account(Credit(100))
    slow.acknowledge(receipt(101), 101)
    assert refusal(slow, 1)[0] is FaultClass.BUSY
    slow.unsaved = 0
    slow.hold(1)


def test_a_gateway_cannot_make_room_by_acknowledging_more_than_was_served() -> None:
    credit = Credit(100)
    eager = account(credit)
    eager.acknowledge(receipt(1000), 1000)
    assert credit.at_risk == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=60))
def test_what_is_at_risk_is_what_is_held_and_unacknowledged(steps: list[tuple[int, int, bool]]) -> None:
    credit = Credit(200)
    accounts = [account(credit), account(credit)]
    total = 0
    for held, served, acknowledged in steps:
        one = accounts[held % 2]
        try:
            one.hold(held)
        except RelayFailed:
            continue
        one.release(held, min(held, served))
        if acknowledged:
            total += one.unacknowledged
            one.acknowledge(receipt(total), one.unacknowledged)
            one.unsaved = 0
        assert credit.at_risk == sum(a.unacknowledged + a.held for a in accounts) <= credit.limit
    for one in accounts:
        one.forget()
    assert credit.at_risk == 0
