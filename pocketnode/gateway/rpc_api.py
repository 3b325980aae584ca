"""`POST /rpc/{service}`: JSON-RPC, single and in batches. Each item of a batch is a relay of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aiohttp import web

from pocketnode.gateway import trust
from pocketnode.gateway.access import Holder
from pocketnode.gateway.broadcast import Broadcasting
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.gate import JSON, REQUEST_ID, Gate, limit_headers, refusal_headers
from pocketnode.gateway.ledger import Ledger
from pocketnode.gateway.refusal import INTERNAL, INVALID, NO_METHOD, NO_SERVICE, Refused, rpc_error
from pocketnode.gateway.relaying import Judgement, Order, Relaying
from pocketnode.gateway.rpc_codec import NOTIFICATION, Item, numbered, parse
from pocketnode.gateway.rpc_judging import judge
from pocketnode.gateway.sessions import Sessions
from pocketnode.protocol.payload import RequestHead, encode_request
from pocketnode.services.spec import Method

HEAD: Final = encode_request(RequestHead("POST", "/", {"content-type": JSON}))
TARGET: Final = "Target-Service-Id"


@dataclass(slots=True)
class Replied:
    """The answer to one item; empty for a notification."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class RpcApi:
    """Answers JSON-RPC."""

    def __init__(self, gate: Gate, catalog: Catalog, sessions: Sessions, relaying: Relaying, ledger: Ledger) -> None:
        self._gate = gate
        self._catalog = catalog
        self._sessions = sessions
        self._relaying = relaying
        self._ledger = ledger
        self._broadcasting = Broadcasting(relaying)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer a single request or a batch."""
        request_id = self._gate.request_id(request)
        try:
            self._gate.enter()
        except Refused as refused:
            return _refusal(refused, request_id)
        try:
            return await self._answer(request, request_id)
        except Refused as refused:
            return _refusal(refused, request_id)
        finally:
            self._gate.leave()

    async def _answer(self, request: web.Request, request_id: str) -> web.Response:
        service = self._service(request)
        holder = await self._gate.holder(request, service.name)
        parsed = parse(await self._gate.body(request), self._gate.limits.batch_items)
        if isinstance(parsed, Item):
            replied = await self._single(service, holder, parsed)
            headers = {REQUEST_ID: request_id, **replied.headers, **limit_headers(holder)}
            return web.Response(body=replied.body, status=200 if replied.body else 204, headers=headers)
        body = await self._batch(service, holder, parsed)
        headers = {REQUEST_ID: request_id, **limit_headers(holder)}
        return web.Response(body=body, status=200 if body else 204, headers=headers, content_type=JSON)

    def _service(self, request: web.Request) -> Service:
        name = request.match_info.get("service") or request.headers.get(TARGET) or ""
        service = self._catalog.services.get(name)
        if service is None or service.spec.kind != "json-rpc":
            raise Refused(NO_SERVICE, f"no JSON-RPC service {name[:64]!r} here")
        return service

    async def _single(self, service: Service, holder: Holder, item: Item) -> Replied:
        try:
            return await self._item(service, holder, item)
        except Refused as refused:
            refused.raw_id = item.raw_id or b"null"
            raise

    async def _batch(self, service: Service, holder: Holder, items: list[Item | Refused]) -> bytes:
        """Return the answers in the order of their requests."""
        at_once = asyncio.Semaphore(self._gate.limits.batch_concurrency)
        replies = await asyncio.gather(*(self._batch_item(service, holder, item, at_once) for item in items))
        bodies = [body for body in replies if body]
        return b"[" + b",".join(bodies) + b"]" if bodies else b""

    async def _batch_item(
        self, service: Service, holder: Holder, item: Item | Refused, at_once: asyncio.Semaphore
    ) -> bytes:
        if isinstance(item, Refused):
            return rpc_error(item, item.raw_id)
        async with at_once:
            try:
                return (await self._item(service, holder, item)).body
            except Refused as refused:
                return b"" if item.raw_id == NOTIFICATION else rpc_error(refused, item.raw_id)

    async def _item(self, service: Service, holder: Holder, item: Item) -> Replied:
        method = service.spec.method(item.method)
        if method is None:
            raise Refused(NO_METHOD, f"the method {item.method!r} does not exist")
        holder.check_method(item.method)
        reservation = holder.reserve(self._now_s(), method.units)
        spent = 0
        try:
            replied, spent = await self._relayed(service, holder, item, method)
            return replied
        finally:
            reservation.settle(spent)

    async def _relayed(self, service: Service, holder: Holder, item: Item, method: Method) -> tuple[Replied, int]:
        current = partial(self._sessions.active, service, holder.application)
        check = _accept_any if item.raw_id == NOTIFICATION else partial(_check, method, item.id)
        order = Order(
            current, method.pace, HEAD, numbered(item), method.units, method.units, check, repeatable=method.idempotent
        )
        if method.broadcast:
            answer, body = await self._broadcasting.send(order, item)
        else:
            answer = await self._relaying.whole(order)
            body = answer.body
        if answer.head.status >= 400 and not answer.body.lstrip().startswith(b"{"):
            raise Refused(INVALID if answer.head.status < 500 else INTERNAL, "the node refused the request")
        units = answer.attempt.units
        if units:
            worth = units * answer.attempt.seat.supplier.price
            self._ledger.add(holder.key.id, service.name, item.method, units, worth)
        return Replied(
            b"" if item.raw_id == NOTIFICATION else body, trust.headers_of(answer.attempt, answer.head)
        ), units

    def _now_s(self) -> float:
        return self._sessions.clock()


def _check(method: Method, request_id: object, status: int, body: bytes, units: int) -> Judgement:
    return judge(method, request_id, body, units)


def _accept_any(status: int, body: bytes, units: int) -> Judgement:
    return Judgement.TAKE


def _refusal(refused: Refused, request_id: str) -> web.Response:
    return web.Response(
        body=rpc_error(refused, refused.raw_id),
        status=refused.reason.status,
        headers=refusal_headers(refused, request_id),
        content_type=JSON,
    )
