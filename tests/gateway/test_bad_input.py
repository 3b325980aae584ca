"""What strangers send on purpose or by mistake: an error in their own protocol, at once or in bounded time."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from typing import Any

import orjson
import pytest

from tests.gateway.conftest import Running, Start

DEEP = 100_000
CHAT = "/v1/chat/completions"
RPC = "/rpc/eth"


async def raw(gateway: Running, *pieces: bytes, pause_s: float = 0.0) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are, piece by piece; return status, headers and body of what comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.daemon.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), headers, body
    finally:
        writer.transport.abort()


def head(path: str, secret: str, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}", "Content-Type: application/json"]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def asked(gateway: Running) -> int:
    return sum(len(supplier.asked) for supplier in gateway.suppliers)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"smollm2-135m","messages":[{"role":"user","content":"\xff\xfe"}]}',
        b'{"model":"smollm2-135m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"smollm2-135m","messages":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"model":"smollm2-135m","messages":[{"content":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}]}",
        b'{"model":"smollm2-135m","messages":[{"role":"user"}],"n":1e999}',
        b'{"model":"smollm2-135m","messages":[{"role":"user"}],"max_tokens":1.5}',
        b"\x00",
        b"",
    ],
    ids=["not UTF-8", "half a letter", "deep", "deep objects", "not a number", "half a token", "zero", "empty"],
)
@pytest.mark.parametrize("path", [CHAT, RPC])
async def test_bytes_that_are_no_request_are_refused(start: Start, path: str, body: bytes) -> None:
    gateway = await start(suppliers=1)
    status, answer, headers = await gateway.post(path, body or b" ")
    assert status == 400
    assert answer["error"]["message"]
    assert ("type" in answer["error"]) == (path == CHAT)
    assert headers["x-request-id"]
    assert asked(gateway) == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/rpc/nowhere", {"id": 1, "method": "x"}, 404, -32601),
        ("/rpc/smollm2", {"id": 1, "method": "x"}, 404, -32601),
        ("/v1/nowhere", {}, 404, "unknown_url"),
        (CHAT, {"model": "gpt-9", "messages": [{}]}, 404, "model_not_found"),
        (RPC, {"id": 1, "method": "eth_nothing"}, 404, -32601),
        (RPC, {"id": 1, "method": "x" * 10_000}, 400, -32600),
        (RPC, {"id": 1, "method": "eth_subscribe", "params": ["newHeads"]}, 404, -32601),
    ],
)
async def test_what_is_not_sold_is_named(start: Start, path: str, body: Any, status: int, code: Any) -> None:
    gateway = await start(suppliers=1)
    got, answer, _ = await gateway.post(path, body)
    assert (got, answer["error"]["code"]) == (status, code)
    assert len(orjson.dumps(answer)) < 1_000
    assert asked(gateway) == 0


@pytest.mark.parametrize(
    "flood",
    [["X-Long: " + "x" * 100_000], [f"X-{n}: y" for n in range(5_000)], ["X" * 20_000 + ": y"]],
    ids=["long", "many", "long name"],
)
async def test_floods_of_headers_are_cut_off(start: Start, flood: list[str]) -> None:
    gateway = await start(suppliers=1)
    status, _, body = await raw(gateway, head(CHAT, gateway.secret, *flood, "Content-Length: 2") + b"{}")
    assert status in (400, 431)
    assert len(body) < 1_000
    assert (await gateway.rpc("eth_getCode", "0x1", "latest"))["result"]


async def test_what_is_no_http_is_refused(start: Start) -> None:
    gateway = await start(suppliers=1)
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"):
        status, _, body = await raw(gateway, sent)
        assert status == 400
        assert len(body) < 1_000


@pytest.mark.parametrize("path", [CHAT, RPC])
async def test_slow_senders_are_waited_for_no_longer_than_configured(start: Start, path: str) -> None:
    gateway = await start(suppliers=1, limits={"body_s": 0.3})
    begun_s = time.monotonic()
    pieces = [head(path, gateway.secret, "Content-Length: 100"), *[b" "] * 12]
    status, _, body = await raw(gateway, *pieces, pause_s=0.05)
    assert status == 408
    assert "arrive" in orjson.loads(body)["error"]["message"]
    assert time.monotonic() - begun_s < 5
    assert gateway.daemon.gate.in_flight == 0
    assert asked(gateway) == 0


async def test_a_body_without_a_length_is_cut_off_at_the_limit(start: Start) -> None:
    gateway = await start(suppliers=1, limits={"body_mib": 1})
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    tracemalloc.start()
    try:
        status, _, body = await raw(gateway, head(CHAT, gateway.secret, "Transfer-Encoding: chunked"), *[piece] * 64)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, orjson.loads(body)["error"]["code"]) == (413, "request_too_large")
    assert peak < 32 * 1024 * 1024
    assert asked(gateway) == 0


async def test_many_who_never_finish_take_nothing_from_others(start: Start) -> None:
    gateway = await start(suppliers=1, limits={"body_s": 5})
    idle = [await asyncio.open_connection("127.0.0.1", gateway.daemon.port) for _ in range(200)]
    for _, writer in idle:
        writer.write(b"POST /rpc/eth HTTP/1.1\r\nHost: x\r\nX-Slow")
    begun_s = time.monotonic()
    for number in range(20):
        assert (await gateway.rpc("eth_getCode", hex(number), "latest"))["result"]
    assert time.monotonic() - begun_s < 5
    for _, writer in idle:
        writer.transport.abort()


async def test_bad_messages_on_a_socket_are_told_and_the_socket_stays(start: Start) -> None:
    gateway = await start(suppliers=1)
    async with gateway.http.ws_connect(f"{gateway.url}/rpc/eth/{gateway.secret}") as socket:
        for sent in ("{", "[]", "5", "[" * 5_000, '{"id":1}', '{"id":1,"method":"eth_subscribe","params":["x"]}'):
            await socket.send_str(sent)
            assert (await socket.receive_json())["error"]["code"] < 0
        await socket.send_bytes(b"\xff\xfe")
        assert (await socket.receive_json())["error"]["code"] == -32700
        await socket.send_str('{"jsonrpc":"2.0","id":7,"method":"eth_getCode","params":["0x1","0x1"]}')
        assert (await socket.receive_json())["id"] == 7
