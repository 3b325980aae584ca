"""Which block belongs to which session, and who serves in it."""

from __future__ import annotations

from collections import Counter

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.crypto.keccak import keccak
from pocketnode.protocol import session
from tests.protocol.values import params

seeds = st.binary(min_size=32, max_size=32)


@given(block=st.integers(100, 10**9), length=st.integers(1, 5000))
def test_every_block_is_in_exactly_one_session(block: int, length: int) -> None:
    p = params(anchor=100, length=length)
    number = session.number_at(block, p)
    assert session.start_of(number, p) <= block <= session.end_of(number, p)
    assert session.end_of(number, p) + 1 == session.start_of(number + 1, p)


def test_windows_follow_each_other_without_gap_or_overlap() -> None:
    p = params(anchor=0, length=20)
    end = session.end_of(3, p)
    edges = {
        block: (session.in_statement_window(block, 3, p), session.in_claim_window(block, 3, p))
        for block in range(end, end + 17)
    }
    assert edges[end] == (False, False)
    assert [b - end for b, (stated, _) in edges.items() if stated] == [1, 2, 3, 4, 5]
    assert [b - end for b, (_, claims) in edges.items() if claims] == list(range(6, 16))
    assert session.payable_from(3, p) == end + 16


@given(seed=seeds, count=st.integers(1, 300))
def test_selection_is_a_permutation(seed: bytes, count: int) -> None:
    order = [session.permute(seed, count, rank) for rank in range(count)]
    assert sorted(order) == list(range(count))
    assert [session.rank_of(seed, count, index) for index in order] == list(range(count))


@given(seed=seeds, count=st.integers(1, 5000), most=st.integers(1, 64))
def test_a_session_has_distinct_suppliers(seed: bytes, count: int, most: int) -> None:
    chosen = session.select(seed, count, most)
    assert len(set(chosen)) == len(chosen) == min(most, count)
    assert all(0 <= index < count for index in chosen)


@pytest.mark.parametrize("count", [25, 40, 100, 257])
def test_selection_is_uniform(count: int) -> None:
    """Chi-square over how often each index is chosen; 24 of `count`, 4,000 sessions, seeds fixed."""
    sessions, most = 4000, 24
    seen: Counter[int] = Counter()
    for n in range(sessions):
        seen.update(session.select(keccak(n.to_bytes(4, "big")), count, most))
    expected = sessions * most / count
    statistic = sum((seen[i] - expected) ** 2 / expected for i in range(count))
    degrees = count - 1
    assert statistic < degrees + 4 * (2 * degrees) ** 0.5


def test_ids_are_what_the_contracts_compute() -> None:
    application, service = b"\xaa" * 20, session.service_id("eth")
    encoded = encode(["address", "bytes32", "uint64"], [application, service, 7])
    assert session.session_id(application, service, 7) == keccak(encoded)
    seed = encode(["bytes32", "address", "bytes32"], [b"\x01" * 32, application, service])
    assert session.seed_of(b"\x01" * 32, application, service) == keccak(seed)
    pot = encode(["bytes32", "address"], [b"\x02" * 32, b"\xbb" * 20])
    assert session.pot_id(b"\x02" * 32, b"\xbb" * 20) == keccak(pot)


@pytest.mark.parametrize("name", ["", "Eth", "a b", "x" * 33, "é"])
def test_bad_service_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="service id"):
        session.service_id(name)


def test_service_names_come_back() -> None:
    assert session.service_name(session.service_id("smollm2")) == "smollm2"
