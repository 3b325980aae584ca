"""Block tags as numbers: a client that was shown a head reads the state of that block or a later one, never an older.

Suppliers are a block or two apart. A client that has just seen block N and asks for a balance at `latest` would get
that of N - 1 from one that lags. So its tag is replaced by a number that it was shown or that suppliers agree on; who
does not have that block yet says so, and another one is asked. Clients that never look at the head stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pocketnode.errors import PocketError
from pocketnode.gateway.blocks import Blocks, quantity
from pocketnode.gateway.json_places import with_item
from pocketnode.gateway.rpc_codec import Item
from pocketnode.services.spec import Method

FRESH_S: Final = 1.0  # a head that was heard of longer ago is asked for again
TAG_FRESH_S: Final = 5.0
AHEAD_MOST: Final = 8  # blocks that a client may have been shown above what two suppliers say
TAGS: Final = ("safe", "finalized")

Ask = Callable[[str, list[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Pin:
    """A block in place of a tag, at a position of the parameters; `sure` is one that two suppliers have."""

    position: int
    number: int
    sure: int

    def header(self) -> str:
        """Return what tells a user of it, so that the relayed request can be made again."""
        return f"{self.position}={hex(self.number)}"


@dataclass(slots=True)
class Pinning:
    """One for each service.

    Parameters
    ----------
    ask : buys an answer of the gateway's own.
    look : asks two suppliers for their heads; does not raise.
    """

    blocks: Blocks
    ask: Ask
    look: Callable[[], Awaitable[None]]
    _looked_s: float = float("-inf")
    _tags: dict[str, tuple[float, int]] = field(default_factory=dict)

    async def pin(self, method: Method, item: Item, client: str) -> Pin | None:
        """Return the block to ask for in place of the tag in a request; None where it is left as it is."""
        position = method.block
        if not method.pin or position is None or not isinstance(item.params, list) or len(item.params) < position:
            return None
        tag = item.params[position] if len(item.params) > position else "latest"
        if tag == "latest":
            return await self._latest(position, client)
        return await self._tagged(position, tag) if tag in TAGS else None

    async def _latest(self, position: int, client: str) -> Pin | None:
        if not self.blocks.noted(client):
            return None
        now_s = time.monotonic()
        if self.blocks.age_s(now_s) > FRESH_S or (self.blocks.alone and now_s - self._looked_s > FRESH_S):
            self._looked_s = now_s
            await self.look()
        sure, shown = self.blocks.sure, self.blocks.shown(client)
        if not sure:
            return None
        return Pin(position, max(sure, min(shown, sure + AHEAD_MOST)), sure)

    async def _tagged(self, position: int, tag: str) -> Pin | None:
        """Return the newest block that was ever called so, as far as it is below the head that is believed."""
        at_s, number = self._tags.get(tag, (0.0, -1))
        if time.monotonic() - at_s > TAG_FRESH_S:
            block = await self._called(tag)
            found = quantity(block.get("number")) if isinstance(block, dict) else None
            if found is not None and found <= self.blocks.head:
                number = max(number, found)
            self._tags[tag] = (time.monotonic(), number)
        return Pin(position, number, number) if number >= 0 else None

    async def _called(self, tag: str) -> Any:
        try:
            return await self.ask("eth_getBlockByNumber", [tag, False])
        except PocketError:
            return None


def pinned(item: Item, position: int, number: int) -> Item:
    """Return a request with a block in place of its tag; every other byte stays."""
    params = [*item.params[:position], hex(number), *item.params[position + 1 :]]
    return Item(
        with_item(item.raw, "params", position, orjson.dumps(hex(number))), item.method, params, item.id, item.raw_id
    )
