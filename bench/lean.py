"""A client that costs next to nothing: pipelined requests, answers counted and not looked at.

For measuring how many requests a server takes where the client has no cores of its own: what the full client costs, a
third of what it measures, would count against the server.
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import Final, cast

from pocketnode.bench.http import Url
from pocketnode.bench.requests import MakeRequest
from pocketnode.errors import Unavailable

STATUS: Final = re.compile(rb"HTTP/1\.1 (\d\d\d)")
TAIL_BYTES: Final = len("HTTP/1.1 20")


class Counting(asyncio.Protocol):
    """One connection that keeps `depth` requests waiting."""

    def __init__(self, make: MakeRequest, first: int, depth: int) -> None:
        self._make, self._number, self._depth = make, first, depth
        self._tail = b""
        self.good = self.other = 0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._ask(self._depth)

    def data_received(self, data: bytes) -> None:
        whole = self._tail + data
        statuses = STATUS.findall(whole)
        self._tail = whole[-TAIL_BYTES:]  # too short to hold one that is counted already
        self.good += statuses.count(b"200")
        self.other += len(statuses) - statuses.count(b"200")
        self._ask(len(statuses))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def close(self) -> None:
        self._transport.close()

    def _ask(self, count: int) -> None:
        if count:
            numbers = range(self._number, self._number + count)
            self._number += count
            self._transport.write(b"".join(map(self._make, numbers)))


async def counted(
    url: Url, make: MakeRequest, connections: int, depth: int, seconds: float, warmup_s: float
) -> dict[str, float]:
    """Return good answers a second, and how many were none.

    Raises
    ------
    Unavailable
        nobody answers there.
    """
    loop = asyncio.get_running_loop()
    clients: list[Counting] = []
    try:
        for place in range(connections):
            _, client = await loop.create_connection(
                partial(Counting, make, place * 10_000_000, depth), url.host, url.port
            )
            clients.append(client)
        await asyncio.sleep(warmup_s)
        started_s, before = time.perf_counter(), sum(client.good for client in clients)
        await asyncio.sleep(seconds)
        passed_s = time.perf_counter() - started_s
        good = sum(client.good for client in clients) - before
        failed = sum(client.other + client.lost for client in clients)
    except OSError as error:
        raise Unavailable(f"nobody answers at {url.host}:{url.port}: {error}") from error
    finally:
        for client in clients:
            client.close()
    return {"rate": good / passed_s, "answers": good, "failed": failed}
