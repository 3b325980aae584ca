"""What is no HTTP, or breaks its rules, gets JSON that both kinds of clients read, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from typing import Any

import orjson
import pytest
from aiohttp import web

from pocketnode.gateway.unreadable import Runner
from tests.gateway.conftest import Running, Start
from tests.gateway.test_bad_input import CHAT, RPC, asked, head, raw

CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":["0x1","0x1"]}'
GET_CODE = {"method": "eth_getCode", "params": ["0x1", "0x1"]}


def said(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """Return an error that both kinds of clients understand."""
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"]
    answer = orjson.loads(body)
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] is None
    error: dict[str, Any] = answer["error"]
    assert isinstance(error["code"], int)
    assert isinstance(error["message"], str)
    assert error["type"] == "invalid_request_error"
    assert len(body) < 1_000
    return error


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"\r\n\r\n\x00\xff\r\n\r\n", 400),
        (b"POST / HTTP/9.9\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", 400),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\n{}", 400),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", 431),
    ],
)
async def test_what_is_no_http_is_told_so_in_json(start: Start, sent: bytes, status: int) -> None:
    gateway = await start(suppliers=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.daemon.port)
    writer.write(sent)
    async with asyncio.timeout(5):
        whole = await reader.read()  # to the end: the connection is closed
    writer.transport.abort()
    lines, body = (part for part in whole.split(b"\r\n\r\n", 1))
    found, headers = (
        int(lines.split()[1]),
        dict(line.lower().split(": ", 1) for line in lines.decode().split("\r\n")[1:]),
    )
    error = said(headers, body)
    assert (found, error["data"]["reason"]) == (
        status,
        "headers_too_large" if status == 431 else "invalid_request",
    )
    assert asked(gateway) == 0
    assert (await gateway.rpc("eth_getCode", "0x1", "0x1"))["result"]


@pytest.mark.parametrize("path", [CHAT, RPC])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Transfer-Encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"2\r\n{}xx\r\n0\r\n\r\n"),
        (["Content-Encoding: gzip", "Content-Length: 9"], b"no gzip!!"),
        (["Content-Encoding: gzip", "Content-Length: 30"], gzip.compress(b"x" * 1_000, mtime=0)[:30].ljust(30, b"!")),
        (["Content-Encoding: deflate", "Content-Length: 9"], b"\xff" * 9),
    ],
)
async def test_a_body_that_is_not_as_its_headers_say_is_refused(
    start: Start, path: str, headers: list[str], body: bytes
) -> None:
    gateway = await start(suppliers=1)
    status, found, answer = await raw(gateway, head(path, gateway.secret, *headers), body, pause_s=0.05)
    assert status == 400
    assert found["content-type"].startswith("application/json")
    assert orjson.loads(answer)["error"]["message"]
    assert asked(gateway) == 0
    assert gateway.daemon.gate.in_flight == 0


@pytest.mark.parametrize("path", [CHAT, RPC])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_cut_off_at_the_limit(start: Start, path: str, coding: str) -> None:
    gateway = await start(suppliers=1, limits={"body_mib": 1})
    plain = b" " * (256 * 1024 * 1024)
    bomb = gzip.compress(plain, 9) if coding == "gzip" else zlib.compress(plain, 9)
    del plain
    tracemalloc.start()
    try:
        sent = head(path, gateway.secret, f"Content-Encoding: {coding}", f"Content-Length: {len(bomb)}")
        status, _, body = await raw(gateway, sent, bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 413
    assert orjson.loads(body)["error"]["message"] == "a body has at most 1048576 bytes"
    assert peak < 16 * 1024 * 1024
    assert asked(gateway) == 0


async def test_a_packed_body_is_read(start: Start) -> None:
    gateway = await start(suppliers=1)
    body = gzip.compress(CALL)
    _, answer, _ = await gateway.post(RPC, body, **{"Content-Encoding": "gzip"})
    assert answer["result"] == GET_CODE


@pytest.mark.parametrize("path", [CHAT, RPC])
async def test_what_else_is_expected_is_refused_in_the_callers_protocol(start: Start, path: str) -> None:
    gateway = await start(suppliers=1)
    sent = head(path, gateway.secret, "Expect: the-unexpected", "Content-Length: 2")
    status, headers, body = await raw(gateway, sent, b"{}")
    assert status == 417
    assert headers["x-request-id"]
    error = orjson.loads(body)["error"]
    assert error["code"] == ("expectation_failed" if path == CHAT else -32600)


async def test_who_waits_for_100_gets_it(start: Start) -> None:
    gateway = await start(suppliers=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.daemon.port)
    writer.write(head(RPC, gateway.secret, "Expect: 100-continue", f"Content-Length: {len(CALL)}"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(CALL)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.transport.abort()


async def test_an_old_client_is_answered(start: Start) -> None:
    gateway = await start(suppliers=1)
    sent = f"POST {RPC} HTTP/1.0\r\nAuthorization: Bearer {gateway.secret}\r\nContent-Length: {len(CALL)}\r\n\r\n"
    status, headers, body = await raw(gateway, sent.encode() + CALL)
    assert (status, orjson.loads(body)["result"]) == (200, GET_CODE)
    assert headers.get("connection") != "keep-alive"


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":NaN,"method":"eth_getCode","params":["0x1","0x1"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":[Infinity,"0x1"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":["\\udc00","0x1"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":["\xed\xa0\x80","0x1"]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        CALL + CALL,
        b"\xef\xbb\xbf" + CALL,
    ],
    ids=["NaN", "Infinity", "half a letter", "half in UTF-8", "deep", "deep objects", "two", "byte order mark"],
)
async def test_what_only_looks_like_json_is_refused(start: Start, body: bytes) -> None:
    gateway = await start(suppliers=1)
    status, answer, _ = await gateway.post(RPC, body)
    assert (status, answer["error"]["code"]) == (400, -32700)
    assert asked(gateway) == 0


async def test_of_a_field_that_stands_twice_the_last_one_counts(start: Start) -> None:
    """As JSON readers at suppliers do: what is priced is what is relayed."""
    gateway = await start(suppliers=1)
    body = b'{"id":1,"method":"eth_chainId","method":"eth_getCode","params":[],"params":["0x1","0x1"],"id":7}'
    _, answer, _ = await gateway.post(RPC, body)
    assert (answer["id"], answer["result"]) == (7, GET_CODE)


@pytest.mark.parametrize(("path", "code"), [("/rpc/eth", -32600), (CHAT, "method_not_allowed")])
async def test_another_verb_is_refused_in_the_protocol_of_the_path(start: Start, path: str, code: Any) -> None:
    gateway = await start(suppliers=1)
    async with gateway.http.put(gateway.url + path, headers=gateway.headers) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (405, code)


async def test_frames_that_break_the_rules_end_their_socket_alone(start: Start) -> None:
    gateway = await start(suppliers=1, limits={"body_mib": 1})
    for frame in (
        b"\x81\x7f" + (2**62).to_bytes(8, "big"),  # longer than anybody may be
        b"\x81\xff" + (2 * 1024 * 1024).to_bytes(8, "big") + b"\0" * 4,  # longer than is allowed here
        b"\x81\x82\0\0\0\0\xff\xfe",  # no UTF-8
        b"\xf1\x80\0\0\0\0",  # reserved bits
        b"\x83\x80\0\0\0\0",  # an unknown kind
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.daemon.port)
        writer.write(
            f"GET {RPC}/{gateway.secret} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(frame)
        async with asyncio.timeout(5):
            goodbye = await reader.read()
        assert goodbye[:1] == b"\x88"
        assert int.from_bytes(goodbye[2:4], "big") in (1002, 1007, 1009)
        writer.transport.abort()
    await _all_closed(gateway)
    assert asked(gateway) == 0


async def _all_closed(gateway: Running) -> None:
    async with asyncio.timeout(5):
        while gateway.daemon.sockets.open:  # noqa: ASYNC110 - a socket's end has no event
            await asyncio.sleep(0.01)


async def test_a_head_that_drips_in_is_not_waited_for(start: Start) -> None:
    gateway = await start(suppliers=1)
    runner = Runner(web.Application(), gateway.daemon.gate, keepalive_timeout=0.3)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(5):
            ended = asyncio.ensure_future(reader.read())
            while not ended.done():
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.05)
        assert await ended == b""
        writer.transport.abort()
    finally:
        await runner.cleanup()
