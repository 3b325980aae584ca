"""What a supplier finds when it recomputes a statement: nothing where it is honest, each lie where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.crypto import merkle
from pocketnode.crypto.keccak import keccak
from pocketnode.protocol.part import write_part
from pocketnode.protocol.quality import Slo, Verdict
from pocketnode.protocol.record import RelayRecord, encode
from pocketnode.protocol.types import Params, Session, SessionSupplier
from pocketnode.settlement.account import entries_of, lines_of, within_cap
from pocketnode.settlement.audit import Audit, Claimed, Difference, Own, Terms, examine, examine_part, needs_all

SLO = Slo(first_byte_ms=250)
PARAMS = Params(0, 20, 24, 2, 5, 10, 60, 200, 2_000, 5_000)
CAP = 10**9
ME, OTHER = 3, 8
PRICE = 5_000_000


def session() -> Session:
    listed = tuple(SessionSupplier(index, index, bytes(20), PRICE, "", bytes(32)) for index in (ME, OTHER))
    return Session(keccak(b"session"), bytes(20), bytes(32), 7, 140, 159, True, listed)


TERMS = Terms(SLO, session(), PARAMS, CAP)


def relay(place: int, index: int = ME, units: int = 100, verdict: Verdict = Verdict.GOOD, ms: int = 10) -> RelayRecord:
    receipt, response = keccak(b"receipt %d" % place), keccak(b"response %d" % place)
    return RelayRecord(receipt, response, index, units, ms, ms + 1, int(verdict))


def stated(records: list[RelayRecord], terms: Terms = TERMS) -> Claimed:
    """Return what an honest gateway states."""
    prices = {supplier.index: supplier.price for supplier in terms.session.suppliers}
    entries = within_cap(entries_of(lines_of(records, terms.slo), terms.params.w_min), prices, terms.cap)
    mine = next((entry for entry in entries if entry.index == ME), None)
    return Claimed(merkle.root([encode(record) for record in records]), mine)


def found(records: list[RelayRecord], said: Claimed, own: Own | None = None, terms: Terms = TERMS) -> list[Difference]:
    audit = examine([encode(record) for record in records], said, ME, own or Own(), terms)
    return [finding.difference for finding in audit.findings]


HONEST = [relay(place, ME if place % 2 else OTHER) for place in range(40)]
OWN = Own(acknowledged=2_000, served=2_000, answers={keccak(b"receipt 1"): keccak(b"response 1")})


@given(
    st.lists(
        st.builds(
            relay,
            st.integers(0, 999),
            st.sampled_from([ME, OTHER]),
            st.integers(0, 10**6),
            st.sampled_from(Verdict),
            st.integers(0, 1_000),
        ),
        max_size=60,
    ),
    st.integers(0, 10**7),
)
def test_an_honest_statement_agrees(records: list[RelayRecord], cap: int) -> None:
    terms = replace(TERMS, cap=cap)
    units = sum(record.units for record in records if record.index == ME)
    assert found(records, stated(records, terms), Own(acknowledged=units, served=units), terms) == []


def test_what_it_recomputed_is_told() -> None:
    records = [*HONEST, relay(99, units=0, verdict=Verdict.FAULT)]
    said = stated(records)
    audit = examine([encode(record) for record in records], said, ME, OWN, TERMS)
    assert said.entry is not None
    assert (audit.relays, audit.units, audit.quality) == (41, 2_000, said.entry.quality)


@pytest.mark.parametrize("cut", [1, 50, 5_000])
def test_a_lower_quality_than_the_records_give(cut: int) -> None:
    said = stated(HONEST)
    assert said.entry is not None
    lied = Claimed(said.root, replace(said.entry, quality=said.entry.quality - cut))
    assert found(HONEST, lied, OWN) == ([Difference.QUALITY] if cut > 1 else [])


def test_fewer_units_than_the_records_give() -> None:
    said = stated(HONEST)
    assert said.entry is not None
    assert found(HONEST, Claimed(said.root, replace(said.entry, units=1_999)), OWN) == [Difference.UNITS]
    assert found(HONEST, Claimed(said.root, None), OWN) == [Difference.UNITS, Difference.QUALITY]


def test_other_records_than_those_stated() -> None:
    said = stated(HONEST)
    for given_ in (HONEST[:-2], HONEST[::-1], [*HONEST, relay(50, OTHER, 0, Verdict.FAULT)]):
        assert Difference.ROOT in found(given_, said, OWN)


def test_records_hidden_from_the_statement() -> None:
    """The gateway's books are consistent in themselves; what the supplier has says that relays are missing."""
    kept = [record for place, record in enumerate(HONEST) if place not in (3, 5)]
    assert found(kept, stated(kept), OWN) == [Difference.HIDDEN]
    unacknowledged = Own(acknowledged=1_800, served=2_000, tolerance=100)
    assert found(kept, stated(kept), unacknowledged) == [Difference.HIDDEN]
    assert found(kept, stated(kept), replace(unacknowledged, tolerance=200)) == []


