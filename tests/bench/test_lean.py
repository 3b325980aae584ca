"""The lean client counts every answer once, however the server cuts what it sends."""

from __future__ import annotations

import asyncio

import pytest

from bench.lean import counted
from pocketnode.bench.http import Url
from pocketnode.bench.requests import json_rpc_body, numbered

ANSWERS = (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize("piece", [1, 7, 11, 12, 13, 4096])
async def test_answers_are_counted_once_whatever_the_cuts(piece: int) -> None:
    asked = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await reader.readuntil(b"\r\n\r\n")) and asked[0] < 40:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            answer = ANSWERS[asked[0] % 2]
            asked[0] += 1
            for at in range(0, len(answer), piece):
                writer.write(answer[at : at + piece])
                await writer.drain()
                await asyncio.sleep(0)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = Url.parse(f"http://127.0.0.1:{port}/")
    found = await counted(url, numbered(url, json_rpc_body()), connections=1, depth=3, seconds=0.5, warmup_s=0.0)
    server.close()
    assert asked[0] == 40
    assert (found["answers"], found["failed"]) == (20, 20)
