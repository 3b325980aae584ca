"""A chain node that misbehaves on command: a real HTTP server in front of a real node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web


@dataclass
class Proxy:
    """What it does to calls. `answer` may give a whole answer in place of the node's; None passes the call on."""

    url: str
    answer: Callable[[str, Any], Any] = lambda method, params: None
    down: bool = False
    delay_s: float = 0.0
    calls: list[str] = field(default_factory=list)


@asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the node at `target`."""
    async with aiohttp.ClientSession() as http:
        app = web.Application()
        runner = web.AppRunner(app)
        state = Proxy("")

        async def handle(request: web.Request) -> web.StreamResponse:
            call = orjson.loads(await request.read())
            state.calls.append(call["method"])
            await asyncio.sleep(state.delay_s)
            if state.down:
                assert request.transport is not None
                request.transport.close()
                return web.Response(status=503)
            answer = state.answer(call["method"], call["params"])
            if isinstance(answer, web.Response):
                return answer
            if answer is not None:
                return web.json_response({"jsonrpc": "2.0", "id": call["id"], **answer})
            async with http.post(target, json=call) as reply:
                return web.Response(body=await reply.read(), content_type="application/json")

        app.router.add_post("/", handle)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        state.url = f"http://{host}:{port}"
        try:
            yield state
        finally:
            await runner.cleanup()
