"""Real engines, servers that misbehave on purpose, and an exchange that keeps what it is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from pocketnode.backends.http import HttpCaller, Target, Timeouts, open_session
from pocketnode.backends.lean import Connections, LeanPoster
from pocketnode.protocol.payload import RequestHead, encode_request
from tests.backends import engines

CHAT = encode_request(RequestHead("POST", "/v1/chat/completions", {"content-type": "application/json"}))
RPC = encode_request(RequestHead("POST", "/", {"content-type": "application/json"}))


class FakeExchange:
    """Keeps what a backend sends; `hold` can be raised by a test while the answer waits for it."""

    def __init__(self, head: bytes, body: bytes, hold: int = 1_000_000) -> None:
        self.head = head
        self.body = body
        self.hold = hold
        self.sent_head = b""
        self.sent = b""
        self.units = 0
        self.writes = 0
        self.first = asyncio.Event()
        self.raised = asyncio.Event()

    async def start(self, head: bytes) -> None:
        assert not self.sent_head
        self.sent_head = head

    async def write(self, data: bytes) -> None:
        assert self.sent_head
        self.sent += data
        self.writes += 1
        self.first.set()

    async def produced(self, units: int) -> None:
        self.units = units
        while self.units >= self.hold:
            self.raised.clear()
            await self.raised.wait()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """A TCP server whose every connection a test's own coroutine handles, so that it can misbehave in any way."""

    def __init__(self) -> None:
        self.handler: Handler = self._hang
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self.url = ""

    async def _hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        self.gone.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                self.requests.append(head)
                self.asked.set()
                await self.handler(reader, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()

    def answers(self, *parts: bytes, close: bool = False) -> None:
        """Send these bytes to each request, then hang up if `close`."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for part in parts:
                writer.write(part)
                await writer.drain()
            if close:
                writer.close()

        self.handler = handle


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Read one request, head and body; return its head, empty once the client has gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.split(b":")[1]))
    return head


def http_answer(body: bytes, status: str = "200 OK", kind: str = "application/json", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


@asynccontextmanager
async def raw_serving() -> AsyncIterator[RawServer]:
    server = RawServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield server
    listener.close()


@pytest.fixture
async def raw_server() -> AsyncIterator[RawServer]:
    async with raw_serving() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


CallerTo = Callable[..., HttpCaller]


@pytest.fixture
def caller_to(http: aiohttp.ClientSession) -> CallerTo:
    def make(url: str, most: int = 1_000_000, **times: float) -> HttpCaller:
        return HttpCaller(http, Target("node-1", url, timeouts=Timeouts(**times), answer_bytes_most=most))

    return make


PosterTo = Callable[..., LeanPoster]


@pytest.fixture
async def poster_to() -> AsyncIterator[PosterTo]:
    connections = Connections()

    def make(url: str, most: int = 1_000_000, tls: ssl.SSLContext | None = None, **times: float) -> LeanPoster:
        target = Target("node-1", url, timeouts=Timeouts(**times), answer_bytes_most=most, tls=tls)
        return LeanPoster(target, connections)

    yield make
    connections.close()


@pytest.fixture(scope="session")
def llama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engines.llama(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(scope="session")
def anvil_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engines.anvil(tmp_path_factory.mktemp("anvil")) as url:
        yield url
