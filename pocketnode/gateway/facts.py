"""What a gateway tells of itself on its admin listener: of this process, or gathered from its workers."""

from __future__ import annotations

from typing import Any, Protocol

from pocketnode.gateway.gate import Gate
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.sessions import Sessions
from pocketnode.gateway.status import Status


class Facts(Protocol):
    """What the admin listener and the dashboard show. JSON values."""

    async def missing(self) -> list[str]:
        """Return what keeps the gateway from answering; empty when it is ready."""

    async def status(self) -> dict[str, Any]:
        """Return everything: sessions, suppliers, what is spent, requests in flight."""

    async def explain(self, service: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Return for each supplier of a service whether it is chosen, and why or why not."""

    async def exposition(self) -> bytes:
        """Return the text that Prometheus scrapes."""


class OwnFacts:
    """Those of this process."""

    def __init__(self, status: Status, metrics: Metrics, sessions: Sessions, gate: Gate) -> None:
        self._status, self._metrics, self._sessions, self._gate = status, metrics, sessions, gate

    async def missing(self) -> list[str]:
        return self._status.missing()

    async def status(self) -> dict[str, Any]:
        return {**self._status.facts(), "in_flight": self._gate.in_flight}

    async def explain(self, service: str, kind: str | None = None) -> list[dict[str, Any]]:
        return self._status.explain(service, kind)

    async def exposition(self) -> bytes:
        return self._metrics.exposition(self._sessions.all)
