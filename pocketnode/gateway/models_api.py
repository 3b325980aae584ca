"""`GET /v1/models`: what is sold, at what price, by how many."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pocketnode.gateway.catalog import Catalog
from pocketnode.gateway.gate import Gate
from pocketnode.gateway.openai_answers import covers, refusal, shown
from pocketnode.gateway.refusal import NO_MODEL, Refused
from pocketnode.gateway.sessions import Sessions


class ModelsApi:
    """Lists models, by their names and their aliases."""

    def __init__(self, gate: Gate, catalog: Catalog, sessions: Sessions) -> None:
        self._gate = gate
        self._catalog = catalog
        self._sessions = sessions

    async def models(self, request: web.Request) -> web.Response:
        """List the models, with what they cost and how much they take."""
        request_id = self._gate.request_id(request)
        try:
            holder = await self._gate.holder(request)
            listed = [self._model(name) for name in self._names() if covers(holder, name)]
        except Refused as refused:
            return refusal(refused, request_id)
        return shown({"object": "list", "data": listed}, request_id, holder)

    async def model(self, request: web.Request) -> web.Response:
        """Show one model."""
        request_id = self._gate.request_id(request)
        try:
            holder = await self._gate.holder(request)
            name = request.match_info["model"]
            if name not in self._names():
                raise Refused(NO_MODEL, f"the model {name[:128]!r} does not exist", param="model")
            found = self._model(name)
        except Refused as refused:
            return refusal(refused, request_id)
        return shown(found, request_id, holder)

    def _names(self) -> list[str]:
        return [*self._catalog.models, *self._catalog.aliases]

    def _model(self, name: str) -> dict[str, Any]:
        service = self._catalog.models[self._catalog.model(name)]
        tokens = service.spec.tokens
        assert tokens is not None
        prices = self._sessions.prices(service)
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": service.name,
            "service": service.name,
            "engine": service.spec.title,
            "context_length": tokens.context,
            "suppliers": len(prices),
            "units": {"prompt_token": tokens.units_per_prompt_token, "output_token": tokens.units_per_output_token},
            "price_per_million_units": {"least": min(prices), "most": max(prices)} if prices else None,
        }
