"""The operator's own HTTP listener.

| path | answer |
|---|---|
| GET /healthz | 200 while the process answers |
| GET /readyz | 200 when every service can be asked for, else 503 and what is missing |
| GET /metrics | Prometheus' text format |
| GET /status | one JSON object: sessions, suppliers, what is spent |
| GET /explain/{service} | why each supplier is chosen or not; `?class=` narrows |
| GET /keys, POST /keys | list keys; make one, from `{"name", "expires_s", "rules"}` |
| PUT /keys/{id}/rules, DELETE /keys/{id}, POST /keys/{id}/rotate | change, revoke, rotate |
| / and /api/ | the dashboard (`pocketnode.web.serve`) |
| GET /usage | used by key, service, method or model, and day; `?key=`, `?days=`, `?format=csv` |
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from pocketnode.errors import BadInput, NotFound, PocketError
from pocketnode.gateway.access import rules_of
from pocketnode.gateway.config import host_port
from pocketnode.gateway.facts import Facts
from pocketnode.store.keys import ApiKey, KeyStore
from pocketnode.store.usage import UsageStore
from pocketnode.web.listener import Listener, admitted

DAY_S: Final = 86_400
ROTATE_GRACE_S: Final = 3600
BODY_BYTES_MOST: Final = 64 * 1024
Extra = Callable[[], Awaitable[dict[str, Any]]]

audit = structlog.get_logger("audit")


class AdminServer:
    """Serves until closed. `extra` adds facts to /status that must be read first, such as money on chain."""

    def __init__(
        self,
        facts: Facts,
        keys: KeyStore,
        usage: UsageStore,
        token: str,
        extra: Extra | None = None,
    ) -> None:
        self._facts = facts
        self._keys = keys
        self._usage = usage
        self._token = token
        self._extra = extra
        self.app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES_MOST)
        self.app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics_text),
                web.get("/status", self._status_json),
                web.get("/explain/{service}", self._explain),
                web.get("/keys", self._list_keys),
                web.post("/keys", self._create_key),
                web.put("/keys/{id}/rules", self._set_rules),
                web.delete("/keys/{id}", self._revoke_key),
                web.post("/keys/{id}/rotate", self._rotate_key),
                web.get("/usage", self._usage_rows),
            ]
        )
        self._listener = Listener(self.app)

    async def start(self, listen: str) -> int:
        """Listen on `host:port` and return the port.

        Raises
        ------
        ConfigError
            the address cannot be had.
        """
        return await self._listener.start(*host_port(listen))

    async def start_at(self, path: Path) -> None:
        """Listen on a Unix socket as well, for the other processes of this gateway."""
        await self._listener.start_at(path)

    async def close(self) -> None:
        """Stop listening."""
        await self._listener.close()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not admitted(request, self._token):
            return _json({"error": "send the admin token as 'Authorization: Bearer TOKEN'"}, 401)
        try:
            return await handler(request)
        except NotFound as error:
            return _json({"error": str(error)}, 404)
        except BadInput as error:
            return _json({"error": str(error)}, 400)
        except PocketError as error:
            return _json({"error": str(error)}, 503)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        missing = await self._facts.missing()
        return _json({"ready": not missing, "missing": missing}, 503 if missing else 200)

    async def _metrics_text(self, _request: web.Request) -> web.Response:
        body = await self._facts.exposition()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status_json(self, _request: web.Request) -> web.Response:
        facts = await self._facts.status()
        if self._extra is not None:
            facts.update(await self._extra())
        return _json(facts)

    async def _explain(self, request: web.Request) -> web.Response:
        return _json(await self._facts.explain(request.match_info["service"], request.query.get("class")))

    # ---- keys

    async def _list_keys(self, _request: web.Request) -> web.Response:
        return _json([key_facts(key) for key in await asyncio.to_thread(self._keys.all)])

    async def _create_key(self, request: web.Request) -> web.Response:
        fields = await _object(request)
        name, expires_s = fields.get("name", ""), fields.get("expires_s")
        if not isinstance(name, str) or not (expires_s is None or isinstance(expires_s, int)):
            raise BadInput("'name' must be a string, 'expires_s' Unix seconds")
        rules = _rules(fields.get("rules", {}))
        key, secret = await asyncio.to_thread(self._keys.create, name, int(time.time()), expires_s, rules)
        audit.info("key created", key=key.id, name=name, by=request.remote)
        return _json({**key_facts(key), "secret": secret}, 201)

    async def _set_rules(self, request: web.Request) -> web.Response:
        identity, rules = request.match_info["id"], _rules(await _object(request))
        key = await asyncio.to_thread(self._keys.set_rules, identity, rules)
        audit.info("key changed", key=identity, by=request.remote)
        return _json(key_facts(key))

    async def _revoke_key(self, request: web.Request) -> web.Response:
        identity = request.match_info["id"]
        key = await asyncio.to_thread(self._keys.revoke, identity, int(time.time()))
        audit.info("key revoked", key=identity, by=request.remote)
        return _json(key_facts(key))

    async def _rotate_key(self, request: web.Request) -> web.Response:
        identity, now_s = request.match_info["id"], int(time.time())
        key, secret = await asyncio.to_thread(self._keys.rotate, identity, now_s, now_s + ROTATE_GRACE_S)
        audit.info("key rotated", key=identity, new=key.id, by=request.remote)
        return _json({**key_facts(key), "secret": secret}, 201)

    async def _usage_rows(self, request: web.Request) -> web.Response:
        days = request.query.get("days", "30")
        if not days.isdigit():
            raise BadInput("'days' must be a whole number")
        since_day = int(time.time()) // DAY_S - int(days)
        found = await asyncio.to_thread(self._usage.rows, request.query.get("key"), since_day)
        rows = usage_facts(found)
        if request.query.get("format") == "csv":
            return web.Response(text=usage_csv(rows), content_type="text/csv")
        return _json(rows)


def key_facts(key: ApiKey) -> dict[str, Any]:
    """Return what may be shown of a key."""
    return {
        "id": key.id,
        "name": key.name,
        "created_s": key.created_s,
        "expires_s": key.expires_s,
        "revoked_s": key.revoked_s,
        "rules": orjson.loads(key.rules),
    }


def usage_facts(found: Any) -> list[dict[str, Any]]:
    """Return usage rows; `worth` is units times price, a million times base units."""
    return [
        {
            "day": time.strftime("%Y-%m-%d", time.gmtime(place.day * DAY_S)),
            "key": place.key,
            "service": place.service,
            "what": place.what,
            "requests": used.requests,
            "units": used.units,
            "prompt_tokens": used.prompt_tokens,
            "output_tokens": used.output_tokens,
            "cost": used.worth // 1_000_000,
        }
        for place, used in found
    ]


def usage_csv(rows: list[dict[str, Any]]) -> str:
    """Return usage rows as CSV with a header line."""
    text = io.StringIO()
    names = ["day", "key", "service", "what", "requests", "units", "prompt_tokens", "output_tokens", "cost"]
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        fields = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadInput("the body must be a JSON object")
    return fields


def _rules(fields: Any) -> str:
    text = orjson.dumps(fields).decode()
    rules_of(text)
    return text


def _json(value: Any, status: int = 200) -> web.Response:
    # Amounts may exceed 64 bits, which orjson refuses.
    return web.Response(body=json.dumps(value).encode(), status=status, content_type="application/json")
