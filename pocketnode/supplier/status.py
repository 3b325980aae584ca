"""What the daemon shows of itself: one snapshot for `supplier status`, the metrics and readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pocketnode.backends.pool import Member, Pool
from pocketnode.crypto.keys import checksum
from pocketnode.protocol.session import service_name
from pocketnode.supplier.account import GatewayAccount
from pocketnode.supplier.answerer import Offer, SupplierAnswerer
from pocketnode.supplier.keeping import Keeper
from pocketnode.supplier.metrics import Gauge
from pocketnode.supplier.ports import Clock
from pocketnode.transport.server import RelayServer


class Status:
    """Looks at the running parts; changes nothing."""

    def __init__(self, answerer: SupplierAnswerer, server: RelayServer, keeper: Keeper, clock: Clock) -> None:
        self._answerer = answerer
        self._server = server
        self._keeper = keeper
        self._clock = clock
        self.listening = ""

    def not_ready(self) -> list[str]:
        """Return what is missing before relays can be answered; nothing if they can."""
        missing = []
        if not self.listening:
            missing.append("not listening yet")
        if not self._clock.number:
            missing.append("the chain has not been read")
        if self._answerer.draining:
            missing.append("draining")
        dead = [offer.spec.id for offer in self._answerer.offers.values() if not offer.pool.healthy]
        if len(dead) == len(self._answerer.offers):
            missing.append("no backend of any service works")
        return missing

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON values: units, amounts in base units, seconds."""
        return {
            "operators": [{"operator": checksum(address)} for address in self._server.operators],
            "listen": self.listening,
            "block": self._clock.number,
            "ready": not self.not_ready(),
            "missing": self.not_ready(),
            "lanes": self._server.lanes,
            "in_flight": self._server.in_flight,
            "tasks": len(asyncio.all_tasks()),
            "unsaved_lanes": self._keeper.pending,
            "store_failures": self._keeper.failures,
            "services": [_service(offer) for offer in self._answerer.offers.values()],
            "sessions": [_account(account) for account in self._answerer.accounts],
        }

    def gauges(self) -> Iterable[Gauge]:
        """Return the numbers that a scrape shows."""
        yield Gauge("lanes", "open lanes", self._server.lanes)
        yield Gauge("accounts", "gateways times sessions that are not over", len(self._answerer.accounts))
        yield Gauge("unsaved_lanes", "lanes whose newest Receipt is not on disk", self._keeper.pending)
        yield Gauge("block", "newest block known", self._clock.number)
        for offer in self._answerer.offers.values():
            waiting = sum(pool.waiting for pool in offer.pools)
            yield Gauge("waiting", "requests that wait for a free backend", waiting, (("service", offer.spec.id),))
            for pool in offer.pools:
                yield from _pool_gauges(offer.spec.id, pool)
        for name, units in self._unacknowledged().items():
            yield Gauge("unacknowledged_units", "served and not yet acknowledged", units, (("service", name),))

    def _unacknowledged(self) -> Mapping[str, int]:
        units = {offer.spec.id: 0 for offer in self._answerer.offers.values()}
        for account in self._answerer.accounts:
            name = service_name(account.pot.session.service)
            units[name] = units.get(name, 0) + account.unacknowledged
        return units


def _pool_gauges(service: str, pool: Pool) -> Iterable[Gauge]:
    for member in pool.members:
        labels = (("service", service), ("backend", member.backend.name))
        yield Gauge("backend_up", "1 while it is in use", float(member.in_use), labels)
        yield Gauge("backend_in_flight", "requests at the backend now", member.in_flight, labels)
        yield Gauge("backend_failures_total", "failures of the backend, checks among them", member.failures, labels)


def _service(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.spec.id,
        "kind": offer.spec.kind,
        "operators": sorted(map(checksum, offer.operators)),
        "waiting": sum(pool.waiting for pool in offer.pools),
        "backends": [_member(member) for pool in offer.pools for member in pool.members],
    }


def _member(member: Member) -> dict[str, Any]:
    return {
        "name": member.backend.name,
        "identity": f"0x{member.backend.identity.hex()}",
        "state": member.state.state.value,
        "in_flight": member.in_flight,
        "concurrency": member.concurrency,
        "served": member.served,
        "failures": member.failures,
        "mean_s": round(member.mean_s, 4),
        "last_error": member.last_error,
        "engine": member.backend.facts,
    }


def _account(account: GatewayAccount) -> dict[str, Any]:
    session = account.pot.session
    return {
        "operator": checksum(account.pot.us.operator),
        "application": checksum(session.application),
        "service": service_name(session.service),
        "session": session.number,
        "gateway": checksum(account.pot.gateway),
        "end_block": session.end,
        "lanes": account.lanes,
        "price": account.pot.us.price,
        "acknowledged_units": account.acknowledged,
        "elsewhere_units": account.elsewhere,
        "unacknowledged_units": account.unacknowledged,
        "held_units": account.held,
        "guaranteed_units": account.most_owed,
        "owed_amount": account.acknowledged_amount,
        "over": account.over,
    }
