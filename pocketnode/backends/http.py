"""HTTP to backends through aiohttp: timeouts, size limits, and its errors turned into ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from pocketnode.backends.failure import BackendFailed
from pocketnode.protocol.fault import FaultClass
from pocketnode.silence import Silence

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_BUSY_RETRY_MS = 1000


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first byte of the answer, between two of its parts, and in all."""

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    between_s: float = 30.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where a backend is and how it is spoken to.

    Parameters
    ----------
    url : without a slash at its end.
    headers : sent with every request, credentials among them.
    tls : for https; None for the system's trusted roots.
    answer_bytes_most : longer answers are refused.
    """

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeouts: Timeouts = Timeouts()
    tls: ssl.SSLContext | None = None
    answer_bytes_most: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer of a backend."""

    status: int
    content_type: str
    body: bytes


class StreamedAnswer:
    """An answer that is still coming in."""

    def __init__(
        self, response: aiohttp.ClientResponse, deadline: asyncio.Timeout, silence: Silence, target: Target
    ) -> None:
        self.status = response.status
        self.content_type = response.headers.get("content-type", "")
        self._response = response
        self._deadline = deadline  # of the first byte, until it is here
        self._silence = silence
        self._target = target
        self._begun = False

    @property
    def retry_after_ms(self) -> int:
        """What a 429 or 503 asks for."""
        return _retry_after_ms(self._response.headers.get("retry-after", ""))

    async def read(self) -> bytes:
        """Return what has come in, empty at the end; the time that passes between two calls does not count."""
        if not self._begun:
            data = await self._response.content.readany()
            self._begun = True
            self._deadline.reschedule(None)
            return data
        self._silence.begin()
        data = await self._response.content.readany()
        self._silence.end()
        return data

    async def rest(self, begun: bytes = b"") -> HttpAnswer:
        """Return the whole answer; `begun` is what was read of it."""
        parts, size = [begun], len(begun)
        while True:
            data = await self.read()
            if not data:
                return HttpAnswer(self.status, self.content_type, b"".join(parts))
            size += len(data)
            if size > self._target.answer_bytes_most:
                raise too_long(self._target)
            parts.append(data)


class HttpCaller:
    """Sends requests to one target over the daemon's one session, which keeps connections alive."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self.target = target
        self._tls: ssl.SSLContext | bool = target.tls or True
        self._whole = aiohttp.ClientTimeout(total=target.timeouts.total_s, sock_connect=target.timeouts.connect_s)

    async def whole(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """Return an answer once it is complete.

        Raises
        ------
        BackendFailed
            no connection, no answer in time, or one that is too long or cut short.
        """
        with_all = {**headers, **self.target.headers}
        try:
            async with self._session.request(
                method,
                self.target.url + path,
                data=body or None,
                headers=with_all,
                ssl=self._tls,
                timeout=self._whole,
                allow_redirects=False,
            ) as response:
                kind = response.headers.get("content-type", "")
                return HttpAnswer(response.status, kind, await self._bounded(response))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise failure_of(self.target, error) from error

    @asynccontextmanager
    async def streamed(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[StreamedAnswer]:
        """Open an answer that is read as it comes; leaving early closes the connection, which stops the server.

        Raises
        ------
        BackendFailed
            as `whole`, also inside the block.
        """
        times = self.target.timeouts
        now_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(now_s + min(times.first_byte_s, times.total_s)) as deadline:
                response = await self._session.request(
                    method,
                    self.target.url + path,
                    data=body or None,
                    headers={**headers, **self.target.headers},
                    ssl=self._tls,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=times.connect_s),
                    allow_redirects=False,
                )
                silence = Silence(deadline, times.between_s, now_s + times.total_s)
                try:
                    check_encoding(self.target, response)
                    yield StreamedAnswer(response, deadline, silence, self.target)
                finally:
                    silence.close()
                    response.close() if not response.content.at_eof() else response.release()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise failure_of(self.target, error) from error

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the body, or refuse one that is too long before it is read further."""
        most, length = self.target.answer_bytes_most, response.content_length
        check_encoding(self.target, response)
        if length is not None and length <= most:
            return await response.read()
        parts, size = [], 0
        while length is None and (data := await response.content.readany()):
            parts.append(data)
            size += len(data)
            if size > most:
                break
        if length is None and size <= most:
            return b"".join(parts)
        response.close()
        raise too_long(self.target)


def open_session() -> aiohttp.ClientSession:
    """Return the one session of a daemon; pools, not the connector, limit what runs at once."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=55, ttl_dns_cache=60)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=_NO_TIMEOUT,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # a small answer could grow without bound
        headers={"user-agent": "pocketnode", "accept-encoding": "identity"},
    )


def too_long(target: Target) -> BackendFailed:
    """Return the failure of an answer that outgrows its limit; it would elsewhere too."""
    return BackendFailed(f"{target.name}: answer longer than {target.answer_bytes_most} bytes", elsewhere=False)


def check_encoding(target: Target, response: aiohttp.ClientResponse) -> None:
    """Refuse a compressed answer, which was not asked for."""
    if response.headers.get("content-encoding", "identity") != "identity":
        response.close()
        raise BackendFailed(f"{target.name}: answers compressed though asked not to")


def failure_of(target: Target, error: Exception) -> BackendFailed:
    """Return what an error of aiohttp means for a relay."""
    if isinstance(error, TimeoutError):
        return BackendFailed(f"{target.name}: no answer in time", elsewhere=False)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return BackendFailed(f"{target.name}: closed the connection", again=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return BackendFailed(f"{target.name}: no connection: {error.os_error.strerror or error}")
    return BackendFailed(f"{target.name}: {type(error).__name__}: {error}"[:200])


def refusal_of(target: Target, status: int, retry_after_ms: int = 0) -> BackendFailed | None:
    """Return the failure that an HTTP status means, or None where the status is an answer for the client."""
    if status == 429:
        delay_ms = retry_after_ms or _BUSY_RETRY_MS
        return BackendFailed(f"{target.name}: overloaded", FaultClass.BUSY, retry_after_ms=delay_ms)
    if status >= 500 or status in {401, 403, 407, 408} or status < 200 or 300 <= status < 400:
        return BackendFailed(f"{target.name}: HTTP {status}")
    return None


def _retry_after_ms(text: str) -> int:
    return min(int(text) * 1000, 60_000) if text.isascii() and text.isdigit() and len(text) < 6 else 0
