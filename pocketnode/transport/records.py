"""Fetches a gateway's relay records over HTTP: `GET URL/v1/records/0x..` (rule 5.18), one's part at `../INDEX` (5.20).

The address comes from a stranger: nothing but http and https is asked, no redirect is followed, and what is too large
or too slow is given up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from yarl import URL

from pocketnode.errors import NotFound, Unavailable

URL_CHARS_MOST: Final = 300
PIECE_BYTES: Final = 256 * 1024
CONNECT_S: Final = 10.0
BETWEEN_S: Final = 30.0
WHOLE_S: Final = 900.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=WHOLE_S, connect=CONNECT_S, sock_read=BETWEEN_S)


def is_public(url: str) -> bool:
    """Return whether an address is one that records may be asked of.

    >>> is_public("https://gateway.example"), is_public("file:///etc/passwd"), is_public("http://user@host/")
    (True, False, False)
    """
    try:
        parsed = URL(url)
    except ValueError:
        return False
    plain = not (parsed.query_string or parsed.fragment or parsed.user or parsed.password)
    return len(url) <= URL_CHARS_MOST and parsed.scheme in ("http", "https") and bool(parsed.host) and plain


class HttpRecords:
    """Implements `settlement.ports.RecordSource`.

    Parameters
    ----------
    most_bytes : of one session's records; larger ones are given up.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes

    @asynccontextmanager
    async def records(self, url: str, pot: bytes, index: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        if not is_public(url):
            raise Unavailable(f"{url[:80]!r} is no address that records are asked of")
        place = URL(url.rstrip("/") + f"/v1/records/0x{pot.hex()}" + ("" if index is None else f"/{index}"))
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False) as http,
                http.get(place, allow_redirects=False) as answer,
            ):
                if answer.status == 404 and index is not None:
                    raise NotFound(f"{place}: HTTP 404")
                if answer.status != 200:
                    raise Unavailable(f"{place}: HTTP {answer.status}")
                yield self._pieces(answer, place)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{place}: {error or type(error).__name__}") from error

    async def _pieces(self, answer: aiohttp.ClientResponse, place: URL) -> AsyncIterator[bytes]:
        size = 0
        async for piece in answer.content.iter_chunked(PIECE_BYTES):
            size += len(piece)
            if size > self._most_bytes:
                raise Unavailable(f"{place}: more than {self._most_bytes} bytes")
            yield piece
