"""What is said to bytes that are no HTTP, and to heads that break its rules: JSON that both kinds of clients read.

Which API was meant is not known before a head is read. So the error has the members of both: JSON-RPC's `code`,
`message` and `data`, and OpenAI's `type` and `param`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import _ErrInfo

from pocketnode.gateway.gate import JSON, REQUEST_ID, Gate, refusal_headers
from pocketnode.gateway.refusal import INTERNAL, INVALID, TIMED_OUT, Reason, Refused, openai_error, rpc_error

RPC_PATH: Final = "/rpc/"
TARGET: Final = "Target-Service-Id"
HEAD_TOO_LARGE: Final = Reason(431, "invalid_request_error", "headers_too_large", -32600)
NOT_EXPECTED: Final = Reason(417, "invalid_request_error", "expectation_failed", -32600)
WORDS_MOST: Final = 200

log = structlog.get_logger()


def error_at(request: web.BaseRequest, refused: Refused, request_id: str) -> web.Response:
    """Return an error in the protocol of the path that it is about."""
    rpc = request.path.startswith(RPC_PATH) or TARGET in request.headers
    body = rpc_error(refused, refused.raw_id) if rpc else openai_error(refused)
    headers = refusal_headers(refused, request_id)
    return web.Response(body=body, status=refused.reason.status, headers=headers, content_type=JSON)


def error_for_both(refused: Refused) -> bytes:
    """Return an error that is one of JSON-RPC and one of OpenAI's API at once.

    >>> error_for_both(Refused(INVALID, "no HTTP"))[:64]
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no '
    """
    reason = refused.reason
    error = {"code": reason.rpc, "message": str(refused), "data": {"reason": reason.code}}
    return orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {**error, "type": reason.kind, "param": None}})


def expecting(gate: Gate) -> Callable[[web.Request], Awaitable[None]]:
    """Return what says 100 to who waits for it before it sends its body, and refuses every other expectation."""

    async def answer(request: web.Request) -> None:
        if request.version < HttpVersion11:
            return
        if request.headers.get("Expect", "").lower() != "100-continue":
            refused = Refused(NOT_EXPECTED, "only 'Expect: 100-continue' is understood")
            told = error_at(request, refused, gate.request_id(request))
            headers = {REQUEST_ID: told.headers[REQUEST_ID]}
            assert isinstance(told.body, bytes)
            raise web.HTTPExpectationFailed(headers=headers, text=told.body.decode(), content_type=JSON)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun

    return answer


class Runner(web.AppRunner):
    """Serves an application as `web.AppRunner` does, and says in JSON what it cannot read."""

    def __init__(self, app: web.Application, gate: Gate, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._gate = gate

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
        server.gate = self._gate
        return server


class _Server(web.Server):
    gate: Gate

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """One connection. It is closed after an error in a head: where the next one would begin is not known."""

    __slots__ = ("_gate",)

    def __init__(self, server: _Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._gate = server.gate

    def data_received(self, data: bytes) -> None:
        """Take in bytes. Where those of a body break the rules, who waits for it is told at once."""
        super().data_received(data)
        if self._messages and self._current_request is not None:
            found = self._messages[-1][0]
            body = self._current_request.content
            if isinstance(found, _ErrInfo) and not body.is_eof() and body.exception() is None:
                body.set_exception(web.RequestPayloadError(found.message))
                self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return what is said of a head that cannot be read, or of a bug of ours."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun: it breaks off")
        request_id = self._gate.new_id()
        if status >= 500:
            log.error("gateway failed", path=request.path[:128], request_id=request_id, exc_info=exc)
            reason = TIMED_OUT if status == 504 else INTERNAL
            response = error_at(request, Refused(reason, "the gateway failed; the error is logged", 1), request_id)
        else:
            refused = _refusal_of(exc, message)
            response = web.Response(body=error_for_both(refused), status=refused.reason.status, content_type=JSON)
            response.headers[REQUEST_ID] = request_id
        response.force_close()
        return response


def _refusal_of(exc: BaseException | None, message: str | None) -> Refused:
    words = " ".join((message or "").split("\n", 1)[0].split())[:WORDS_MOST]
    if isinstance(exc, LineTooLong) or words.startswith("Too many"):
        return Refused(HEAD_TOO_LARGE, "the request line or a header is too long, or there are too many headers")
    return Refused(INVALID, f"this is no HTTP request that can be read: {words or 'malformed'}")
