"""The tree of relay records: one root whichever way it is computed, and a proof for each record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketnode.crypto import merkle

records = st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=70)


def rfc_6962(leaves: list[bytes]) -> bytes:
    """Return the root by the RFC's own recursion."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return merkle.node_hash(rfc_6962(leaves[:half]), rfc_6962(leaves[half:]))


@given(records)
def test_appending_gives_the_root_of_the_rfc(items: list[bytes]) -> None:
    tree = merkle.Frontier()
    for n, item in enumerate(items, 1):
        tree.append(item)
        assert tree.root() == rfc_6962([merkle.leaf_hash(i) for i in items[:n]])


@given(records, st.data())
def test_each_record_is_provable_and_no_other(items: list[bytes], data: st.DataObject) -> None:
    root = merkle.root(items)
    index = data.draw(st.integers(0, len(items) - 1))
    path = merkle.proof([merkle.leaf_hash(i) for i in items], index)
    assert merkle.verify(items[index], index, len(items), path, root)
    assert not merkle.verify(items[index] + b"!", index, len(items), path, root)
    assert not merkle.verify(items[index], index, len(items), [*path, b"\x00" * 32], root)
    for other in range(len(items)):
        if other != index and items[other] != items[index]:
            assert not merkle.verify(items[index], other, len(items), path, root)


def test_no_records_have_the_zero_root() -> None:
    assert merkle.root([]) == merkle.EMPTY_ROOT
    assert not merkle.verify(b"x", 0, 0, [], merkle.EMPTY_ROOT)
