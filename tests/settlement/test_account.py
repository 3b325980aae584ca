"""What a gateway states, and what a supplier proves: laws of the pure parts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.quality import Slo, Verdict
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.types import Entry, Receipt, Response, SignedReceipt, SignedResponse
from pocketnode.settlement.account import amounts_of, entries_of, lines_of, within_cap
from pocketnode.settlement.proof import LANES_MOST, proof_of
from pocketnode.store.receipts import KeptReceipt

DOMAIN = Domain(31337, b"c" * 20)
GATEWAY, SUPPLIER = Key(b"\x01" * 32), Key(b"\x02" * 32)
SLO = Slo(first_byte_ms=250)

entries = st.dictionaries(st.integers(0, 2**32 - 1), st.integers(1, 2**64 - 1), min_size=1, max_size=24)


def kept(lane: int, total: int, hold: int = 0, units: int | None = None) -> KeptReceipt:
    receipt = Receipt(b"s" * 32, SUPPLIER.address, lane.to_bytes(32, "big"), 1, total, hold)
    digest = receipt_digest(DOMAIN, receipt)
    answer = None
    if units is not None:
        response = Response(digest, b"p" * 32, units, 1, 2, b"b" * 32)
        answer = SignedResponse(response, SUPPLIER.sign(response_digest(DOMAIN, response)))
    signed = SignedReceipt(receipt, GATEWAY.sign(digest))
    return KeptReceipt(b"a" * 20, b"v" * 32, 7, GATEWAY.address, signed, answer)


@given(units=entries, price=st.integers(0, 2**64 - 1), cap=st.integers(0, 2**96 - 1))
def test_a_statement_never_costs_more_than_the_cap_and_is_whole_under_it(
    units: dict[int, int], price: int, cap: int
) -> None:
    stated = [Entry(index, of, 10_000) for index, of in sorted(units.items())]
    prices = dict.fromkeys(units, price)
    cut = within_cap(stated, prices, cap)
    assert amounts_of(cut, prices) <= cap
    assert all(0 < entry.units <= units[entry.index] for entry in cut)
    if amounts_of(stated, prices) <= cap:
        assert cut == stated


def test_records_become_units_and_quality_by_supplier() -> None:
    def relay(index: int, units: int, verdict: Verdict) -> RelayRecord:
        return RelayRecord(bytes(32), bytes(32), index, units, 10, 20, int(verdict))

    records = [relay(3, 5, Verdict.GOOD)] * 10 + [relay(1, 7, Verdict.GOOD), relay(2, 0, Verdict.FAULT)]
    stated = entries_of(lines_of(records, SLO), w_min=5_000)
    assert [(entry.index, entry.units) for entry in stated] == [(1, 7), (3, 50)]
    assert all(9_000 < entry.quality <= 10_000 for entry in stated)


def test_a_proof_counts_totals_and_what_was_answered_up_to_the_hold() -> None:
    proof = proof_of([kept(2, 100, hold=50, units=80), kept(1, 7), kept(3, 5, hold=50)], DOMAIN)
    assert proof.units == 100 + 50 + 7 + 5
    assert [lane["lane"][-1] for lane in proof.lanes] == [1, 2, 3]
    assert [answer["position"] for answer in proof.responses] == [1]


def test_a_lane_that_another_signed_is_left_out() -> None:
    good, bad = kept(1, 7), kept(2, 9)
    forged = replace(bad, receipt=replace(bad.receipt, signature=SUPPLIER.sign(b"x" * 32)))
    proof = proof_of([good, forged], DOMAIN)
    assert (proof.units, len(proof.lanes), proof.refused) == (7, 1, 1)


def test_a_response_that_does_not_hold_adds_nothing() -> None:
    one = kept(1, 7, hold=50, units=20)
    assert one.response is not None
    other = replace(one.response, response=replace(one.response.response, units=40))
    assert proof_of([replace(one, response=other)], DOMAIN).units == 7


@given(st.integers(0, 1))
def test_a_wrong_v_is_put_right(v: int) -> None:
    one = kept(1, 7)
    turned = replace(one, receipt=replace(one.receipt, signature=one.receipt.signature[:64] + bytes((27 + v,))))
    (lane,) = proof_of([turned], DOMAIN).lanes
    assert lane["v"] == one.receipt.signature[64]


def test_the_best_lanes_are_claimed_where_there_are_too_many() -> None:
    one = kept(1, 7)
    many = [replace(one, receipt=replace(one.receipt, receipt=replace(one.receipt.receipt, total=n))) for n in range(3)]
    assert proof_of(many * LANES_MOST, DOMAIN).refused == LANES_MOST  # each is looked at once, the worst not at all
