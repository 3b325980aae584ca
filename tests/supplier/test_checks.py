"""What `supplier check` finds, where in the file it says that it stands, and what it says helps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from pocketnode.backends.http import open_session
from pocketnode.backends.lean import Connections
from pocketnode.errors import NotFound
from pocketnode.protocol.types import ZERO32
from pocketnode.services.spec import builtin_bytes, spec_hash
from pocketnode.supplier.checks import (
    check_backends,
    check_endpoint,
    check_exposure,
    check_registration,
    hidden_addresses,
)
from pocketnode.supplier.config import BackendConfig, ServiceConfig
from pocketnode.supplier.locating import line_of
from pocketnode.supplier.offers import Clients
from tests.backends.conftest import RawServer, http_answer
from tests.backends.engines import free_port
from tests.supplier.test_config import loaded

PUBLIC_CHAIN, LOCAL_CHAIN = 8453, 31337


@dataclass(frozen=True)
class Registered:
    id: int = 3
    listed: bool = True
    price: int = 5
    bond: int = 100
    endpoint: str = "0.0.0.0:9443"
    fingerprint: bytes = ZERO32


@dataclass(frozen=True)
class Known:
    spec_hash: bytes = spec_hash(builtin_bytes("eth"))
    max_price: int = 10


@dataclass(frozen=True)
class FakeRegistry:
    found: Registered | None = field(default_factory=Registered)
    known: Known | None = field(default_factory=Known)

    async def service(self, service: bytes) -> Known:
        if self.known is None:
            raise NotFound("no service 'eth'")
        return self.known

    async def registration_by(self, service: bytes, operator: bytes) -> Registered | None:
        return self.found


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients(open_session(), Connections())
    yield clients
    await clients.close()


@pytest.mark.parametrize(
    ("registry", "remedy", "line"),
    [
        (FakeRegistry(known=None), "pocketnode service add", "id: eth"),
        (FakeRegistry(known=Known(b"\x01" * 32)), "units are metered by it", "- backends"),
        (FakeRegistry(found=None), "pocketnode supplier register eth --operator operator", "id: eth"),
        (FakeRegistry(Registered(listed=False)), "pocketnode supplier stay", "id: eth"),
        (FakeRegistry(Registered(price=6)), "--price 5", "price: 5"),
        (FakeRegistry(Registered(endpoint="x:1")), "--endpoint 0.0.0.0:9443", "deployment"),
        (FakeRegistry(Registered(fingerprint=b"\x01" * 32)), f"--fingerprint {bytes(32).hex()}", "deployment"),
    ],
)
async def test_what_the_chain_says_otherwise_is_one_finding_with_its_line(
    registry: FakeRegistry, remedy: str, line: str, tmp_path: Path
) -> None:
    config = loaded(tmp_path)
    found = await check_registration(config.services[0], config, ("operator", b"\x01" * 20), registry)
    (failed,) = [finding for finding in found if not finding.holds]
    assert remedy in failed.remedy
    text = (tmp_path / "supplier.yaml").read_text()
    assert text.splitlines()[line_of(text, failed.place) - 1].strip().startswith(line)


async def test_what_agrees_is_found_to_hold(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    found = await check_registration(config.services[0], config, ("operator", b"\x01" * 20), FakeRegistry())
    assert len(found) == 5
    assert all(finding.holds for finding in found)


@pytest.mark.parametrize(
    ("endpoint", "chain", "hidden"),
    [
        ("127.0.0.1:9443", PUBLIC_CHAIN, "127.0.0.1"),
        ("localhost:9443", PUBLIC_CHAIN, "127.0.0.1"),
        ("10.1.2.3:9443", PUBLIC_CHAIN, "10.1.2.3"),
        ("192.168.0.7:9443", PUBLIC_CHAIN, "192.168.0.7"),
        ("169.254.1.1:9443", PUBLIC_CHAIN, "169.254.1.1"),
        ("100.64.0.1:9443", PUBLIC_CHAIN, "100.64.0.1"),
        ("[fe80::1]:9443", PUBLIC_CHAIN, "fe80::1"),
        ("[fd00::1]:9443", PUBLIC_CHAIN, "fd00::1"),
        ("0.0.0.0:9443", PUBLIC_CHAIN, "0.0.0.0"),
        ("8.8.8.8:9443", PUBLIC_CHAIN, ""),
        ("[2001:4860:4860::8888]:9443", PUBLIC_CHAIN, ""),
        ("127.0.0.1:9443", LOCAL_CHAIN, ""),
    ],
)
async def test_an_address_of_no_use_to_others_is_told(endpoint: str, chain: int, hidden: str) -> None:
    assert hidden in await hidden_addresses(endpoint, chain)
    assert bool(await hidden_addresses(endpoint, chain)) == bool(hidden)


async def test_an_endpoint_is_checked_for_its_address_and_its_port(tmp_path: Path) -> None:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    open_here = loaded(tmp_path, endpoint=f"127.0.0.1:{port}")
    assert (await check_endpoint(open_here, LOCAL_CHAIN)).holds
    outside = await check_endpoint(open_here, PUBLIC_CHAIN)
    assert "nobody outside can reach it" in outside.found
    assert outside.place == ("endpoint",)
    listener.close()
    shut = await check_endpoint(loaded(tmp_path, endpoint=f"127.0.0.1:{free_port()}"), LOCAL_CHAIN)
    assert "open the port" in shut.remedy


def test_an_admin_listener_that_is_open_to_all_is_told(tmp_path: Path) -> None:
    assert check_exposure(loaded(tmp_path)).holds
    assert check_exposure(loaded(tmp_path, admin={"listen": "0.0.0.0:9100", "token_file": "token"})).holds
    assert not check_exposure(loaded(tmp_path, admin={"listen": "0.0.0.0:9100"})).holds


# ---- registration refuses to advertise what probing does not confirm


MODELS = orjson.dumps({"data": [{"id": "another-model"}]})
ANSWERED = orjson.dumps({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


async def test_a_server_without_the_models_of_the_spec_is_not_confirmed(
    raw_server: RawServer, clients: Clients
) -> None:
    async def listing_others(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = {b"/v1/models": MODELS, b"/v1/chat/completions": ANSWERED}.get(raw_server.requests[-1].split()[1])
        writer.write(http_answer(known) if known else http_answer(b"{}", "404 Not Found"))

    raw_server.handler = listing_others
    (found,) = await check_backends(service("smollm2", raw_server.url), clients)
    assert "does not serve smollm2-135m" in found.found


BAD: dict[str, tuple[str, bytes, str]] = {
    "no LLM server": ("smollm2", http_answer(b"<html>", kind="text/html"), "no OpenAI-compatible server"),
    "an LLM server that only fails": ("smollm2", http_answer(b"{}", "500 Oops"), "HTTP 500"),
    "a node that only fails": ("eth", http_answer(b"{}", "503 Busy"), "HTTP 503"),
    "a node that wants a password": ("eth", http_answer(b"{}", "401 Who"), "HTTP 401"),
    "no node": ("eth", http_answer(b"<html>", kind="text/html"), "JSON"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_does_not_do_its_work_is_not_confirmed(name: str, raw_server: RawServer, clients: Clients) -> None:
    sold, answer, said = BAD[name]
    raw_server.answers(answer)
    (found,) = await check_backends(service(sold, raw_server.url), clients, ("services", 0))
    assert not found.holds
    assert said in found.found
    assert found.place == ("services", 0, "backends", 0, "url")


async def test_nobody_there_is_not_confirmed(clients: Clients) -> None:
    (found,) = await check_backends(service("eth", "http://127.0.0.1:1"), clients)
    assert "no connection" in found.found


def service(name: str, url: str, **more: Any) -> ServiceConfig:
    return ServiceConfig(id=name, price=1, backends=[BackendConfig(url=url, **more)])
