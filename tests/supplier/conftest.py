"""A whole supplier daemon over a market of the test's own, with real lanes to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.deployment import Deployment
from pocketnode.cli.supplier_parts import owed_in
from pocketnode.crypto import keystore
from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.errors import Unavailable
from pocketnode.protocol.payload import RequestHead, encode_request
from pocketnode.protocol.session import end_of, number_at, service_id, session_id, start_of
from pocketnode.protocol.types import ZERO32, Grant, Params, Session, SessionSupplier
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.receipts import ReceiptStore
from pocketnode.supplier import config as configs
from pocketnode.supplier.daemon import Outside, Reread, SupplierDaemon
from pocketnode.transport.client import Lane
from pocketnode.transport.links import open_lane
from pocketnode.transport.ports import Opening
from tests.anvil import anvil
from tests.backends import engines
from tests.backends.conftest import RawServer, raw_serving
from tests.backends.engines import free_port
from tests.store.conftest import postgres  # noqa: F401 - a fixture
from tests.supplier.real import OPERATOR, Market, open_market, started

DOMAIN = Domain(31337, b"\x11" * 20)
SUPPLIER = Key(b"\x01" * 32)
GATEWAY = Key(b"\x02" * 32)
STRANGER = Key(b"\x03" * 32)
SECOND = Key(b"\x04" * 32)
KEYS = {"operator": SUPPLIER, "second": SECOND}  # by the names that `described` gives them
APPLICATION = b"\xaa" * 20
PARAMS = Params(
    anchor=100,
    length=20,
    suppliers=24,
    grace=2,
    statement_window=5,
    claim_window=10,
    thaw=60,
    fee=200,
    quality_share=2000,
    w_min=5000,
)
ASK_S = 60.0  # a relay that never ends fails its test, and not the whole run
CHAT = encode_request(RequestHead("POST", "/v1/chat/completions", {"content-type": "application/json"}))
RPC = encode_request(RequestHead("POST", "/", {"content-type": "application/json"}))


@dataclass
class FakeMarket:
    """A chain that a test moves: implements `ports.Market` and `ports.Clock`."""

    number: int = 145
    price: int = 1_000_000
    cap: int = 10_000_000
    suppliers: int = 2
    covered: bool = True
    listed: bool = True
    down: bool = False
    reads: int = 0

    def number_now(self) -> int:
        return number_at(self.number, PARAMS)

    async def params(self, number: int) -> Params:
        return PARAMS

    async def session(self, application: bytes, service: bytes, number: int) -> Session:
        self.reads += 1
        if self.down or start_of(number, PARAMS) > self.number:
            raise Unavailable("not yet")
        us = SessionSupplier(0, 7, SUPPLIER.address, self.price, "here:1", ZERO32)
        other = replace(us, index=1, operator=SECOND.address)
        listed = ((us, other) if self.suppliers == 2 else (us,)) if self.listed else (other,)
        found = session_id(application, service, number)
        bounds = start_of(number, PARAMS), end_of(number, PARAMS)
        return Session(found, application, service, number, *bounds, self.covered, listed)

    async def grant(self, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant | None:
        return Grant(self.cap, number) if gateway == GATEWAY.address and self.cap else None


@dataclass
class Running:
    """A daemon that runs, and lanes to it."""

    daemon: SupplierDaemon
    store: ReceiptStore
    path: Path
    stop: asyncio.Event
    task: asyncio.Task[None]
    lanes: AsyncExitStack

    async def lane(self, service: str = "eth", key: Key = GATEWAY, number: int = 2, supplier: Key = SUPPLIER) -> Lane:
        opening = Opening(APPLICATION, service_id(service), number, supplier.address, key.address, os.urandom(32))
        lane = await open_lane(opening, f"127.0.0.1:{self.daemon.port}", ZERO32, key, DOMAIN)
        self.lanes.push_async_callback(lane.close)
        return lane

    def write(self, config: dict[str, Any]) -> None:
        self.path.write_text(yaml.safe_dump(config))


async def ask(lane: Lane, head: bytes, body: bytes, hold: int = 1000, most: int | None = None) -> bytes:
    """Send one relay, accept it and return its body."""
    parts = []
    async with asyncio.timeout(ASK_S):
        reply = await lane.relay(head, body, hold, most)
        while part := await reply.read():
            parts.append(part)
    reply.accept()
    return b"".join(parts)


def described(folder: Path, **services: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration as YAML would give it; `services` by id."""
    return {
        "deployment": str(folder / "deployment.json"),
        "rpc": ["http://127.0.0.1:1"],
        "keystore": "operator.json",
        "password_file": "password",
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "store": sqlite_url(folder / "supplier.db"),
        "services": [{"id": name, "price": 1_000_000, **rest} for name, rest in services.items()],
        "limits": {"drain_s": 30},
    }


