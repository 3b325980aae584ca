"""`POST /rpc/{service}`: JSON-RPC, single and in batches. Each item of a batch is a relay of its own."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiohttp import web
from multidict import CIMultiDict

from pocketnode.gateway import trust
from pocketnode.gateway.access import Holder
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.gate import JSON, REQUEST_ID, Gate, limit_headers, refusal_headers
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.refusal import INTERNAL, NO_SERVICE, Refused, bug, rpc_error
from pocketnode.gateway.reporting import PARENT, Reporting
from pocketnode.gateway.rpc_codec import NOTIFICATION, Item, parse
from pocketnode.gateway.rpc_items import CACHE, Replied, RpcItems
from pocketnode.gateway.trail import Trail
from pocketnode.gateway.watching import UNROUTED
from pocketnode.gateway.whole import whole

ROUTE: Final = "/rpc/{service}"
SOCKET: Final = "/rpc/{service} websocket"
BATCH: Final = "batch"
UNKNOWN: Final = "unknown"  # a method that is not sold: its name would be a label that strangers choose
TARGET: Final = "Target-Service-Id"
log = structlog.get_logger()
PROVING: Final = (trust.PROOF, trust.PINNED)
PROOFS_MOST: Final = 128  # more would be headers longer than clients take
KEPT: Final = ("hit", "shared")  # how the cache's header begins where no supplier was asked


class RpcApi:
    """Answers JSON-RPC."""

    def __init__(self, gate: Gate, catalog: Catalog, items: RpcItems, metrics: Metrics, reporting: Reporting) -> None:
        self._gate = gate
        self._catalog = catalog
        self._items = items
        self._metrics = metrics
        self._reporting = reporting

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer a single request or a batch."""
        request_id = self._gate.request_id(request)
        trail = Trail(ROUTE, request.headers.get(PARENT))
        try:
            self._gate.enter()
        except Refused as refused:
            self._metrics.turned_away(UNROUTED, refused)
            return _refusal(refused, request_id)
        try:
            response = await self._answer(request, request_id, trail)
            trail.status = response.status
            return response
        except Refused as refused:
            trail.status = refused.reason.status
            return _refusal(refused, request_id, trail)
        except Exception:
            log.exception("a request failed for a reason of our own", request_id=request_id)
            trail.status = INTERNAL.status
            return _refusal(bug(), request_id, trail)
        finally:
            self._gate.leave()
            self._reporting.ended(trail, request_id)

    async def _answer(self, request: web.Request, request_id: str, trail: Trail) -> web.Response:
        holder, service, parsed = await self._read(request, trail)
        if isinstance(parsed, Item):
            replied = await self.single(service, holder, parsed, trail)
            headers = {REQUEST_ID: request_id, **replied.headers, **trail.headers(), **limit_headers(holder)}
            return whole(request, replied.body, 200 if replied.body else 204, headers)
        replies = await self._replies(service, holder, parsed, trail)
        body = _joined(replies)
        told = CIMultiDict({REQUEST_ID: request_id, **trail.headers(), **limit_headers(holder)})
        if trust.WANTS_PROOF in request.headers:
            told.extend(_proofs(replies))
        return web.Response(body=body, status=200 if body else 204, headers=told, content_type=JSON)

    async def _read(self, request: web.Request, trail: Trail) -> tuple[Holder, Service, Item | list[Item | Refused]]:
        """Return who asks whom for what."""
        name = UNROUTED
        try:
            service = self.service(request)
            name = trail.service = service.name
            holder = await self._gate.holder(request, name)
            trail.key, trail.holder = holder.key.id, holder
            return holder, service, parse(await self._gate.body(request), self._gate.limits.batch_items)
        except Refused as refused:
            self._metrics.turned_away(name, refused)
            raise

    def service(self, request: web.Request) -> Service:
        """Return the service that the path or header names."""
        name = request.match_info.get("service") or request.headers.get(TARGET) or ""
        service = self._catalog.services.get(name)
        if service is None or service.spec.kind != "json-rpc":
            raise Refused(NO_SERVICE, f"no JSON-RPC service {name[:64]!r} here")
        return service

    async def message(self, service: Service, holder: Holder, parsed: Item | list[Item | Refused]) -> bytes:
        """Answer what came over a WebSocket."""
        trail = Trail(SOCKET, service=service.name, key=holder.key.id, status=101)
        try:
            if isinstance(parsed, Item):
                return (await self.single(service, holder, parsed, trail)).body
            return _joined(await self._replies(service, holder, parsed, trail))
        except Refused as refused:
            trail.status = refused.reason.status
            raise
        finally:
            self._reporting.ended(trail, self._gate.new_id())

    async def single(self, service: Service, holder: Holder, item: Item, trail: Trail) -> Replied:
        """Answer one request; a refusal carries its id."""
        trail.what = item.method if service.spec.method(item.method) is not None else UNKNOWN
        try:
            return await self._watched(service, holder, item, trail)
        except Refused as refused:
            refused.raw_id = item.raw_id or b"null"
            raise

    async def _watched(self, service: Service, holder: Holder, item: Item, trail: Trail) -> Replied:
        with self._metrics.watch(service.name) as watched:
            replied = await self._items.answer(service, holder, item, trail)
            watched.kept = replied.headers.get(CACHE, "").startswith(KEPT)
            return replied

    async def _replies(
        self, service: Service, holder: Holder, items: list[Item | Refused], trail: Trail
    ) -> list[Replied]:
        """Return the answers to a batch in the order of its items, an empty one to a notification."""
        trail.what = BATCH
        at_once = asyncio.Semaphore(self._gate.limits.batch_concurrency)
        return await asyncio.gather(*(self._batch_item(service, holder, item, at_once, trail) for item in items))

    async def _batch_item(
        self, service: Service, holder: Holder, item: Item | Refused, at_once: asyncio.Semaphore, trail: Trail
    ) -> Replied:
        if isinstance(item, Refused):
            return Replied(rpc_error(item, item.raw_id), {})
        async with at_once:
            try:
                return await self._watched(service, holder, item, trail)
            except Refused as refused:
                return Replied(b"" if item.raw_id == NOTIFICATION else rpc_error(refused, item.raw_id), {})
            except Exception:  # one item must not take the others with it, which may be paid for
                log.exception("an item failed for a reason of our own", method=item.method)
                return Replied(b"" if item.raw_id == NOTIFICATION else rpc_error(bug(), item.raw_id), {})


def _joined(replies: list[Replied]) -> bytes:
    bodies = [reply.body for reply in replies if reply.body]
    return b"[" + b",".join(bodies) + b"]" if bodies else b""


def _proofs(replies: list[Replied]) -> list[tuple[str, str]]:
    """Return the headers with which each item of a batch can be checked alone: `ITEM: VALUE`, counted from 0."""
    found: list[tuple[str, str]] = []
    for place, reply in enumerate(replies[:PROOFS_MOST]):
        found += [(name, f"{place}: {reply.headers[name]}") for name in PROVING if name in reply.headers]
    return found


def _refusal(refused: Refused, request_id: str, trail: Trail | None = None) -> web.Response:
    headers = refusal_headers(refused, request_id, trail)
    return web.Response(
        body=rpc_error(refused, refused.raw_id),
        status=refused.reason.status,
        headers=headers,
        content_type=JSON,
    )