def test_answers_that_were_judged_are_not_hidden() -> None:
    judged = [*HONEST[:-1], relay(39, units=0, verdict=Verdict.WRONG)]
    assert found(judged, stated(judged), Own(acknowledged=1_900, served=2_000)) == []
    assert found(judged, stated(judged), Own(acknowledged=1_900, served=2_200)) == [Difference.HIDDEN]


def test_a_record_of_another_answer_than_ours() -> None:
    forged = [
        replace(HONEST[1], response=keccak(b"never signed")) if place == 1 else r for place, r in enumerate(HONEST)
    ]
    assert found(forged, stated(forged), OWN) == [Difference.ANSWER]


def test_records_that_are_none() -> None:
    said = stated(HONEST)
    torn = [*map(encode, HONEST[:-1]), encode(HONEST[-1])[:40]]
    unknown = [encode(replace(HONEST[0], verdict=9))]
    strange = [relay(0, index=77)]
    for raw in (torn, unknown):
        (finding,) = examine(raw, said, ME, OWN, TERMS).findings
        assert finding.difference is Difference.RECORDS
    assert Difference.RECORDS in found(strange, said)


def test_nothing_recorded_and_nothing_stated_agree() -> None:
    assert found([], Claimed(bytes(32), None)) == []


# ---- a supplier's part alone


def part_found(
    records: list[RelayRecord], said: Claimed, own: Own | None = None, terms: Terms = TERMS, hide: int = -1
) -> Audit:
    """Audit the part that a gateway gives; record `hide` stands in it as a hash, as others' do."""
    items = write_part(map(encode, records), ME) if hide < 0 else _with_hidden(records, hide)
    return examine_part(items, said, ME, own or Own(), terms)


def _with_hidden(records: list[RelayRecord], hide: int) -> Iterator[bytes]:
    for place, record in enumerate(records):
        raw = encode(record)
        own = record.index == ME and place != hide
        yield b"\xff" + raw if own else b"\x00" + merkle.leaf_hash(raw)


def differences(audit: Audit) -> list[Difference]:
    return [finding.difference for finding in audit.findings]


def test_an_honest_part_agrees_and_says_what_all_records_say() -> None:
    audit = part_found(HONEST, stated(HONEST), OWN)
    whole = examine([encode(record) for record in HONEST], stated(HONEST), ME, OWN, TERMS)
    assert audit == whole
    assert not audit.findings


def test_a_record_with_units_that_a_part_hides_is_missed_in_the_sum() -> None:
    audit = part_found(HONEST, stated(HONEST), OWN, hide=1)
    assert differences(audit) == [Difference.UNITS, Difference.QUALITY, Difference.HIDDEN]


def test_a_failure_that_a_part_hides_leaves_the_quality_unexplained() -> None:
    records = [*HONEST, *(relay(100 + n, units=0, verdict=Verdict.FAULT) for n in range(1, 6))]
    said = stated(records)
    assert differences(part_found(records, said, OWN)) == []
    assert differences(part_found(records, said, OWN, hide=41)) == [Difference.QUALITY]


def test_only_a_statement_that_may_be_cut_needs_all_records() -> None:
    terms = replace(TERMS, cap=10_000)
    said = stated(HONEST, terms)
    assert said.entry is not None
    audit = part_found(HONEST, said, terms=terms)
    assert differences(audit) == [Difference.UNITS]
    prices = [PRICE, PRICE]
    assert needs_all(audit, said, [5_000, 5_000], terms.cap, prices)
    assert not found(HONEST, said, terms=terms)  # all of them show that it is right
    assert not needs_all(audit, said, [5_000, 1_000], terms.cap, prices)  # far from the cap nothing is cut
    assert not needs_all(part_found(HONEST, stated(HONEST)), stated(HONEST), [10_000], 10_000, prices)
