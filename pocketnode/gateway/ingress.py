"""The listener that users see: which path goes to whom, and what is said to a path that nobody has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from pocketnode.errors import ConfigError
from pocketnode.gateway.config import BODY_MIB_MOST, host_port
from pocketnode.gateway.gate import Gate
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.models_api import ModelsApi
from pocketnode.gateway.openai_answers import internal
from pocketnode.gateway.openai_api import OpenAiApi
from pocketnode.gateway.refusal import NOT_ALLOWED_VERB, Reason, Refused
from pocketnode.gateway.relay_api import RelayApi
from pocketnode.gateway.rpc_api import TARGET, RpcApi
from pocketnode.gateway.rpc_ws import RpcSockets
from pocketnode.gateway.unreadable import Runner, error_at, expecting

NO_ROUTE: Final = Reason(404, "invalid_request_error", "unknown_url", -32601)
POSTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
BODY_BYTES_MOST: Final = BODY_MIB_MOST * 1024 * 1024
HEADER_BYTES_MOST: Final = 8190
HEADERS_MOST: Final = 100
KEEP_ALIVE_S: Final = 75.0
CORS: Final = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}
PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LINGER_S: Final = 1.0  # for the rest of a body that was refused


class Ingress:
    """Serves until closed."""

    def __init__(
        self,
        gate: Gate,
        openai: OpenAiApi,
        models: ModelsApi,
        rpc: RpcApi,
        sockets: RpcSockets,
        relays: RelayApi,
        metrics: Metrics,
    ) -> None:
        self._gate = gate
        self._rpc = rpc
        self._sockets = sockets
        self._metrics = metrics
        self.app = web.Application(client_max_size=BODY_BYTES_MOST)  # `Gate.body` keeps the configured limit
        expect = expecting(gate)
        for path in POSTS:
            self.app.router.add_post(path, openai.post, expect_handler=expect)
        self.app.router.add_get("/v1/models", self._safe(models.models))
        self.app.router.add_get("/v1/models/{model:.+}", self._safe(models.model))
        self.app.router.add_get("/v1/relays/{digest}", self._safe(relays.get))
        self.app.router.add_get("/v1/records/{pot}", self._safe(relays.records))
        self.app.router.add_get("/v1/records/{pot}/{index}", self._safe(relays.part), allow_head=False)
        self.app.router.add_post("/rpc/{service}", rpc.post, expect_handler=expect)
        self.app.router.add_post("/rpc/{service}/{key}", rpc.post, expect_handler=expect)
        for path in ("/rpc/{service}", "/rpc/{service}/{key}"):
            self.app.router.add_get(path, self._socket)
        self.app.router.add_post("/v1", self._by_header, expect_handler=expect)
        self.app.router.add_options("/{path:.*}", self._preflight)
        self.app.router.add_route("*", "/{path:.*}", self._unknown, expect_handler=expect)
        self.app.on_response_prepare.append(self._count)
        # A user who leaves cancels the handler: that is how the supplier's work is stopped (rule 3.14).
        self._runner = Runner(
            self.app,
            gate,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=HEADER_BYTES_MOST,
            max_field_size=HEADER_BYTES_MOST,
            max_headers=HEADERS_MOST,
            lingering_time=LINGER_S,
            shutdown_timeout=LINGER_S,
        )

    async def start(self, listen: str, reuse_port: bool = False) -> int:
        """Listen on `host:port` and return the port.

        Raises
        ------
        ConfigError
            the address cannot be had.
        """
        host, port = host_port(listen)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, reuse_port=reuse_port or None, backlog=1024).start()
        except OSError as error:
            raise ConfigError(f"listener {listen}: {error.strerror}: choose another `listen`") from error
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening; requests in flight are given up."""
        await self._runner.cleanup()

    async def stop_listening(self) -> None:
        """Take no new connection; what is in flight goes on."""
        for site in list(self._runner.sites):
            await site.stop()

    def _safe(self, handler: Handler) -> Handler:
        """Return a handler whose bugs are told to users in their own protocol; those of requests do that themselves."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except web.HTTPException:
                raise
            except Exception:
                return internal(self._gate.request_id(request))

        return answer

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await self._unknown(request)
        return await self._sockets.get(request)

    async def _preflight(self, _request: web.Request) -> web.Response:
        return web.Response(status=204, headers=PREFLIGHT)

    async def _by_header(self, request: web.Request) -> web.StreamResponse:
        """Answer PATH's form: the service stands in a header."""
        if TARGET in request.headers:
            return await self._rpc.post(request)
        return await self._unknown(request)

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        request_id = self._gate.request_id(request)
        known = request.path in POSTS or request.path.startswith("/rpc/")
        if known and request.method != "POST":
            return error_at(request, Refused(NOT_ALLOWED_VERB, f"{request.path[:128]} takes POST"), request_id)
        return error_at(request, Refused(NO_ROUTE, f"nothing is at {request.method} {request.path[:128]}"), request_id)

    async def _count(self, request: web.Request, response: web.StreamResponse) -> None:
        if "Origin" in request.headers:
            response.headers.update(CORS)  # a key that is bound to origins refuses the others itself
        resource = request.match_info.route.resource
        self._metrics.answered(resource.canonical if resource is not None else "other", response.status)
