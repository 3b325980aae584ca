"""The operator's own HTTP listener: health, readiness, metrics and status.

| path | answer |
|---|---|
| /healthz | 200 while the process answers |
| /readyz | 200 when relays can be answered, else 503 and what is missing |
| /metrics | Prometheus' text format |
| / and /api/ | the dashboard (`pocketnode.web.serve`) |
| /status | one JSON object: services, backends, sessions, what is owed |
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from pocketnode.supplier.config import host_port
from pocketnode.supplier.metrics import Metrics
from pocketnode.supplier.status import Status
from pocketnode.web.listener import Listener, admitted, token_in

Extra = Callable[[], Awaitable[dict[str, Any]]]


class AdminServer:
    """Serves until closed. `extra` adds facts to /status that must be read first, such as money on chain."""

    def __init__(self, status: Status, metrics: Metrics, token: str = "", extra: Extra | None = None) -> None:
        self._status = status
        self._metrics = metrics
        self._token = token
        self._extra = extra
        self.app = app = web.Application(middlewares=[self._guard])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics_text)
        app.router.add_get("/status", self._status_json)
        self._listener = Listener(app)

    async def start(self, listen: str) -> int:
        """Listen on `host:port` and return the port.

        Raises
        ------
        ConfigError
            the address cannot be had.
        """
        return await self._listener.start(*host_port(listen))

    async def close(self) -> None:
        """Stop listening."""
        await self._listener.close()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not admitted(request, self._token):
            raise web.HTTPUnauthorized(text="give the admin token: Authorization: Bearer TOKEN\n")
        return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        missing = self._status.not_ready()
        return web.Response(text="".join(f"{m}\n" for m in missing) or "ready\n", status=503 if missing else 200)

    async def _metrics_text(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"content-type": "text/plain; version=0.0.4"})

    async def _status_json(self, _: web.Request) -> web.Response:
        facts = self._status.facts()
        if self._extra is not None:
            facts |= await self._extra()
        # Amounts in wei outgrow 64 bits, which is all that orjson takes.
        return web.Response(text=json.dumps(facts), content_type="application/json")


def token_of(file: Path | None) -> str:
    """Return the admin token, or nothing where no file is named."""
    return "" if file is None else token_in(file)
