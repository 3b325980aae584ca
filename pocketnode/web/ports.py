"""What the dashboard asks of the daemon it shows, and of the parts that show more."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web


class Source(Protocol):
    """Facts as JSON values: amounts in base units, addresses and hashes in 0x hex, times in Unix seconds."""

    async def about(self) -> dict[str, Any]:
        """Return what does not change while the daemon runs: `role`, `address`, `pages`, `services`."""

    async def now(self) -> dict[str, Any]:
        """Return how things stand. Asked every two seconds while somebody looks."""


class Panel(Protocol):
    """A part of the dashboard with answers of its own, such as the explorer."""

    def routes(self) -> list[web.RouteDef]:
        """Return what it answers; the dashboard sees to who may ask."""

    async def about(self) -> dict[str, Any]:
        """Return facts that join the source's."""
