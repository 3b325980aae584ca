"""What was read from the chain, for as long as it cannot have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ChainCache(Generic[K, V]):
    """A bounded cache. A value holds for good, or until the head of the chain is another block.

    Who asks for what is being read waits for that read.
    """

    def __init__(self, most: int) -> None:
        self._kept: LRUCache[K, tuple[V, bytes | None]] = LRUCache(most)
        self._reading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, head: bytes, for_good: bool, read: Callable[[], Awaitable[V]]) -> V:
        """Return what is known of `key`, or read it.

        Parameters
        ----------
        head : hash of the newest block.
        for_good : whether what is read now can never change.
        """
        kept = self._kept.get(key)
        if kept is not None and kept[1] in (None, head):
            return kept[0]
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.ensure_future(self._read(key, None if for_good else head, read))
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(task)

    async def _read(self, key: K, until: bytes | None, read: Callable[[], Awaitable[V]]) -> V:
        value = await read()
        self._kept[key] = (value, until)
        return value
