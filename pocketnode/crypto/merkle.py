"""The Merkle tree of rule 5.5: RFC 6962 with keccak256, appended to in O(log n) memory."""

from __future__ import annotations

from collections.abc import Sequence

from pocketnode.crypto.keccak import keccak

EMPTY_ROOT = b"\x00" * 32


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of one record as a leaf."""
    return keccak(b"\x00" + record)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return keccak(b"\x01" + left + right)


class Frontier:
    """A tree that only grows: the roots of its perfect subtrees, the largest first.

    >>> tree = Frontier()
    >>> for record in (b"a", b"b", b"c"):
    ...     tree.append(record)
    >>> tree.root() == root([b"a", b"b", b"c"]), tree.size
    (True, 3)
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, record: bytes) -> None:
        """Add a record; amortised two hashes."""
        self.append_subtree(leaf_hash(record), 0)

    def append_subtree(self, node: bytes, level: int) -> None:
        """Add `2^level` records by the root over them; they must begin at a multiple of as many.

        Raises
        ------
        ValueError
            they do not.
        """
        if self.size & ((1 << level) - 1):
            raise ValueError(f"a subtree of 2^{level} records at {self.size}")
        rest = self.size >> level
        while rest & 1:
            node = node_hash(self._peaks.pop(), node)
            rest >>= 1
        self._peaks.append(node)
        self.size += 1 << level

    def root(self) -> bytes:
        """Return the 32-byte root; zero for an empty tree."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def root(records: Sequence[bytes]) -> bytes:
    """Return the root over all records in order; zero for none."""
    tree = Frontier()
    for record in records:
        tree.append(record)
    return tree.root()


def proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the sibling hashes from leaf `index` to the root, over leaf hashes (not records).

    Parameters
    ----------
    leaves : `leaf_hash` of every record, in order, at least one.
    index : 0 <= index < len(leaves).
    """
    path: list[bytes] = []
    start, end = 0, len(leaves)
    while end - start > 1:
        middle = start + _left_size(end - start)
        if index < middle:
            path.append(_root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(_root_of(leaves[start:middle]))
            start = middle
    path.reverse()
    return path


def verify(record: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Return whether `record` is number `index` of the `size` records under `expected_root`."""
    if not 0 <= index < size:
        return False
    turns: list[bool] = []  # from the root down: True where the leaf is on the right
    start, end = 0, size
    while end - start > 1:
        middle = start + _left_size(end - start)
        right = index >= middle
        turns.append(right)
        start, end = (middle, end) if right else (start, middle)
    if len(turns) != len(path):
        return False
    node = leaf_hash(record)
    for right, sibling in zip(reversed(turns), path, strict=True):
        node = node_hash(sibling, node) if right else node_hash(node, sibling)
    return node == expected_root


def _left_size(count: int) -> int:
    """Return the largest power of two below `count` (count >= 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def _root_of(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = _left_size(len(leaves))
    return node_hash(_root_of(leaves[:middle]), _root_of(leaves[middle:]))
