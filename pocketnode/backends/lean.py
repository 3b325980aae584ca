"""POST over kept-alive connections with nothing in between: the hot path of JSON-RPC relays.

httptools (llhttp) parses; a relay costs a fifth of the CPU that a general HTTP client takes for it. What is general,
such as streams, proxies and redirects, goes through `http`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.http import HttpAnswer, Target, too_long
from pocketnode.errors import ConfigError

IDLE_MOST_S: Final = 50.0
_ASKED: Final = "content-type: application/json\r\naccept: application/json\r\naccept-encoding: identity\r\n"


class Connections:
    """All idle connections of one daemon."""

    def __init__(self) -> None:
        self._idle: dict[Target, deque[_Connection]] = {}

    def close(self) -> None:
        """Close those that are idle; they are opened anew when there is need."""
        for idle in self._idle.values():
            while idle:
                idle.pop().abort()

    def idle(self, target: Target) -> deque[_Connection]:
        """Return the idle connections to a target, the one used last at the end."""
        return self._idle.setdefault(target, deque())


class LeanPoster:
    """Posts JSON to one URL."""

    def __init__(self, target: Target, connections: Connections) -> None:
        self.target = target
        self._idle = connections.idle(target)
        url = urlsplit(target.url)
        self._host, self._secure = url.hostname or "", url.scheme == "https"
        self._port = url.port or (443 if self._secure else 80)
        self._head = _head(
            target, url.netloc.rpartition("@")[2], (url.path or "/") + (f"?{url.query}" * bool(url.query))
        )
        self._loop = asyncio.get_running_loop()

    async def post(self, body: bytes) -> HttpAnswer:
        """Return the answer to one request once it is complete; cancelling closes the connection at once.

        Raises
        ------
        BackendFailed
            no connection, no answer in time, or one that is malformed, compressed, too long or cut short.
        """
        connection = self._take() or await self._connect()
        timer = self._loop.call_later(self.target.timeouts.total_s, connection.give_up)
        try:
            answer = await connection.ask(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        except BaseException:
            connection.abort()
            raise
        finally:
            timer.cancel()
        if connection.reusable:
            self._idle.append(connection)
            connection.idle_since_s = self._loop.time()
        else:
            connection.abort()
        return answer

    def _take(self) -> _Connection | None:
        oldest_s = self._loop.time() - IDLE_MOST_S
        while self._idle and self._idle[0].idle_since_s < oldest_s:
            self._idle.popleft().abort()
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        return None

    async def _connect(self) -> _Connection:
        tls = (self.target.tls or True) if self._secure else None
        try:
            async with asyncio.timeout(self.target.timeouts.connect_s):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self.target), self._host, self._port, ssl=tls
                )
        except (OSError, TimeoutError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise BackendFailed(f"{self.target.name}: no connection: {reason}"[:200]) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection: a request is answered before the next is sent."""

    def __init__(self, target: Target) -> None:
        self.open = False
        self.reusable = False
        self.idle_since_s = 0.0
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[HttpAnswer] | None = None
        self._uses = 0
        self._begin()

    def ask(self, request: bytes) -> asyncio.Future[HttpAnswer]:
        """Send a request and return what will be its answer."""
        assert self._transport is not None
        self._begin()
        self._uses += 1
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def give_up(self) -> None:
        """Fail the request that waits: its time is over."""
        self._fail(BackendFailed(f"{self._target.name}: no answer in time", elsewhere=False))

    def abort(self) -> None:
        """Close at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        if self._answered is None or self._answered.done():
            self.abort()  # bytes that nobody asked for
            return
        self._received = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(BackendFailed(f"{self._target.name}: wants another protocol"))
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error.__context__, BackendFailed) else None
            self._fail(cause or BackendFailed(f"{self._target.name}: not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._until_end and self._headers_complete:
            self._complete()
        elif self._received:
            self._fail(BackendFailed(f"{self._target.name}: an answer cut short"))
        else:
            again = self._uses > 1  # kept alive too long: the server had gone before it read the request
            self._fail(BackendFailed(f"{self._target.name}: closed the connection", again=again))

    # ---- httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-type":
            self._kind = value.decode("latin-1")
        elif lower in {b"content-length", b"transfer-encoding"}:
            self._until_end = False
            if lower == b"content-length" and int(value) > self._target.answer_bytes_most:
                raise too_long(self._target)
        elif lower == b"content-encoding" and value.lower() != b"identity":
            raise BackendFailed(f"{self._target.name}: answers compressed though asked not to")

    def on_headers_complete(self) -> None:
        self._headers_complete = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._size += len(body)
        if self._size > self._target.answer_bytes_most:
            raise too_long(self._target)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # 100 Continue and its like: the answer follows
            self._begin_message()
            return
        self.reusable = self._parser.should_keep_alive()
        self._complete()

    # ---- one message

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._received = False
        self._begin_message()

    def _begin_message(self) -> None:
        self._kind = ""
        self._parts: list[bytes] = []
        self._size = 0
        self._headers_complete = False
        self._until_end = True

    def _complete(self) -> None:
        if self._answered is not None and not self._answered.done():
            parts = self._parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._answered.set_result(HttpAnswer(self._parser.get_status_code(), self._kind, body))

    def _fail(self, failure: BackendFailed) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(failure)
        self.abort()


def _head(target: Target, host: str, path: str) -> bytes:
    """Return the request's head up to the value of its last header, content-length."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    if any(c in f"{name}{value}" for name, value in target.headers.items() for c in "\r\n"):
        raise ConfigError(f"backend {target.name}: a line break inside a header")
    text = f"POST {path} HTTP/1.1\r\nhost: {host}\r\n{_ASKED}{headers}content-length: "
    with contextlib.suppress(UnicodeEncodeError):
        return text.encode("latin-1")
    raise ConfigError(f"backend {target.name}: a header or URL with characters that HTTP does not carry")
