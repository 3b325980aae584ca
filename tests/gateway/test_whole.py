"""A whole answer looks the same whether it is written in one piece or by aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from pocketnode.gateway.whole import ONE_PIECE_BYTES, whole

BODY = b'{"jsonrpc":"2.0","id":1,"result":"0x1"}'
HEADERS = {"x-request-id": "a-1", "Content-Type": "application/json", "x-pocketnode-cost": "units=1, amount=1"}
CORS = {"Access-Control-Allow-Origin": "*"}


class Served:
    """Answers with what a test puts here; `kinds` are the classes of its answers."""

    def __init__(self) -> None:
        self.port = 0
        self.body, self.status, self.headers = BODY, 200, dict(HEADERS)
        self.by_aiohttp = False
        self.kinds: list[type[web.Response]] = []
        self.counted: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        if self.by_aiohttp:
            return web.Response(body=self.body, status=self.status, headers=self.headers)
        response = whole(request, self.body, self.status, self.headers)
        self.kinds.append(type(response))
        return response

    async def count(self, request: web.Request, response: web.StreamResponse) -> None:
        self.counted.append(response.status)
        if "Origin" in request.headers:
            response.headers.update(CORS)

    async def said(self, *headers: str, version: str = "1.1", times: int = 1) -> bytes:
        """Return what a raw connection gets for as many requests, without the dates."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"POST / HTTP/{version}", "Host: a", "Content-Length: 2", *headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n{}").encode() * times)
        if version == "1.1":
            last = "\r\n".join(["POST / HTTP/1.1", "Host: a", "Content-Length: 2", "Connection: close"])
            writer.write((last + "\r\n\r\n{}").encode())
        raw = await reader.read()
        writer.close()
        return b"\r\n".join(line for line in raw.split(b"\r\n") if not line.startswith(b"Date: "))


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served, app = Served(), web.Application()
    app.router.add_post("/", served.answer)
    app.on_response_prepare.append(served.count)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.port = runner.addresses[0][1]
    yield served
    await runner.cleanup()


async def both(served: Served, *headers: str, version: str = "1.1", times: int = 1) -> tuple[bytes, bytes]:
    ours = await served.said(*headers, version=version, times=times)
    served.by_aiohttp = True
    return ours, await served.said(*headers, version=version, times=times)


async def test_the_usual_answer_is_one_piece_and_the_connection_goes_on(served: Served) -> None:
    ours, theirs = await both(served, times=3)
    assert ours == theirs
    assert ours.count(BODY) == 4
    assert served.kinds[0] is not web.Response
    assert served.kinds[-1] is web.Response  # the last one closes
    assert served.counted == [200] * 8


async def test_what_is_added_to_the_headers_before_is_written(served: Served) -> None:
    ours, theirs = await both(served, "Origin: https://a.example")
    assert sorted(ours.split(b"\r\n")) == sorted(theirs.split(b"\r\n"))
    assert b"Access-Control-Allow-Origin: *" in ours
    assert served.kinds[0] is not web.Response


@pytest.mark.parametrize(
    ("status", "body"), [(204, b""), (400, BODY), (200, b"x" * (ONE_PIECE_BYTES + 1))], ids=["empty", "error", "large"]
)
async def test_the_unusual_goes_aiohttps_way(served: Served, status: int, body: bytes) -> None:
    served.status, served.body = status, body
    ours, theirs = await both(served)
    assert ours == theirs
    assert set(served.kinds) == {web.Response}


async def test_an_old_connection_goes_aiohttps_way(served: Served) -> None:
    ours, theirs = await both(served, version="1.0")
    assert ours == theirs
    assert set(served.kinds) == {web.Response}


async def test_no_header_smuggles_another(served: Served) -> None:
    served.headers["x-pocketnode-cost"] = "1\r\nSet-Cookie: a=b"
    assert b"Set-Cookie" not in await served.said()
    assert set(served.kinds) == {web.Response}  # aiohttp refuses it


async def test_a_pipelining_user_who_reads_late_gets_all_in_order(served: Served) -> None:
    served.body = b"y" * ONE_PIECE_BYTES
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    writer.write(request * 200)
    await asyncio.sleep(0.2)
    for _ in range(200):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert await reader.readexactly(ONE_PIECE_BYTES) == served.body
    writer.close()
    assert web.Response in served.kinds  # who reads late is waited for
