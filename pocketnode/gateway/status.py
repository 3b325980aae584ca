"""What the gateway says of itself: to /status, to /readyz, to `gateway explain`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pocketnode.gateway.active import ActiveSession, Seat
from pocketnode.gateway.catalog import Catalog
from pocketnode.gateway.sessions import Sessions
from pocketnode.protocol.quality import Verdict, quality
from pocketnode.protocol.statement import UNITS_PER_PRICE, amount_down


class Status:
    """Facts as JSON values."""

    def __init__(self, gateway: bytes, catalog: Catalog, sessions: Sessions) -> None:
        self._gateway = gateway
        self._catalog = catalog
        self._sessions = sessions
        self._started_s = time.time()
        self.draining = False

    def missing(self) -> list[str]:
        """Return what keeps this gateway from answering; empty when it is ready."""
        if self.draining:
            return ["draining"]
        problems = self._sessions.problems()
        return [
            f"{service.name}: {problems.get(service.name, 'no lane is open yet')}"
            for service in self._catalog.services.values()
            if not self._sessions.served(service)
        ]

    def facts(self) -> dict[str, Any]:
        """Return everything: sessions, suppliers, what is spent."""
        missing = self.missing()
        return {
            "gateway": "0x" + self._gateway.hex(),
            "ready": not missing,
            "missing": missing,
            "uptime_s": round(time.time() - self._started_s, 1),
            "head": self._sessions.market.head,
            "tasks": len(asyncio.all_tasks()),
            "sessions": [self._session(active) for active in self._sessions.all()],
        }

    def explain(self, service: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Return for each supplier of a service whether it is chosen, and why or why not."""
        rows = []
        for active in self._sessions.all():
            if active.service.name == service and not active.retiring:
                for one in [kind] if kind else active.kinds():
                    rows += _explained(active, one)
        return rows

    def _session(self, active: ActiveSession) -> dict[str, Any]:
        session = active.session
        return {
            "service": active.service.name,
            "kind": active.service.spec.kind,
            "application": "0x" + session.application.hex(),
            "session": active.session_hex,
            "number": session.number,
            "start": session.start,
            "end": session.end,
            "blocks_left": max(0, session.end - self._sessions.market.head),
            "retiring": active.retiring,
            "w_min": active.w_min,
            "cap": active.purse.cap // UNITS_PER_PRICE,
            "spent": active.purse.spent // UNITS_PER_PRICE,
            "reserved": active.purse.reserved // UNITS_PER_PRICE,
            "suppliers": [_supplier(active, seat) for seat in active.seats.values()],
        }


def _supplier(active: ActiveSession, seat: Seat) -> dict[str, Any]:
    supplier = seat.supplier
    return {
        "operator": seat.supplier_hex,
        "index": supplier.index,
        "registration": supplier.registration,
        "endpoint": supplier.endpoint,
        "price": supplier.price,
        "lane": "open" if seat.open() else "opening" if seat.connecting else "closed",
        "problem": seat.problem,
        "in_flight": active.load(supplier.operator),
        "relays": seat.relays,
        "units": seat.units,
        "amount": amount_down(seat.units, supplier.price),
        "first_byte_ms": round(seat.first_byte_ms, 1),
        "quality": quality(seat.tally(), active.w_min),
        "fast": seat.fast,
        "verdicts": {verdict.name.lower(): seat.verdicts[verdict] for verdict in Verdict},
    }


def _explained(active: ActiveSession, kind: str) -> list[dict[str, Any]]:
    now_s = time.time()
    ranking = active.ranking(kind, now_s)
    tiers = {operator: number for number, tier in enumerate(ranking.tiers, 1) for operator in tier}
    rows = []
    for standing in active.standings(kind, now_s):
        seat = active.seats[standing.operator]
        tier = tiers.get(standing.operator)
        rows.append(
            {
                "service": active.service.name,
                "class": kind,
                "supplier": seat.supplier_hex,
                "owner": "0x" + standing.owner.hex(),
                "tier": tier,
                "why": _why(seat, tier, standing.operator in ranking.capped, now_s),
                "good_rate": round(standing.rate, 4),
                "tries": round(standing.tries, 1),
                "latency_ms": round(standing.latency_ms, 1),
                "in_flight": active.load(standing.operator),
                "traffic": round(standing.traffic, 1),
            }
        )
    return sorted(rows, key=lambda row: (row["tier"] is None, row["tier"], row["latency_ms"]))


def _why(seat: Seat, tier: int | None, capped: bool, now_s: float) -> str:
    if not seat.open():
        return f"no lane: {seat.problem or 'it is being opened'}"
    if seat.rest_until_s > now_s:
        return f"rests for {seat.rest_until_s - now_s:.1f} s: it was busy or failed just now"
    if capped:
        return "its owner has its full share of the traffic"
    if tier == 1:
        return "best tier: chosen by latency and load"
    return f"tier {tier}: its rate of good answers is below the best; gets the probation share"
