"""A bare HTTP/1.1 client connection, so that loading a server costs far less than serving.

Requests are bytes that somebody prepared; of an answer only what is measured is looked at. About 20 us of CPU for a
request and its answer, where a full client takes ten times that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, cast
from urllib.parse import urlsplit

from pocketnode.errors import ConfigError

END_OF_HEAD: Final = b"\r\n\r\n"
END_OF_EVENT: Final = b"\n\n"
BROKEN: Final = 0  # the status of an exchange whose connection broke


@dataclass(frozen=True, slots=True)
class Url:
    """Where requests go."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Return the parts of an http URL.

        Raises
        ------
        ConfigError
            it is none.

        >>> Url.parse("http://127.0.0.1:3069/v1/eth")
        Url(host='127.0.0.1', port=3069, path='/v1/eth')
        """
        parts = urlsplit(text)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigError(f"{text!r}: give a URL such as http://127.0.0.1:3069/v1/eth; TLS is not measured")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, parts.port or 80, path)


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and when its answer came, in seconds of `time.perf_counter`.

    Parameters
    ----------
    due_s : when it should have been sent; what is late counts from here.
    event_s : when each server-sent event came, if these are counted.
    """

    due_s: float
    sent_s: float = 0.0
    first_s: float = 0.0
    done_s: float = 0.0
    status: int = BROKEN
    body: bytes = b""
    event_s: list[float] = field(default_factory=list)

    @property
    def latency_s(self) -> float:
        return self.done_s - self.due_s


class _Part(Enum):
    HEAD = auto()
    BODY = auto()
    CHUNKS = auto()
    UNTIL_CLOSED = auto()


Done = Callable[["Connection", Exchange], None]


class Connection(asyncio.Protocol):
    """One keep-alive connection: one exchange at a time, `done` called at the end of each."""

    def __init__(self, done: Done, count_events: bool = False) -> None:
        self._done = done
        self._count_events = count_events
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._part = _Part.HEAD
        self._unread = b""
        self._left = 0
        self._parts: list[bytes] = []
        self._tail = b""
        self._keep = True

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Send a request on this idle connection."""
        assert self._exchange is None
        assert self._transport is not None
        self._exchange = exchange
        exchange.sent_s = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._exchange is not None:
            if self._part is not _Part.UNTIL_CLOSED:
                self._exchange.status = BROKEN
            self._finish()

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.close()  # nobody asked
        elif self._part is _Part.HEAD:
            self._head(self._unread + data)
        elif self._part is _Part.CHUNKS:
            self._chunks(self._unread + data)
        else:
            self._body(data)

    # ---- an answer

    def _head(self, data: bytes) -> None:
        end = data.find(END_OF_HEAD)
        if end < 0:
            self._unread = data
            return
        assert self._exchange is not None
        head = data[:end].lower()
        self._exchange.status = int(head[9:12])
        self._keep = b"\r\nconnection: close" not in head
        self._unread, rest = b"", data[end + len(END_OF_HEAD) :]
        if b"\r\ntransfer-encoding: chunked" in head:
            self._part = _Part.CHUNKS
            if rest:
                self._chunks(rest)
            return
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self._part, self._left = _Part.UNTIL_CLOSED, -1
        else:
            value = head[at + 17 :].split(b"\r\n", 1)[0]
            self._part, self._left = _Part.BODY, int(value)
        self._body(rest)

    def _body(self, data: bytes) -> None:
        if data:
            self._take(data)
            self._left -= len(data)
        if self._left == 0:
            self._finish()

    def _chunks(self, data: bytes) -> None:
        """Take whole chunks off `data` and keep the rest for later."""
        at = 0
        while (line := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:line].split(b";", 1)[0], 16)
            end = line + 2 + size + 2
            if len(data) < end:
                break
            if size == 0:
                self._finish()
                return
            self._take(data[line + 2 : end - 2])
            at = end
        self._unread = data[at:]

    def _take(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if not exchange.first_s:
            exchange.first_s = time.perf_counter()
        if not self._count_events:
            self._parts.append(data)
            return
        found = (self._tail[-1:] + data).count(END_OF_EVENT)
        self._tail = data
        if found:
            exchange.event_s.extend([time.perf_counter()] * found)

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        exchange.done_s = time.perf_counter()
        exchange.first_s = exchange.first_s or exchange.done_s
        exchange.body = self._tail if self._count_events else b"".join(self._parts)
        self._part, self._unread, self._parts, self._tail = _Part.HEAD, b"", [], b""
        if not self._keep:
            self.close()
        self._done(self, exchange)
