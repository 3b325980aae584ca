"""Makes a backend slow and unreliable on purpose, so that a localnet shows what quality is worth."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.ports import Backend, Exchange


class DegradedBackend:
    """Stands between a supplier and its backend.

    Parameters
    ----------
    delay_ms : added to every answer.
    failure_rate : share of requests that fail, 0 to 1.
    seed : the same seed fails the same requests.
    """

    def __init__(self, inner: Backend, delay_ms: int, failure_rate: float, seed: int = 0) -> None:
        self._inner = inner
        self._delay_s = delay_ms / 1000
        self._failure_rate = failure_rate
        self._dice = random.Random(seed)
        self.name = inner.name

    @property
    def identity(self) -> bytes:
        return self._inner.identity

    @property
    def facts(self) -> dict[str, Any]:
        return {**self._inner.facts, "degraded": True}

    async def answer(self, exchange: Exchange) -> int:
        """Answer late, or fail."""
        fails = self._dice.random() < self._failure_rate
        await asyncio.sleep(self._delay_s)
        if fails:
            raise BackendFailed(f"{self.name}: degraded on purpose", elsewhere=False)
        return await self._inner.answer(exchange)

    async def check(self) -> None:
        """As the backend itself: being degraded does not take it out of use."""
        await self._inner.check()

    async def load(self) -> int | None:
        return await self._inner.load()
