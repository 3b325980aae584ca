"""Headers of blocks, as nodes give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pocketnode.chain.client import Node, Rpc
from pocketnode.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header. `timestamp_s` is seconds since 1970; `base_fee_wei` is 0 on chains without EIP-1559."""

    number: int
    hash: bytes
    parent: bytes
    timestamp_s: int
    base_fee_wei: int


async def block_at(rpc: Rpc, which: int | str, node: Node | None = None) -> Block:
    """Return the header of a block, by number or by tag, from one node or from whoever answers first.

    Raises
    ------
    Unavailable
        no node answers, or the one that does has no such block yet.
    """
    tag = hex(which) if isinstance(which, int) else which
    question = "eth_getBlockByNumber", tag, False
    found = await (rpc.ask(*question) if node is None else rpc.ask_of(node, *question))
    if found is None:
        raise Unavailable(f"the chain node has no block {which}", 1.0)
    return _block(found)


def _block(raw: Any) -> Block:
    try:
        return Block(
            int(raw["number"], 16),
            bytes.fromhex(raw["hash"][2:]),
            bytes.fromhex(raw["parentHash"][2:]),
            int(raw["timestamp"], 16),
            int(raw.get("baseFeePerGas") or "0x0", 16),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"the chain node answers with a malformed block: {error!r}", 1.0) from error
