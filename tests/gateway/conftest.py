"""A whole gateway daemon over a market of the test's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Engine

from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.daemon import GatewayDaemon, Outside
from pocketnode.protocol.record import RelayRecord
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.keys import KeyStore
from tests.gateway.market import APPLICATION, GATEWAY, FakeMarket, Kept, Lanes, Supplier

TOKEN = "admin-token"


@dataclass
class Running:
    """A gateway that runs, its suppliers, and a client of it."""

    daemon: GatewayDaemon
    market: FakeMarket
    suppliers: list[Supplier]
    kept: Kept
    engine: Engine
    keys: KeyStore
    secret: str
    stop: asyncio.Event
    task: asyncio.Task[None]
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.daemon.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Send JSON (or bytes as they are); return status, parsed answer and headers."""
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(self.url + path, headers={**self.headers, **headers}, **sent) as answer:
            text = await answer.read()
            parsed = await answer.json(content_type=None) if text else None
            return answer.status, parsed, {name.lower(): value for name, value in answer.headers.items()}

    async def rpc(self, method: str, *params: Any, identity: Any = 1) -> Any:
        """Return the whole answer to one JSON-RPC request."""
        body = {"jsonrpc": "2.0", "id": identity, "method": method, "params": list(params)}
        return (await self.post("/rpc/eth", body))[1]

    async def admin(self, path: str, method: str = "GET", token: str = TOKEN, body: Any = None) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.daemon.admin_port}{path}"
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.request(method, url, headers=headers, json=body) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, (await answer.json() if is_json else await answer.text())

    def records(self) -> list[RelayRecord]:
        return self.kept.all()


Start = Callable[..., Awaitable[Running]]


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait for what has no event."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to that"
        await asyncio.sleep(0.01)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_store(sqlite_url(tmp_path / "gateway.db"))
    yield engine
    engine.dispose()


@pytest.fixture
async def start(engine: Engine, tmp_path: Path) -> AsyncIterator[Start]:
    (tmp_path / "token").write_text(TOKEN)
    async with AsyncExitStack() as stack:

        async def start_one(suppliers: int = 3, rules: str = "{}", **config: Any) -> Running:
            return await _start(stack, engine, tmp_path, suppliers, rules, config)

        yield start_one


async def _start(
    stack: AsyncExitStack, engine: Engine, folder: Path, count: int, rules: str, config: dict[str, Any]
) -> Running:
    suppliers = [Supplier(number) for number in range(10, 10 + count)]
    for supplier in suppliers:
        supplier.port = await supplier.server.start("127.0.0.1:0")
        stack.push_async_callback(supplier.server.drain, 0.05)
    market, kept = FakeMarket(suppliers, owners=config.pop("owners", {})), Kept()
    keys = KeyStore(engine)
    _, secret = keys.create("test", int(time.time()), rules=rules)
    outside = Outside(GATEWAY.address, market, Lanes(), kept, engine)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    daemon = await stack.enter_async_context(GatewayDaemon(configured(folder, **config), outside))
    stop = asyncio.Event()
    task = asyncio.create_task(daemon.run(stop))
    stack.push_async_callback(_stop, stop, task)
    async with asyncio.timeout(5):
        await daemon.started.wait()
    running = Running(daemon, market, suppliers, kept, engine, keys, secret, stop, task, http)
    if count and market.covered:
        await until(lambda: not daemon.status.missing())
        await until(lambda: all(s.open() for a in daemon.sessions.all() for s in a.seats.values()))
    return running


async def _stop(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    stop.set()
    await task


def configured(folder: Path, **config: Any) -> GatewayConfig:
    """Return a configuration as YAML would give it."""
    content: dict[str, Any] = {
        "deployment": "deployment.json",
        "rpc": ["http://127.0.0.1:1"],
        "keystore": "gateway.json",
        "password_file": "password",
        "applications": [{"address": "0x" + APPLICATION.hex(), "services": ["eth", "smollm2"]}],
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0", "token_file": "token"},
        **config,
    }
    return GatewayConfig.parse(content, folder)
