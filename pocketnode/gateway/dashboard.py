"""What the dashboard shows of a gateway."""

from __future__ import annotations

from typing import Any, Final

from pocketnode.crypto.keys import checksum
from pocketnode.gateway.catalog import Catalog
from pocketnode.gateway.gate import Gate
from pocketnode.gateway.status import Status

PAGES: Final = ["overview", "suppliers", "money", "keys", "explorer"]
# What the overview holds a service's rate of answered requests against.
SUCCESS_TARGET: Final = 0.995


class GatewaySource:
    """Facts of one gateway. Without the chain's panels the pages that need them are left out."""

    def __init__(self, address: bytes, catalog: Catalog, status: Status, gate: Gate, with_chain: bool) -> None:
        self._address = address
        self._catalog = catalog
        self._status = status
        self._gate = gate
        self._pages = PAGES if with_chain else ["overview", "suppliers", "keys"]

    async def about(self) -> dict[str, Any]:
        """Return who this is and what it sells."""
        services = [
            {
                "id": service.name,
                "kind": service.spec.kind,
                "title": service.spec.title,
                "models": service.spec.models,
                "slo": {
                    "first_byte_ms": service.spec.slo.first_byte_ms,
                    "tokens_per_second": service.spec.slo.tokens_per_second,
                    "success": SUCCESS_TARGET,
                },
            }
            for service in self._catalog.services.values()
        ]
        return {"role": "gateway", "address": checksum(self._address), "pages": self._pages, "services": services}

    async def now(self) -> dict[str, Any]:
        """Return sessions and suppliers, each with why it is chosen or not."""
        facts = self._status.facts()
        explained = [row for name in self._catalog.services for row in self._status.explain(name)]
        return {**facts, "block": facts["head"], "in_flight": self._gate.in_flight, "explained": explained}
