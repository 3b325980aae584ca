"""The pay formula: conserves to the base unit, never lets the payer gain by bad quality."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.errors import RemoteError
from pocketnode.protocol.statement import FULL, Demand, amount_down, divide, pack, unpack
from pocketnode.protocol.types import Entry
from tests.protocol.values import params

amounts = st.integers(0, 2**96 // 64) | st.integers(0, 1000)
qualities = st.integers(5000, 10_000)
demands = st.lists(st.builds(Demand, stated=amounts, quality=qualities, excess=amounts), max_size=24)
stated_only = st.lists(st.builds(Demand, stated=amounts, quality=qualities), min_size=1, max_size=24)
fees = st.integers(0, 1000)
shares = st.integers(0, 5000)


@given(demands=demands, available=st.integers(0, 2**96), fee=fees, share=shares)
def test_pay_and_fee_are_the_debit_to_the_base_unit(
    demands: list[Demand], available: int, fee: int, share: int
) -> None:
    n = max(1, len(demands))
    got = divide(demands, available, n, params(fee=fee, quality_share=share))
    assert sum(got.pay) + got.fee == got.debit
    assert got.fee >= 0
    assert all(pay >= 0 for pay in got.pay)
    assert got.debit == min(available, sum(d.whole for d in demands))


@given(demands=stated_only, others=st.lists(qualities, min_size=24, max_size=24))
def test_the_debit_does_not_depend_on_quality(demands: list[Demand], others: list[int]) -> None:
    changed = [Demand(d.stated, w) for d, w in zip(demands, others, strict=False)]
    one, two = (divide(each, 2**96, len(demands), params()) for each in (demands, changed))
    assert one.debit == two.debit


@given(demands=stated_only)
def test_the_multiplier_lies_in_its_bounds(demands: list[Demand]) -> None:
    """With b = 20% and w_min = 0.5: between 0.90 and 1.20 of the net amount, dust aside."""
    p = params()
    for demand, pay in zip(demands, divide(demands, 2**96, len(demands), p).pay, strict=True):
        net = demand.stated * (FULL - p.fee) // FULL
        assert net * 90 // 100 - 2 <= pay <= net * 120 // 100 + 2


@given(demands=stated_only)
def test_equal_quality_pays_by_amount_alone(demands: list[Demand]) -> None:
    equal = [Demand(d.stated, 8000) for d in demands]
    p = params()
    for demand, pay in zip(equal, divide(equal, 2**96, len(equal), p).pay, strict=True):
        assert pay == (FULL - p.fee) * demand.stated // FULL


@given(stated=st.integers(10**6, 2**90), w=st.integers(5000, 9999))
def test_better_quality_earns_more(stated: int, w: int) -> None:
    pay = divide([Demand(stated, w), Demand(stated, w + 1)], 2**96, 2, params()).pay
    assert pay[0] <= pay[1]
    if stated > 10**9:
        assert pay[0] < pay[1]


@given(demands=demands.filter(lambda ds: any(d.whole for d in ds)), data=st.data())
def test_a_short_pot_pays_everybody_the_guarantee_first(demands: list[Demand], data: st.DataObject) -> None:
    whole = sum(d.whole for d in demands)
    available = data.draw(st.integers(0, whole - 1))
    p = params(fee=0)
    got = divide(demands, available, len(demands), p)
    guarantee = available // len(demands)
    for demand, pay in zip(demands, got.pay, strict=True):
        assert min(demand.whole, guarantee) <= pay <= demand.whole


@given(
    st.lists(
        st.builds(Entry, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), qualities), unique_by=lambda e: e.index
    )
)
def test_entries_survive_packing(entries: list[Entry]) -> None:
    packed = pack(entries)
    assert unpack(packed) == tuple(sorted((e for e in entries if e.units), key=lambda e: e.index))
    assert len(packed) % 14 == 0


@pytest.mark.parametrize("packed", [b"\x00", b"\x00" * 14, pack([Entry(1, 1, 9000)]) * 2])
def test_malformed_entries_are_refused(packed: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        unpack(packed)
    assert caught.value.rule == "5.3"


@given(units=st.integers(0, 2**64 - 1), price=st.integers(0, 2**64 - 1))
def test_amounts_round_down(units: int, price: int) -> None:
    amount = amount_down(units, price)
    assert amount * 10**6 <= units * price < (amount + 1) * 10**6
