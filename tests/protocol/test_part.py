"""A supplier's part of a session's records, against the whole tree."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.crypto import merkle
from pocketnode.errors import RemoteError
from pocketnode.protocol.part import OWN, PartReader, write_part
from pocketnode.protocol.record import RECORD_BYTES, RelayRecord, decode, encode
from pocketnode.store.parts import part_of

MINE = 7


def made(count: int, every: int = 24) -> Iterator[bytes]:
    """Records of so many suppliers by turns."""
    for at in range(count):
        yield encode(RelayRecord(at.to_bytes(32, "big"), bytes(32), at % every, 5, 1, 2, 0))


@given(st.lists(st.sampled_from([1, MINE, 2**32 - 1]), max_size=200), st.integers(1, 300))
def test_a_part_has_the_root_of_the_whole_and_all_own_records(indices: list[int], cut: int) -> None:
    records = [encode(RelayRecord(bytes([at]) * 32, bytes(32), i, at, 1, 2, 0)) for at, i in enumerate(indices)]
    raw = b"".join(write_part(records, MINE))
    reader = PartReader()
    own = list(reader.records(raw[at : at + cut] for at in range(0, len(raw), cut)))
    assert own == [record for record in records if decode(record).index == MINE]
    assert (reader.tree.root(), reader.tree.size) == (merkle.root(records), len(records))


@given(st.binary(max_size=400))
def test_what_is_no_part_is_refused_or_of_another_root(raw: bytes) -> None:
    reader = PartReader()
    try:
        list(reader.records([raw]))
    except RemoteError as error:
        assert error.rule == "5.20"
    assert reader.tree.root() != merkle.root([b"a", b"b"])


@pytest.mark.parametrize("change", ["drop", "alter", "swap"])
def test_a_part_that_was_touched_has_another_root(change: str) -> None:
    records = list(made(1000))
    items = list(write_part(records, MINE))
    at = next(at for at, item in enumerate(items) if item[0] == OWN)
    if change == "alter":
        items[at] = items[at][:-1] + bytes([items[at][-1] ^ 1])
    elif change == "drop":  # the record, as if it were another's: what is hidden must be summed elsewhere
        items[at] = bytes([0]) + bytes(32)
    else:
        other = next(place for place in range(at + 1, len(items)) if items[place][0] == OWN)
        items[at], items[other] = items[other], items[at]
    reader = PartReader()
    list(reader.records(items))
    assert reader.tree.root() != merkle.root(records)


def test_a_part_is_small_and_read_in_little_memory(tmp_path: Path) -> None:
    """Of 24 suppliers each fetches less than a seventh of the records, in pieces."""
    path, count = tmp_path / "all.records", 48_000
    path.write_bytes(b"".join(made(count)))
    tracemalloc.start()
    reader, size, own = PartReader(), 0, 0
    for piece in part_of(path, MINE):
        size += len(piece)
        own += sum(1 for _ in reader.records([piece]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert own == count // 24
    assert reader.tree.size == count
    assert size < count * RECORD_BYTES / 7
    assert peak < 1_000_000
