"""Quality lies in its bounds, rises with good service, and is the same from the same records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.errors import RemoteError
from pocketnode.protocol import record as records
from pocketnode.protocol.quality import Slo, Tally, Verdict, count, meets, quality, tally_of
from pocketnode.protocol.record import RECORD_BYTES, RelayRecord

hashes = st.binary(min_size=32, max_size=32)
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
any_record = st.builds(RelayRecord, hashes, hashes, u32, u64, u32, u32, st.sampled_from(Verdict).map(int))
SLO = Slo(first_byte_ms=250)


def of(verdict: Verdict, first_byte_ms: int = 10, units: int = 10, done_ms: int = 20) -> RelayRecord:
    return RelayRecord(b"\x00" * 32, b"\x00" * 32, 0, units, first_byte_ms, done_ms, verdict)


@given(st.lists(any_record, max_size=200), st.integers(1000, 10_000))
def test_quality_lies_in_its_bounds(seen: list[RelayRecord], w_min: int) -> None:
    assert w_min <= quality(tally_of(seen, SLO), w_min) <= 10_000


@given(st.lists(any_record, max_size=50))
def test_one_more_good_answer_never_hurts(seen: list[RelayRecord]) -> None:
    before = tally_of(seen, SLO)
    after = count(before, of(Verdict.GOOD), SLO)
    assert quality(after, 5000) >= quality(before, 5000)


@given(st.lists(any_record, max_size=50), st.sampled_from([Verdict.FAULT, Verdict.TIMEOUT]))
def test_one_more_failure_never_helps(seen: list[RelayRecord], verdict: Verdict) -> None:
    before = tally_of(seen, SLO)
    assert quality(count(before, of(verdict), SLO), 5000) <= quality(before, 5000)


@given(st.lists(any_record, max_size=50))
def test_what_is_nobodys_fault_changes_nothing(seen: list[RelayRecord]) -> None:
    before = tally_of(seen, SLO)
    assert count(before, of(Verdict.NOBODY), SLO) == before


def test_a_slow_supplier_earns_less_and_a_failing_one_still_less() -> None:
    good, slow, failing = (
        quality(tally_of([of(v, ms) for v, ms in seen], SLO), 5000)
        for seen in (
            [(Verdict.GOOD, 10)] * 100,
            [(Verdict.GOOD, 900)] * 100,
            [(Verdict.GOOD, 900)] * 50 + [(Verdict.FAULT, 900)] * 50,
        )
    )
    assert good > slow > failing


def test_streams_are_measured_by_their_rate_of_tokens() -> None:
    slo = Slo(first_byte_ms=1000, tokens_per_second=10, units_per_token=4)
    assert meets(slo, of(Verdict.GOOD, 100, units=400, done_ms=10_100))  # 100 tokens in 10 s
    assert not meets(slo, of(Verdict.GOOD, 100, units=400, done_ms=10_200))
    assert meets(slo, of(Verdict.GOOD, 100, units=28, done_ms=60_000))  # 7 tokens say nothing of a rate
    assert quality(Tally(), 5000) == 9750


@given(any_record)
def test_records_survive_their_bytes(seen: RelayRecord) -> None:
    raw = records.encode(seen)
    assert len(raw) == RECORD_BYTES == 85
    assert records.decode(raw) == seen


def test_a_record_of_another_length_is_refused() -> None:
    with pytest.raises(RemoteError) as caught:
        records.decode(b"\x00" * 84)
    assert caught.value.rule == "5.5"