Start = Callable[[dict[str, Any]], Awaitable[Running]]


@pytest.fixture
def market() -> FakeMarket:
    return FakeMarket()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_store(sqlite_url(tmp_path / "supplier.db"))
    yield engine
    engine.dispose()


@pytest.fixture
async def start(market: FakeMarket, engine: Engine, tmp_path: Path) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(config: dict[str, Any]) -> Running:
            path = tmp_path / "supplier.yaml"
            path.write_text(yaml.safe_dump(config))
            store = ReceiptStore(engine)

            async def reread() -> Reread:
                config = configs.load(path)
                return Reread(config, {key.label: KEYS[key.label] for key in config.keys})

            first = await reread()
            outside = Outside(first.keys, DOMAIN, market, market, store, owed=owed_in(store))
            daemon = await stack.enter_async_context(SupplierDaemon(first.config, outside, reread))
            stop = asyncio.Event()
            task = asyncio.ensure_future(daemon.run(stop))
            lanes = AsyncExitStack()
            await daemon.started.wait()

            async def end() -> None:
                await lanes.aclose()
                stop.set()
                await task

            stack.push_async_callback(end)
            return Running(daemon, store, path, stop, task, lanes)

        yield begin


@pytest.fixture(scope="session")
def llama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engines.llama(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(scope="session")
def anvil_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engines.anvil(tmp_path_factory.mktemp("anvil")) as url:
        yield url


@pytest.fixture
async def raw_server() -> AsyncIterator[RawServer]:
    async with raw_serving() as server:
        yield server


# ---- real chain, real processes


@pytest.fixture(scope="session")
def opened() -> Iterator[tuple[str, Deployment, int]]:
    """A chain with one service, one application and one supplier, in the first session where that holds."""
    with anvil() as url:
        port = free_port()
        yield url, asyncio.run(open_market(url, port)), port


@pytest.fixture
async def real(opened: tuple[str, Deployment, int]) -> AsyncIterator[Market]:
    """That market, put back after the test to what it was before."""
    url, deployment, port = opened
    async with Rpc([url]) as rpc:
        snapshot = await rpc.ask("evm_snapshot")
        yield Market(url, rpc, deployment, port)
        await rpc.ask("evm_revert", snapshot)


@pytest.fixture
def config(real: Market, tmp_path: Path) -> Path:
    deployments.write(tmp_path / "deployment.json", real.deployment)
    (tmp_path / "password").write_text("secret\n")
    keystore.create(tmp_path / "operator.json", Key(OPERATOR.secret()), "secret", keystore.LIGHT_COST)
    content: dict[str, Any] = {
        "deployment": "deployment.json",
        "rpc": [real.url],
        "keystore": "operator.json",
        "password_file": "password",
        "listen": f"127.0.0.1:{real.port}",
        "admin": {"listen": f"127.0.0.1:{free_port()}"},
        "services": [{"id": "eth", "price": 1_000_000, "backends": [{"url": real.url}]}],
    }
    path = tmp_path / "supplier.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def process(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    with started(config) as process:
        yield process
        process.kill()
