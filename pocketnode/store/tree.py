"""A Merkle tree (rule 5.5) over many records that remembers the hashes of whole blocks of them.

The root costs O(log n) memory; a proof needs the leaves of one block and one hash for each other block, so that
records of a busy session are proven without hashing them all again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pocketnode.crypto import merkle

BLOCK_RECORDS: Final = 4096


class BlockTree:
    """A tree that grows by records.

    Parameters
    ----------
    blocks : roots of the whole blocks that are in it already.
    """

    def __init__(self, blocks: Sequence[bytes] = ()) -> None:
        self._blocks = list(blocks)
        self._tail = merkle.Frontier()

    @property
    def size(self) -> int:
        """How many records there are."""
        return len(self._blocks) * BLOCK_RECORDS + self._tail.size

    def append(self, record: bytes) -> bytes | None:
        """Add a record; return the root of its block if that is whole now."""
        self._tail.append(record)
        if self._tail.size < BLOCK_RECORDS:
            return None
        block = self._tail.root()
        self._blocks.append(block)
        self._tail = merkle.Frontier()
        return block

    def root(self) -> bytes:
        """Return the root of the whole tree; zero for an empty one."""
        return _root(self._nodes()) if self.size else merkle.EMPTY_ROOT

    def proof(self, index: int, leaves: Sequence[bytes]) -> list[bytes]:
        """Return the siblings from leaf `index` to the root.

        Parameters
        ----------
        leaves : the leaf hashes of the block that `index` is in.
        """
        block, place = divmod(index, BLOCK_RECORDS)
        return merkle.proof(leaves, place) + merkle.proof(self._nodes(), block)

    def _nodes(self) -> list[bytes]:
        """Return the roots of blocks and tail; all but the last are perfect, so their tree is that over the leaves."""
        return [*self._blocks, self._tail.root()] if self._tail.size else self._blocks


def _root(nodes: Sequence[bytes]) -> bytes:
    """Return the hash over subtrees, split as RFC 6962 splits leaves."""
    if len(nodes) == 1:
        return nodes[0]
    left = 1 << ((len(nodes) - 1).bit_length() - 1)
    return merkle.node_hash(_root(nodes[:left]), _root(nodes[left:]))
