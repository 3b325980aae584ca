"""Which block is the newest, where several nodes are asked: one that lies or lags decides nothing alone.

Of three nodes or more, a majority must have the block, by its hash. Of two, the lower one is believed as long as it
moves; where it stands still, the higher one is, if it has the lower one's block and no block of the future. A single
node must have a parent for its block, and is believed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from pocketnode.chain.blocks import Block, block_at
from pocketnode.chain.client import Node, Rpc
from pocketnode.errors import PocketError, Unavailable

log = structlog.get_logger(__name__)

ANSWER_S: Final = 2.0  # after which a node that has not answered is left out
STANDS_STILL_S: Final = 60.0
DRIFT_S: Final = 30.0  # by which clocks of chain and machine may differ


async def agreed_head(rpc: Rpc, slack_blocks: int, clock: Callable[[], float] = time.time) -> Block:
    """Return the newest block that the nodes agree on. Nodes that disagree are asked last from then on.

    Parameters
    ----------
    slack_blocks : by which good nodes may differ.
    clock : seconds since 1970.

    Raises
    ------
    Unavailable
        no node answers, or they do not agree.
    """
    if len(rpc.nodes) == 1:
        return await block_at(rpc, "latest")
    heads = await _heads(rpc)
    if len(heads) == 1:
        return next(iter(heads.values()))
    if len(heads) == 2:
        return await _of_two(rpc, heads, slack_blocks, clock())
    return await _of_many(rpc, heads, slack_blocks)


def majority_height(numbers: list[int]) -> int:
    """Return the highest block that more than half of the nodes have come to.

    >>> majority_height([100, 101, 600]), majority_height([100, 101, 7]), majority_height([5, 5, 6, 6])
    (101, 100, 5)
    """
    return sorted(numbers, reverse=True)[len(numbers) // 2]


async def _of_many(rpc: Rpc, heads: Mapping[Node, Block], slack_blocks: int) -> Block:
    height = majority_height([block.number for block in heads.values()])
    there = [node for node, block in heads.items() if block.number >= height]
    blocks = await _each(rpc, {node: heads[node] if heads[node].number == height else height for node in there})
    votes = Counter(block.hash for block in blocks.values())
    found, count = votes.most_common(1)[0] if votes else (b"", 0)
    if 2 * count <= len(heads):
        raise Unavailable(f"{len(heads)} chain nodes do not agree about block {height}", 1.0)
    agreed = next(block for block in blocks.values() if block.hash == found)
    for node, head in heads.items():
        if node in there and (node not in blocks or blocks[node].hash != found):
            rpc.doubt(node, f"its block {height} is not that of {count} others")
        elif abs(head.number - height) > slack_blocks:
            rpc.doubt(node, f"it is at block {head.number}, {count} others are at {height}")
    return agreed


async def _of_two(rpc: Rpc, heads: Mapping[Node, Block], slack_blocks: int, now_s: float) -> Block:
    (low_node, low), (high_node, high) = sorted(heads.items(), key=lambda item: item[1].number)
    if high.number == low.number and high.hash == low.hash:
        return low
    if high.number - low.number > slack_blocks:
        if now_s - low.timestamp_s < STANDS_STILL_S or high.timestamp_s > now_s + DRIFT_S:
            rpc.doubt(high_node, f"it is at block {high.number}, another one at {low.number}")
            return low
        rpc.doubt(low_node, f"it is at block {low.number}, another one at {high.number}")
    shared = await block_at(rpc, low.number, high_node)
    if shared.hash != low.hash:
        raise Unavailable(f"two chain nodes do not agree about block {low.number}", 1.0)
    return low if high.number - low.number <= slack_blocks else high


async def _heads(rpc: Rpc) -> dict[Node, Block]:
    """Return the newest block of each node that answers soon."""
    found = await _each(rpc, dict.fromkeys(rpc.nodes, "latest"))
    if not found:
        raise Unavailable("no chain node answers", 1.0)
    return found


async def _each(rpc: Rpc, wanted: Mapping[Node, Block | int | str]) -> dict[Node, Block]:
    """Return a block of each node: the one given, or read by number or tag. Who does not answer soon is left out."""
    tasks = {
        asyncio.create_task(block_at(rpc, which, node)): node
        for node, which in wanted.items()
        if not isinstance(which, Block)
    }
    found = {node: block for node, block in wanted.items() if isinstance(block, Block)}
    try:
        if tasks:
            good = [task for task, node in tasks.items() if not node.benched]
            await asyncio.wait(good or tasks, timeout=ANSWER_S)
            if not found and not any(task.done() for task in tasks):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task, node in tasks.items():
                _take(rpc, node, task, found)
    finally:
        for task in tasks:
            task.cancel()
    return found


def _take(rpc: Rpc, node: Node, task: asyncio.Task[Block], found: dict[Node, Block]) -> None:
    if not task.done():
        if not node.benched:
            rpc.doubt(node, f"no answer in {ANSWER_S:.0f} s")
        return
    try:
        found[node] = task.result()
    except PocketError as error:
        rpc.doubt(node, str(error))
