"""One supplier's part of a session's records, with what proves that it is under the root (rule 5.20). Pure.

A part is the whole tree from left to right: each record of the supplier as `0xff` and its 85 bytes, and what lies
between them as the largest whole subtrees, each as one byte, the logarithm of its number of records, and its hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pocketnode.crypto import merkle
from pocketnode.errors import RemoteError
from pocketnode.protocol.record import RECORD_BYTES

OWN: Final = 0xFF
LEVEL_MOST: Final = 40
HASH_BYTES: Final = 32
_INDEX: Final = slice(64, 68)  # of a record (rule 5.5)


def write_part(records: Iterable[bytes], index: int) -> Iterator[bytes]:
    """Yield the items of the part of the supplier at `index`, in O(log n) memory. `records` are 85 bytes each."""
    mine = index.to_bytes(4, "big")
    others: list[tuple[int, int, bytes]] = []  # first record, level and hash of subtrees that are not out yet
    for at, record in enumerate(records):
        if record[_INDEX] == mine:
            yield from map(_item, others)
            others.clear()
            yield b"\xff" + record
            continue
        first, level, node = at, 0, merkle.leaf_hash(record)
        while others and others[-1][1] == level and not others[-1][0] & ((2 << level) - 1):
            first, _, left = others.pop()
            node, level = merkle.node_hash(left, node), level + 1
        others.append((first, level, node))
    yield from map(_item, others)


class PartReader:
    """Takes the items of a part in turn. `tree` has the root that they give, and how many records there are in all."""

    def __init__(self) -> None:
        self.tree = merkle.Frontier()

    def records(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the supplier's records as they come; they are proven once `tree` has the stated root.

        Parameters
        ----------
        pieces : the part, cut anywhere.

        Raises
        ------
        RemoteError
            rule 5.20: it is none.
        """
        left = b""
        for piece in pieces:
            left += piece
            at = 0
            while (end := _end(left, at)) <= len(left):
                if left[at] == OWN:
                    record = left[at + 1 : end]
                    self.tree.append(record)
                    yield record
                else:
                    self._skip(left[at], left[at + 1 : end])
                at = end
            left = left[at:]
        if left:
            raise RemoteError("5.20", f"a part ends in {len(left)} bytes of an item")

    def _skip(self, level: int, node: bytes) -> None:
        try:
            if level > LEVEL_MOST:
                raise ValueError(f"a subtree of 2^{level} records")
            self.tree.append_subtree(node, level)
        except ValueError as error:
            raise RemoteError("5.20", str(error)) from error


def _item(subtree: tuple[int, int, bytes]) -> bytes:
    _, level, node = subtree
    return bytes((level,)) + node


def _end(raw: bytes, at: int) -> int:
    """Return where the item that begins at `at` ends; beyond the end where none does."""
    if at >= len(raw):
        return at + 1
    return at + 1 + (RECORD_BYTES if raw[at] == OWN else HASH_BYTES)
