"""What the dashboard asks of the daemon it shows."""

from __future__ import annotations

from typing import Any, Protocol


class Source(Protocol):
    """Facts as JSON values: amounts in base units as decimal strings, addresses and hashes in 0x hex, times in seconds."""

    async def about(self) -> dict[str, Any]:
        """Return what does not change while the daemon runs: `role`, `address`, `services`, `token`."""

    async def now(self) -> dict[str, Any]:
        """Return how things stand. Asked every two seconds while somebody looks."""
