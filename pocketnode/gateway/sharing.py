"""Coalescing: requests that are alike and in flight at once share one relay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Sharing(Generic[K, V]):
    """Work by key, done once at a time, by the first who asks. If that one leaves, the next one begins anew."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Future[V | None]] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def get(self, key: K, work: Callable[[], Awaitable[V]]) -> tuple[V, bool]:
        """Return what `work` gives, and whether another did it.

        Errors are the first one's alone: who waited tries for itself.
        """
        while (running := self._running.get(key)) is not None:
            found = await asyncio.shield(running)
            if found is not None:
                return found, True
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._running[key] = future
        made: V | None = None
        try:
            made = await work()
            return made, False
        finally:
            del self._running[key]
            future.set_result(made)
