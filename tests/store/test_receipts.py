"""Of each lane the Receipt that proves most stays, whatever order they come in."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from pocketnode.protocol.types import Receipt, Response, SignedReceipt, SignedResponse
from pocketnode.store.engine import open_store
from pocketnode.store.receipts import KeptReceipt, ReceiptStore

SESSION, GATEWAY, SUPPLIER = b"s" * 32, b"g" * 20, b"o" * 20
UINT128 = 2**128 - 1


def kept(seq: int, total: int, hold: int = 0, units: int | None = None, lane: int = 0) -> KeptReceipt:
    receipt = Receipt(SESSION, SUPPLIER, lane.to_bytes(32, "big"), seq, total, hold)
    answer = (
        None if units is None else SignedResponse(Response(b"d" * 32, b"p" * 32, units, 1, 2, b"b" * 32), b"y" * 65)
    )
    return KeptReceipt(b"a" * 20, b"v" * 32, 7, GATEWAY, SignedReceipt(receipt, b"x" * 65), answer)


@st.composite
def any_kept(draw: st.DrawFn) -> KeptReceipt:
    big = st.integers(0, UINT128) | st.integers(0, 5)
    units = draw(st.none() | big)
    return kept(
        draw(st.integers(1, 2**64 - 1) | st.integers(1, 3)), draw(big), draw(big), units, draw(st.integers(0, 2))
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(any_kept(), max_size=12))
def test_no_order_of_keeping_ever_lowers_what_is_proven(receipts: list[KeptReceipt]) -> None:
    store = ReceiptStore(open_store("sqlite://"))
    best: dict[bytes, int] = {}
    for one in receipts:
        store.keep([one])
        lane = one.receipt.receipt.lane
        best[lane] = max(best.get(lane, 0), one.units)
        assert {k.receipt.receipt.lane: k.units for k in store.lanes(SESSION, GATEWAY)} == best


def test_what_is_kept_comes_back_whole(engine: Engine) -> None:
    store = ReceiptStore(engine)
    one = kept(2**64 - 1, UINT128, UINT128, 5)
    store.keep([one])
    assert store.lanes(SESSION, GATEWAY) == [one]
    assert ReceiptStore(engine).lanes(SESSION, GATEWAY, SUPPLIER) == [one]
    assert store.lanes(SESSION, GATEWAY, b"z" * 20) == []


def test_a_newer_receipt_that_proves_as_much_replaces(engine: Engine) -> None:
    store = ReceiptStore(engine)
    store.keep([kept(1, 100), kept(2, 100, 30)])
    assert store.lanes(SESSION, GATEWAY) == [kept(2, 100, 30)]
    store.keep([kept(1, 100)])
    assert store.lanes(SESSION, GATEWAY) == [kept(2, 100, 30)]


def test_an_answered_receipt_stays_until_the_newer_one_proves_as_much(engine: Engine) -> None:
    store = ReceiptStore(engine)
    store.keep([kept(1, 0, 50, units=50)])
    store.keep([kept(2, 0, 50)])  # signed before the first answer came back
    assert store.lanes(SESSION, GATEWAY) == [kept(1, 0, 50, units=50)]
    store.keep([kept(3, 50, 50)])
    assert store.lanes(SESSION, GATEWAY) == [kept(3, 50, 50)]


def test_a_pot_is_listed_until_it_is_dropped(engine: Engine) -> None:
    store = ReceiptStore(engine)
    store.keep([kept(1, 5), kept(1, 5, lane=1), replace(kept(1, 9), number=8, gateway=b"h" * 20)])
    first, second = store.pots()
    assert (first.number, second.number) == (7, 8)
    store.drop(first)
    assert store.pots() == [second]
    assert store.lanes(SESSION, GATEWAY) == []
