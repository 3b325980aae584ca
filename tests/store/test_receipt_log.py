"""What a supplier was told is in a file before it answers, whenever it is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.protocol.types import Receipt, Response, SignedReceipt, SignedResponse
from pocketnode.store.engine import open_store
from pocketnode.store.receipt_log import ENTRY_BYTES, ReceiptLog, decode, encode
from pocketnode.store.receipts import KeptReceipt, ReceiptStore

words = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
signatures = st.binary(min_size=65, max_size=65)
sizes = st.integers(0, 2**128 - 1)
receipts = st.builds(
    SignedReceipt,
    st.builds(Receipt, words, addresses, words, st.integers(0, 2**64 - 1), sizes, sizes, words),
    signatures,
)
responses = st.builds(
    SignedResponse,
    st.builds(Response, words, words, sizes, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), words),
    signatures,
)
kept_receipts = st.builds(
    KeptReceipt, addresses, words, st.integers(0, 2**63 - 1), addresses, receipts, st.none() | responses
)


@given(kept_receipts)
def test_an_entry_is_what_it_was_made_from(kept: KeptReceipt) -> None:
    entry = encode(kept)
    assert len(entry) == ENTRY_BYTES
    assert decode(entry) == kept


def kept(total: int, lane: int = 1) -> KeptReceipt:
    receipt = Receipt(b"\x01" * 32, b"\x02" * 20, lane.to_bytes(32, "big"), total + 1, total, 0)
    return KeptReceipt(b"\x03" * 20, b"\x04" * 32, 7, b"\x05" * 20, SignedReceipt(receipt, b"\x06" * 65))


def left(path: Path) -> list[int]:
    """Return the totals that a killed run has left."""
    log = ReceiptLog(path)
    try:
        return sorted(found.receipt.receipt.total for found in log.replay())
    finally:
        log.close()


def test_what_is_noted_is_in_the_file(tmp_path: Path) -> None:
    log = ReceiptLog(tmp_path / "receipts")
    log.note(kept(1))
    log.note(kept(2))
    assert left(tmp_path / "receipts") == [1, 2]


def test_what_comes_while_a_batch_is_written_stays(tmp_path: Path) -> None:
    log = ReceiptLog(tmp_path / "receipts")
    log.note(kept(1))
    log.turn()
    log.note(kept(2))
    log.committed()
    assert left(tmp_path / "receipts") == [2]


def test_nothing_is_forgotten_with_a_batch_that_failed(tmp_path: Path) -> None:
    log = ReceiptLog(tmp_path / "receipts")
    log.note(kept(1))
    log.turn()  # and the store did not take it
    log.note(kept(2))
    log.turn()
    log.note(kept(3))
    assert left(tmp_path / "receipts") == [1, 2, 3]
    log.committed()
    assert 3 in left(tmp_path / "receipts")
    log.turn()
    log.committed()
    assert left(tmp_path / "receipts") == []


@pytest.mark.parametrize("torn", [1, ENTRY_BYTES - 1])
def test_a_torn_end_is_left_out(tmp_path: Path, torn: int) -> None:
    log = ReceiptLog(tmp_path / "receipts")
    log.note(kept(1))
    log.close()
    with (tmp_path / "receipts.a").open("ab") as file:
        file.write(encode(kept(2))[:torn])
    assert left(tmp_path / "receipts") == [1]


def test_replayed_into_the_store_the_highest_counts(tmp_path: Path) -> None:
    store = ReceiptStore(open_store("sqlite://"))
    log = ReceiptLog(tmp_path / "receipts")
    for total in (5, 9, 7):
        log.note(kept(total))
    log.note(kept(4, lane=2))
    store.keep(log.replay())
    store.keep(log.replay())
    assert [found.units for found in store.lanes(b"\x01" * 32, b"\x05" * 20)] == [9, 4]
    log.clear()
    assert list(log.replay()) == []
