"""Answers that need not be bought again: static ones, those about final blocks, and those of the block that is newest.

An answer about a block is kept for good only once that block is final, so a reorg cannot make it wrong; what is kept
for the newest block is dropped as soon as a newer one is known, and after a moment anyway. Errors and null are never
kept.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pocketnode.gateway.blocks import Blocks, quantity
from pocketnode.gateway.json_places import field
from pocketnode.gateway.rpc_codec import Item
from pocketnode.services.spec import Method

BYTES_MOST: Final = 64 * 1024 * 1024
ENTRY_BYTES_MOST: Final = 1024 * 1024
HEAD_TTL_S: Final = 0.25
ALWAYS_TTL_S: Final = 600.0
ENTRY_OVERHEAD: Final = 200

Key = tuple[str, str, bytes]  # service, method, parameters


@dataclass(frozen=True, slots=True)
class Entry:
    """A result as JSON; `why` is what the header says."""

    result: bytes
    why: str
    until_s: float
    head: int | None = None


class RpcCache:
    """Bounded by bytes, the longest unused goes first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self.size = 0
        self.hits = 0
        self.misses = 0

    def find(self, key: Key, blocks: Blocks) -> Entry | None:
        """Return what is kept and still holds."""
        entry = self._entries.get(key)
        if entry is None or entry.until_s < self._clock() or (entry.head is not None and entry.head < blocks.head):
            self.misses += 1
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry

    def keep(self, key: Key, method: Method, item: Item, body: bytes, blocks: Blocks) -> None:
        """Keep an answer if it may be given again."""
        if method.cache == "never" or len(body) > ENTRY_BYTES_MOST:
            return
        if method.cache == "final" and method.block is not None and block_of(method, item.params, None) is None:
            return  # about the newest block, or another that moves
        raw = field(body, "result")
        if raw is None or raw == b"null":
            return
        entry = self._entry(method, item, raw, blocks)
        if entry is not None:
            self._put(key, entry)

    def _entry(self, method: Method, item: Item, raw: bytes, blocks: Blocks) -> Entry | None:
        now_s = self._clock()
        if method.cache == "always":
            return Entry(raw, "static", now_s + ALWAYS_TTL_S)
        if method.cache == "head":
            return Entry(raw, "head", now_s + HEAD_TTL_S, blocks.head)
        number = block_of(method, item.params, orjson.loads(raw))
        if number is None:
            return None
        if number <= blocks.final:
            return Entry(raw, "final", float("inf"))
        return None

    def _put(self, key: Key, entry: Entry) -> None:
        old = self._entries.pop(key, None)
        if old is not None:
            self.size -= _size(key, old)
        self._entries[key] = entry
        self.size += _size(key, entry)
        while self.size > BYTES_MOST:
            dropped, gone = self._entries.popitem(last=False)
            self.size -= _size(dropped, gone)


def key_of(service: str, item: Item) -> Key:
    """Return what two requests share that have the same answer."""
    return service, item.method, orjson.dumps(item.params or [], option=orjson.OPT_SORT_KEYS)


def block_of(method: Method, params: Any, value: Any) -> int | None:
    """Return the block that an answer is about, if it is tied to one: by its parameter, or by what it says itself."""
    if method.block is not None:
        given = params[method.block] if isinstance(params, list) and len(params) > method.block else None
        if isinstance(given, dict):
            given = given.get("toBlock" if method.range else "blockNumber")
        return quantity(given)
    if isinstance(value, dict):
        return quantity(value.get("blockNumber")) if "blockNumber" in value else quantity(value.get("number"))
    return None


def _size(key: Key, entry: Entry) -> int:
    return len(key[2]) + len(entry.result) + ENTRY_OVERHEAD
