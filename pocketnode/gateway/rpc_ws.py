"""JSON-RPC over a WebSocket: the same requests as by POST, and subscriptions that outlive suppliers and sessions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from pocketnode.gateway.access import Holder
from pocketnode.gateway.blocks import quantity
from pocketnode.gateway.catalog import Service
from pocketnode.gateway.chain_feed import ChainFeed
from pocketnode.gateway.gate import Gate, refusal_headers
from pocketnode.gateway.pending_feed import PendingFeed
from pocketnode.gateway.refusal import BAD_PARAMS, OVERLOADED, Refused, bug, rpc_error
from pocketnode.gateway.rpc_api import RpcApi
from pocketnode.gateway.rpc_codec import Item, parse, result
from pocketnode.gateway.rpc_items import RpcItems

FEED_EVERY_S: Final = 0.5
HEARTBEAT_S: Final = 30.0
QUEUED_MOST: Final = 2_000  # messages that wait for a slow client; more, and it is closed
IN_FLIGHT_MOST: Final = 64
SUBSCRIPTIONS_MOST: Final = 64
SOCKETS_MOST: Final = 10_000

log = structlog.get_logger()


class RpcSockets:
    """All WebSockets. `run` is a job of the daemon: it follows the chains that are subscribed to."""

    def __init__(self, gate: Gate, api: RpcApi, items: RpcItems) -> None:
        self._gate = gate
        self._api = api
        self._items = items
        self._feeds: dict[str, ChainFeed] = {}
        self.open: set[web.WebSocketResponse] = set()

    async def run(self) -> None:
        """Look for new blocks while anybody waits for them."""
        while True:
            started_s = time.monotonic()
            feeds = [feed for feed in self._feeds.values() if feed.subscriptions]
            for failed in await asyncio.gather(*(feed.step() for feed in feeds), return_exceptions=True):
                if isinstance(failed, Exception):
                    log.error("a chain feed failed for a reason of our own", exc_info=failed)
                elif isinstance(failed, BaseException):
                    raise failed
            await asyncio.sleep(max(0.05, FEED_EVERY_S - (time.monotonic() - started_s)))

    async def close(self) -> None:
        """Say goodbye to every client."""
        closing = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway stops") for socket in self.open)
        await asyncio.gather(*closing, return_exceptions=True)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket to its end."""
        request_id = self._gate.request_id(request)
        try:
            service = self._api.service(request)
            holder = await self._gate.holder(request, service.name)
            if len(self.open) >= SOCKETS_MOST:
                raise Refused(OVERLOADED, "the gateway has all the sockets that it can", retry_after_s=1)
        except Refused as refused:
            status, headers = refused.reason.status, refusal_headers(refused, request_id)
            return web.Response(body=rpc_error(refused), status=status, headers=headers)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=self._gate.limits.body_bytes)
        await socket.prepare(request)
        self.open.add(socket)
        feed = self._feeds.get(service.name)
        if feed is None:
            sells = service.spec.methods.get("eth_newPendingTransactionFilter") is not None
            pending = PendingFeed(partial(self._items.own.ask_at, service)) if sells else None
            feed = self._feeds[service.name] = ChainFeed(partial(self._items.own.ask, service), pending)
        items_most, show = self._gate.limits.batch_items, self._items.blocks[service.name].show
        origin = (request.headers.get("Origin"), request.remote)
        client = _Client(socket, service, holder, origin, self._api, feed, items_most, request.transport, show)
        try:
            await client.serve()
        finally:
            self.open.discard(socket)
        return socket


class _Client:
    """One WebSocket."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        service: Service,
        holder: Holder,
        origin: tuple[str | None, str | None],
        api: RpcApi,
        feed: ChainFeed,
        items_most: int,
        transport: asyncio.Transport | None,
        show: Callable[[str, int], None],
    ) -> None:
        self._socket = socket
        self._service = service
        self._holder = holder
        self._origin = origin  # the page and the address that it came from, which a key may be bound to
        self._api = api
        self._feed = feed
        self._items_most = items_most
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_MOST)
        self._subscribed: set[str] = set()
        self._at_once = asyncio.Semaphore(IN_FLIGHT_MOST)
        self._overrun = False
        self._transport = transport
        self._show = show

    async def serve(self) -> None:
        """Read requests, write answers and news, until either side ends it."""
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write())
            try:
                async for message in self._socket:
                    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY) or self._overrun:
                        break
                    data = message.data.encode() if isinstance(message.data, str) else message.data
                    await self._at_once.acquire()
                    group.create_task(self._answer(data))
            finally:
                for identity in self._subscribed:
                    self._feed.unsubscribe(identity)
                writing.cancel()

    async def _write(self) -> None:
        try:
            while True:
                await self._socket.send_str((await self._queue.get()).decode())
        except ConnectionResetError:
            return

    async def _answer(self, data: bytes) -> None:
        try:
            self._holder.check(time.time(), self._service.name, *self._origin)
            if body := await self._body(data):
                self._send(body)
        except Refused as refused:
            self._send(rpc_error(refused, refused.raw_id))
        except Exception:
            log.exception("a request failed for a reason of our own")
            self._send(rpc_error(bug(), b"null"))
        finally:
            self._at_once.release()

    async def _body(self, data: bytes) -> bytes:
        parsed = parse(data, self._items_most)
        if not isinstance(parsed, Item):
            return await self._api.message(self._service, self._holder, parsed)
        if parsed.method == "eth_subscribe":
            return self._subscribe(parsed)
        if parsed.method == "eth_unsubscribe":
            return self._unsubscribe(parsed)
        return await self._api.message(self._service, self._holder, parsed)

    def _subscribe(self, item: Item) -> bytes:
        raw_id = item.raw_id or b"null"
        try:
            self._holder.check_method(item.method)
            if len(self._subscribed) >= SUBSCRIPTIONS_MOST:
                raise Refused(BAD_PARAMS, f"one socket has at most {SUBSCRIPTIONS_MOST} subscriptions")
            identity = self._feed.subscribe(item.params, self._tell)
        except Refused as refused:
            refused.raw_id = raw_id
            raise
        self._subscribed.add(identity)
        return result(raw_id, orjson.dumps(identity))

    def _unsubscribe(self, item: Item) -> bytes:
        identity = item.params[0] if isinstance(item.params, list) and item.params else None
        known = isinstance(identity, str) and identity in self._subscribed
        if known:
            self._subscribed.discard(str(identity))
            self._feed.unsubscribe(str(identity))
        return result(item.raw_id or b"null", b"true" if known else b"false")

    def _tell(self, identity: str, news: Any) -> None:
        if isinstance(news, dict) and (number := quantity(news.get("number", news.get("blockNumber")))) is not None:
            self._show(self._holder.key.id, number)
        params = {"subscription": identity, "result": news}
        self._send(orjson.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))

    def _send(self, body: bytes) -> None:
        """Queue a message; a client that reads too slowly is closed, so that it costs no more memory."""
        try:
            self._queue.put_nowait(body)
        except asyncio.QueueFull:
            if not self._overrun and self._transport is not None:
                self._transport.abort()
            self._overrun = True
