"""What API keys used, gathered in memory and written every second; written once more when the daemon ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from pocketnode.errors import Unavailable
from pocketnode.store.usage import UsageKey, UsageStore, Used

FLUSH_S: Final = 1.0
DAY_S: Final = 86_400
WHAT_CHARS_MOST: Final = 128

log = structlog.get_logger()


class Ledger:
    """Sums by key, service, method or model, and day. `run` is a job of the daemon."""

    def __init__(self, store: UsageStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._pending: dict[UsageKey, Used] = {}

    def add(
        self, key: str, service: str, what: str, units: int, worth: int, prompt_tokens: int = 0, output_tokens: int = 0
    ) -> None:
        """Book one answered request. Failures are not booked: nothing is charged for them."""
        place = UsageKey(key, service, what[:WHAT_CHARS_MOST], int(self._clock()) // DAY_S)
        used = self._pending.get(place)
        if used is None:
            used = self._pending[place] = Used()
        used.requests += 1
        used.units += units
        used.worth += worth
        used.prompt_tokens += prompt_tokens
        used.output_tokens += output_tokens

    async def run(self) -> None:
        """Write every second until cancelled, then what is left."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self._write()
        finally:
            await asyncio.shield(self._write())

    async def _write(self) -> None:
        pending, self._pending = self._pending, {}
        if not pending:
            return
        try:
            await asyncio.to_thread(self._store.add, pending)
        except Unavailable as error:
            log.error("usage is not written; it is kept and tried again", error=str(error))
            self._keep(pending)

    def _keep(self, unwritten: dict[UsageKey, Used]) -> None:
        for place, more in unwritten.items():
            used = self._pending.setdefault(place, Used())
            for name in Used.__slots__:
                setattr(used, name, getattr(used, name) + getattr(more, name))
