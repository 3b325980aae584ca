"""Block tags as numbers: a client that was shown a head reads the state of that block or a later one, never an older.

Suppliers are a block or two apart. A client that has just seen block N and asks for a balance at `latest` would get
that of N - 1 from one that lags. So its tag is replaced by a number that it was shown or that suppliers agree on; who
does not have that block yet says so, and another one is asked. Clients that never look at the head stay as they are.

`pending` has no number: it stays, and an answer that names an older block than the client was shown is not taken.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pocketnode.gateway.blocks import Blocks, quantity
from pocketnode.gateway.json_places import with_place
from pocketnode.gateway.rpc_codec import Item
from pocketnode.services.spec import Method

FRESH_S: Final = 1.0  # a head that was heard of longer ago is asked for again
TAG_FRESH_S: Final = 5.0
DOUBT_BLOCKS: Final = 3
DOUBT_S: Final = 0.1
AHEAD_MOST: Final = 8  # blocks that a client may have been shown above what two suppliers say
TAGS: Final = ("safe", "finalized")
ENDS: Final = ("fromBlock", "toBlock")

AskTwo = Callable[[str, list[Any]], Awaitable[list[Any]]]
Span = tuple[int, int]  # the block wanted in place of a tag, and one that two suppliers have


@dataclass(frozen=True, slots=True)
class Pin:
    """Blocks in place of tags, by place (`json_places.with_place`); `sure` are such that two suppliers have.

    `newest` tells whether a block stands for `latest`, so that what is read is not older next time.
    """

    blocks: dict[str, int]
    sure: dict[str, int]
    newest: bool


@dataclass(slots=True)
class Pinning:
    """One for each service.

    Parameters
    ----------
    ask_two : buys what two suppliers say, on the gateway's own account.
    look : asks two suppliers for their heads; does not raise.
    """

    blocks: Blocks
    ask_two: AskTwo
    look: Callable[[], Awaitable[None]]
    _looked_s: float = float("-inf")
    _tags: dict[str, tuple[float, int]] = field(default_factory=dict)

    async def pin(self, method: Method, item: Item, client: str) -> Pin | None:
        """Return the blocks to ask for in place of the tags in a request; None where it is left as it is."""
        position, params = method.block, item.params
        if not method.pin or position is None or not isinstance(params, list) or len(params) < position:
            return None
        given = params[position] if len(params) > position else None
        if method.range:
            return await self._range(position, given, client)
        span = await self._span(given, client)
        if span is None:
            return None
        return Pin({str(position): span[0]}, {str(position): span[1]}, given not in TAGS)

    async def _range(self, position: int, given: Any, client: str) -> Pin | None:
        """Return the ends of a range; one that is left out means the newest block."""
        if not isinstance(given, dict) or given.get("blockHash") is not None:
            return None
        spans = {tag: await self._span(tag, client) for tag in {_tag(given.get(end)) for end in ENDS}}
        found = {end: span for end in ENDS if (span := spans[_tag(given.get(end))]) is not None}
        first = quantity(given.get("fromBlock"))
        last = found.get("toBlock")
        if first is not None and last is not None:
            if first > last[0]:  # who waits for the next block is told of none, not of an error
                del found["toBlock"]
            else:
                found["toBlock"] = (last[0], max(first, last[1]))
        if not found:
            return None
        blocks, sure = ({f"{position}.{end}": span[i] for end, span in found.items()} for i in (0, 1))
        return Pin(blocks, sure, "toBlock" in found and _tag(given.get("toBlock")) == "latest")

    async def _span(self, tag: Any, client: str) -> Span | None:
        if tag is None or tag == "latest":
            return await self._latest(client)
        return await self._tagged(tag) if tag in TAGS else None

    async def _latest(self, client: str) -> Span | None:
        noted = self.blocks.noted(client)
        if not noted:
            return None
        now_s = time.monotonic()
        since_s = now_s - self._looked_s
        old = self.blocks.age_s(now_s) > FRESH_S or (self.blocks.alone and since_s > FRESH_S)
        # Blocks may come faster than two suppliers happen to be asked: look before a client is not believed.
        if old or (noted > self.blocks.sure + DOUBT_BLOCKS and since_s > DOUBT_S):
            self._looked_s = now_s
            await self.look()
        sure, shown = self.blocks.sure, self.blocks.shown(client)
        return (max(sure, min(shown, sure + AHEAD_MOST)), sure) if sure else None

    async def _tagged(self, tag: str) -> Span | None:
        """Return the newest block that two suppliers ever called so, as far as it is below the head that is believed.

        The older of what the two say: one that is alone cannot move it ahead, and it never goes back.
        """
        at_s, number = self._tags.get(tag, (float("-inf"), 0))
        if time.monotonic() - at_s > TAG_FRESH_S:
            said = await self.ask_two("eth_getBlockByNumber", [tag, False])
            numbers = [quantity(block.get("number")) for block in said if isinstance(block, dict)]
            found = min((n for n in numbers if n is not None), default=None)
            if found is not None and found <= self.blocks.head:
                number = max(number, found)
            number = self.blocks.called(tag, number)
            self._tags[tag] = (time.monotonic(), number)
        return (number, number) if 0 < number <= self.blocks.head else None


def pinned(item: Item, blocks: dict[str, int]) -> Item:
    """Return a request with blocks in place of its tags; every other byte stays."""
    raw, params = item.raw, list(item.params)
    for place, number in blocks.items():
        value = hex(number)
        raw = with_place(raw, place, orjson.dumps(value))
        position, _, name = place.partition(".")
        at = int(position)
        params[at : at + 1] = [{**params[at], name: value} if name else value]
    return Item(raw, item.method, params, item.id, item.raw_id)


def header_of(blocks: dict[str, int]) -> str:
    """Return what tells a user of the blocks, so that the relayed request can be made again.

    >>> header_of({"0.fromBlock": 1, "0.toBlock": 2})
    '0.fromBlock=0x1,0.toBlock=0x2'
    """
    return ",".join(f"{place}={hex(number)}" for place, number in blocks.items())


def _tag(given: Any) -> Any:
    """Return what a block parameter says, where one that is left out says `latest`; None for what is no tag."""
    if given is None:
        return "latest"
    return given if isinstance(given, str) else ""
