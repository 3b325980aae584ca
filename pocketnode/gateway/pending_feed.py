"""Transactions that wait to be mined, from one supplier's filter; another one's where that supplier is lost.

Nodes hear of different transactions at different times: what one supplier sees is told once, not everything that is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pocketnode.errors import PocketError

SEEN_MOST: Final = 20_000

# Asks the supplier with this operator, or any for None; returns its result and operator.
AskAt = Callable[[str, list[Any], bytes | None], Awaitable[tuple[Any, bytes]]]


class PendingFeed:
    """One for each service."""

    def __init__(self, ask_at: AskAt) -> None:
        self._ask_at = ask_at
        self._filter: tuple[str, bytes] | None = None  # its id, and who keeps it
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def news(self) -> list[str]:
        """Return the hashes that are new since the last call, each once; none while suppliers change."""
        try:
            if self._filter is None:
                made, operator = await self._ask_at("eth_newPendingTransactionFilter", [], None)
                self._filter = (made, operator) if isinstance(made, str) else None
                return []
            identity, keeper = self._filter
            found, _ = await self._ask_at("eth_getFilterChanges", [identity], keeper)
        except PocketError:
            self._filter = None
            return []
        if not isinstance(found, list):
            self._filter = None  # its keeper has forgotten it
            return []
        return [one for one in found if isinstance(one, str) and self._is_new(one)]

    def forget(self) -> None:
        """Leave the filter to itself: nobody listens any more, and nodes drop what is not asked for."""
        self._filter = None

    def _is_new(self, transaction: str) -> bool:
        if transaction in self._seen:
            return False
        self._seen[transaction] = None
        while len(self._seen) > SEEN_MOST:
            self._seen.popitem(last=False)
        return True
