"""Load: steady, mixed, and honest about what failed."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pocketnode.localnet.traffic import Load


class Endpoint:
    """Answers as a gateway would, or with an error, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.status = 200

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/rpc/eth", self.handler(self.rpc))
        app.router.add_post("/v1/chat/completions", self.handler(self.chat))
        return app

    def handler(self, answer: Callable[[dict[str, Any]], web.Response]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            self.keys.add(request.headers["Authorization"])
            if self.status != 200:
                return web.Response(status=self.status, text="no supplier")
            return answer(await request.json())

        return handle

    def rpc(self, body: dict[str, Any]) -> web.Response:
        self.asked[body["method"]] += 1
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": "0x1"})

    def chat(self, body: dict[str, Any]) -> web.Response:
        self.asked["stream" if body["stream"] else "chat"] += 1
        return web.Response(text="data: {}\n\ndata: [DONE]\n\n")


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, str]]:
    endpoint = Endpoint()
    async with TestServer(endpoint.app()) as server:
        yield endpoint, str(server.make_url("")).rstrip("/")


async def test_load_keeps_its_rate_and_mixes_all_kinds(endpoint: tuple[Endpoint, str]) -> None:
    server, url = endpoint
    load = Load(url, "a key", rate_per_s=100, chats=0.2)
    await load.run(seconds=1)
    assert 95 <= load.tally.sent <= 101
    assert load.tally.done.total() == load.tally.sent
    assert {"chat", "stream", "eth_chainId", "eth_blockNumber"} <= set(server.asked)
    assert server.keys == {"Bearer a key"}
    assert load.tally.mean_ms > 0


async def test_what_failed_is_counted_with_its_words(endpoint: tuple[Endpoint, str]) -> None:
    server, url = endpoint
    server.status = 503
    load = Load(url, "a key", rate_per_s=50)
    await load.run(seconds=0.3)
    assert load.tally.done.total() == 0
    assert load.tally.failures.total() == load.tally.sent
    assert all("503 no supplier" in words for words in load.tally.failures)


async def test_a_gateway_that_is_not_there_is_a_failure_too() -> None:
    load = Load("http://127.0.0.1:1", "a key", rate_per_s=50)
    await load.run(seconds=0.1)
    assert load.tally.failures.total() == load.tally.sent > 0
