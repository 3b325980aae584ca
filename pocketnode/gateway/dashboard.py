"""What the dashboard shows of a gateway."""

from __future__ import annotations

from typing import Any, Final

from pocketnode.crypto.keys import checksum
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.facts import Facts

PAGES: Final = ["overview", "suppliers", "money", "keys", "explorer"]


def _service(service: Service) -> dict[str, Any]:
    promised, target = service.spec.slo, service.target
    return {
        "id": service.name,
        "kind": service.spec.kind,
        "title": service.spec.title,
        "models": service.spec.models,
        "slo": {
            "success": target.success,
            "first_byte_ms": target.first_byte_ms or promised.first_byte_ms,
            "tokens_per_second": promised.tokens_per_second,
            "price": target.price,
        },
    }


class GatewaySource:
    """Facts of one gateway. Without the chain's panels the pages that need them are left out."""

    def __init__(self, address: bytes, catalog: Catalog, facts: Facts, with_chain: bool) -> None:
        self._address = address
        self._catalog = catalog
        self._facts = facts
        self._pages = PAGES if with_chain else ["overview", "suppliers", "keys"]

    async def about(self) -> dict[str, Any]:
        """Return who this is and what it sells."""
        services = [_service(service) for service in self._catalog.services.values()]
        return {"role": "gateway", "address": checksum(self._address), "pages": self._pages, "services": services}

    async def now(self) -> dict[str, Any]:
        """Return sessions and suppliers, each with why it is chosen or not."""
        facts = await self._facts.status()
        explained = [row for name in list(self._catalog.services) for row in await self._facts.explain(name)]
        return {**facts, "block": facts["head"], "explained": explained}
