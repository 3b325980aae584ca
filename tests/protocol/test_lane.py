"""What a lane owes never falls, and both ends agree on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.errors import LocalError, RemoteError
from pocketnode.protocol import lane as lanes
from pocketnode.protocol.lane import GatewayLane, SupplierLane
from pocketnode.protocol.types import ZERO32, Receipt

numbers = st.integers(0, 50)
receipts = st.builds(
    Receipt, st.just(ZERO32), st.just(b"\x00" * 20), st.just(ZERO32), numbers, numbers, numbers, st.just(ZERO32)
)


@given(st.lists(receipts))
def test_what_a_lane_owes_never_falls(seen: list[Receipt]) -> None:
    lane = SupplierLane()
    for receipt in seen:
        before = lane
        try:
            lane = lanes.accept(lane, receipt)
        except RemoteError as error:
            assert error.rule == "3.4"
            assert lane == before
        assert lane.total >= before.total
        assert lane.seq >= before.seq


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "raise", "answer", "accept", "bare"]), st.integers(1, 40)), max_size=60)
)
def test_both_ends_agree(steps: list[tuple[str, int]]) -> None:
    """Whatever an honest gateway does, its supplier accepts it, and never counts less at risk than there is."""
    gateway, supplier = GatewayLane(ZERO32, b"\x00" * 20, b"\x01" * 32), SupplierLane()
    held: list[Receipt] = []
    unaccepted: list[int] = []
    for step, amount in steps:
        if step == "ask":
            gateway, receipt = lanes.request_receipt(gateway, b"\x02" * 32, amount)
            supplier = lanes.accept(supplier, receipt)
            held.append(receipt)
        elif step == "raise" and held:
            gateway, receipt = lanes.raised_receipt(gateway, held[0], held[0].hold + amount)
            supplier = lanes.raise_hold(supplier, held[0], receipt)
            held[0] = receipt
        elif step == "answer" and held:
            done = held.pop(0)
            supplier = lanes.answered(supplier, done.hold, min(amount, done.hold))
            unaccepted.append(min(amount, done.hold))
        elif step == "accept" and unaccepted:
            gateway = lanes.accepted(gateway, unaccepted.pop(0))
        elif step == "bare":
            gateway, receipt = lanes.bare_receipt(gateway)
            supplier = lanes.accept(supplier, receipt)
        assert supplier.total <= gateway.total <= supplier.served
        assert supplier.unacknowledged == supplier.served - supplier.total + sum(r.hold for r in held)


def test_a_raised_hold_must_rise_and_be_of_the_same_request() -> None:
    held = Receipt(ZERO32, b"\x00" * 20, ZERO32, 1, 0, 10, b"\x01" * 32)
    lane = lanes.accept(SupplierLane(), held)
    other = Receipt(ZERO32, b"\x00" * 20, ZERO32, 1, 0, 20, b"\x02" * 32)
    for wrong in (held, other):
        with pytest.raises(RemoteError) as caught:
            lanes.raise_hold(lane, held, wrong)
        assert caught.value.rule == "3.11"


def test_an_answer_never_costs_more_than_held() -> None:
    lane = lanes.accept(SupplierLane(), Receipt(ZERO32, b"\x00" * 20, ZERO32, 1, 0, 10, ZERO32))
    with pytest.raises(LocalError):
        lanes.answered(lane, 10, 11)
