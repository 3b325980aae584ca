"""A daemon to show: what it says is set by the test."""

from __future__ import annotations

from typing import Any

from pocketnode.errors import Unavailable


class FakeSource:
    """A source whose chain can go away."""

    def __init__(self) -> None:
        self.away = False

    async def about(self) -> dict[str, Any]:
        return {"role": "gateway", "pages": ["overview"], "services": []}

    async def now(self) -> dict[str, Any]:
        if self.away:
            raise Unavailable("no chain node answers")
        return {"block": 7, "cap": 2**90}


class FakeClock:
    """Seconds that pass when told."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
