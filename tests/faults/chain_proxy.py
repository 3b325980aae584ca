"""A bad chain node: a JSON-RPC proxy before anvil that is down, slow, behind, lying, failing or swallowing."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson
from aiohttp import web

_TAGGED: Final = {"eth_call": 1, "eth_getBalance": 1, "eth_getTransactionCount": 1, "eth_estimateGas": 1}


@dataclass(slots=True)
class Mood:
    """What the node does wrong; changed while it serves.

    Parameters
    ----------
    down : connections are closed without a word.
    delay_s : waited before each answer.
    failing : share of calls that fail, in four ways by turns.
    behind : blocks by which it lags; it knows nothing newer than that.
    ahead : blocks by which its newest block is said to be later than it is.
    swallows : it says that it took a transaction, and drops it.
    forks : its blocks have other hashes than the chain's: it follows another fork.
    """

    down: bool = False
    delay_s: float = 0.0
    failing: float = 0.0
    behind: int = 0
    ahead: int = 0
    swallows: bool = False
    forks: bool = False


@dataclass(slots=True)
class ChainProxy:
    """Serves on a port of the system's choice, in front of the node at `url`."""

    url: str
    seed: int = 0
    mood: Mood = field(default_factory=Mood)
    asked: int = 0
    swallowed: list[str] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None
    _http: aiohttp.ClientSession | None = None
    _luck: random.Random = field(default_factory=random.Random)

    @property
    def own_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._luck = random.Random(self.seed)
        self._http = aiohttp.ClientSession(headers={"content-type": "application/json"})
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        mood = self.mood
        if mood.delay_s:
            await asyncio.sleep(mood.delay_s)
        if mood.down:
            return _hang_up(request)
        call = orjson.loads(await request.read())
        if self._luck.random() < mood.failing:
            return self._failure(request, call)
        return web.Response(body=orjson.dumps(await self._result(call)), content_type="application/json")

    def _failure(self, request: web.Request, call: dict[str, Any]) -> web.StreamResponse:
        error = {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32603, "message": "internal error"}}
        ways = (
            lambda: web.Response(status=502, text="<html>bad gateway</html>"),
            lambda: web.Response(body=orjson.dumps(error), content_type="application/json"),
            lambda: web.Response(status=429, body=b'{"message": "slow down"}', content_type="application/json"),
            lambda: _hang_up(request),
        )
        return ways[self._luck.randrange(4)]()

    async def _result(self, call: dict[str, Any]) -> dict[str, Any]:
        method = call["method"]
        if self.mood.swallows and method == "eth_sendRawTransaction":
            self.swallowed.append(call["params"][0])
            return {"jsonrpc": "2.0", "id": call["id"], "result": "0x" + "11" * 32}
        if self.mood.behind:
            return await self._from_the_past(call, method)
        reply = await self._ask(call)
        if self.mood.forks and method == "eth_getBlockByNumber":
            reply["result"] = _forked(reply["result"])
        if self.mood.ahead and method == "eth_getBlockByNumber" and call["params"][0] == "latest":
            reply["result"] = _later(reply["result"], self.mood.ahead)
        elif self.mood.ahead and method == "eth_blockNumber":
            reply["result"] = hex(int(reply["result"], 16) + self.mood.ahead)
        return reply

    async def _from_the_past(self, call: dict[str, Any], method: str) -> dict[str, Any]:
        head = await self._ask({"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []})
        last = max(0, int(head["result"], 16) - self.mood.behind)
        params = list(call["params"])
        if method == "eth_blockNumber":
            return {"jsonrpc": "2.0", "id": call["id"], "result": hex(last)}
        if method == "eth_getBlockByNumber":
            if params[0] == "latest":
                params[0] = hex(last)
            elif params[0].startswith("0x") and int(params[0], 16) > last:
                return {"jsonrpc": "2.0", "id": call["id"], "result": None}
        at = _TAGGED.get(method)
        if at is not None and len(params) > at and params[at] == "latest":
            params[at] = hex(last)
        reply = await self._ask({**call, "params": params})
        found = reply.get("result")
        if method == "eth_getTransactionReceipt" and found and int(found["blockNumber"], 16) > last:
            reply["result"] = None
        return reply

    async def _ask(self, call: dict[str, Any]) -> dict[str, Any]:
        assert self._http is not None
        async with self._http.post(
            self.url, data=orjson.dumps(call), headers={"content-type": "application/json"}
        ) as r:
            reply: dict[str, Any] = orjson.loads(await r.read())
            return reply


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _later(block: dict[str, Any], blocks: int) -> dict[str, Any]:
    number = hex(int(block["number"], 16) + blocks)
    return {**block, "number": number, "hash": "0x" + "fe" * 32, "parentHash": "0x" + "fd" * 32}


def _forked(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, "hash": "0xf0" + block["hash"][4:], "parentHash": "0xf0" + block["parentHash"][4:]}
