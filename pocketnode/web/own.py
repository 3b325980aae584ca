"""What each session of this daemon waits for, from its own store.

| path | answer |
|---|---|
| /api/own | `?limit=40`: the newest pots: stage, amounts, and until which block it waits |
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from pocketnode.crypto.keys import checksum
from pocketnode.store.pots import ManyPots, Pot, PotStore
from pocketnode.web.answers import json, number_of
from pocketnode.web.book import name_of


class OwnPots:
    """The pots of one party, or of all keys of a supplier."""

    def __init__(self, pots: PotStore | ManyPots) -> None:
        self._pots = pots

    async def about(self) -> dict[str, Any]:
        """Return nothing of its own."""
        return {}

    def routes(self) -> list[web.RouteDef]:
        """Return what the dashboard asks."""
        return [web.get("/api/own", self._newest)]

    async def _newest(self, request: web.Request) -> web.Response:
        limit = number_of(request.query.get("limit", "40"), 1, 500)
        found = await asyncio.to_thread(self._pots.all)
        newest = sorted(found, key=lambda pot: -pot.number)[:limit]
        return json({"pots": [_facts(pot) for pot in newest]})


def _facts(pot: Pot) -> dict[str, Any]:
    return {
        "pot": f"0x{pot.id.hex()}",
        "application": checksum(pot.application),
        "gateway": checksum(pot.gateway),
        "service": name_of(pot.service),
        "session": pot.number,
        "stage": str(pot.stage),
        "until": pot.until,
        "earned": str(pot.earned),
        "stated": str(pot.stated),
        "claimed": str(pot.claimed),
        "paid": str(pot.paid),
        "note": pot.note,
    }
