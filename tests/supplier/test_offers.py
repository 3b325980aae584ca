"""Backends as the configuration describes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.http import open_session
from pocketnode.backends.lean import Connections
from pocketnode.errors import ConfigError
from pocketnode.services.spec import builtin
from pocketnode.supplier.config import BackendConfig, BackendTls, Secret, ServiceConfig
from pocketnode.supplier.offers import Clients, make_backend, make_offer, spec_of, target_of
from tests.backends.conftest import RPC, FakeExchange
from tests.backends.tls import TOKEN, guarded_node

CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients(open_session(), Connections())
    yield clients
    await clients.close()


def node(url: str, folder: Path, tls: bool = True, token: str = TOKEN) -> BackendConfig:
    (folder / "token").write_text(token)
    trusted = BackendTls(ca=folder / "server.crt", certificate=folder / "client.crt", key=folder / "client.key")
    headers: dict[str, str | Secret] = {"authorization": Secret(file=folder / "token")}
    return BackendConfig(url=url, headers=headers, tls=trusted if tls else BackendTls())


async def test_a_backend_behind_tls_gets_our_certificate_and_token(tmp_path: Path, clients: Clients) -> None:
    async with guarded_node(tmp_path) as url:
        backend = make_backend(node(url, tmp_path), builtin("eth"), clients)
        await backend.check()
        exchange = FakeExchange(RPC, CALL)
        assert await backend.answer(exchange) == 10
        assert exchange.sent == b'{"jsonrpc": "2.0", "id": 1, "result": "0x10"}'


async def test_without_them_there_is_no_answer(tmp_path: Path, clients: Clients) -> None:

    async with guarded_node(tmp_path) as url:
        stranger = make_backend(node(url, tmp_path, tls=False), builtin("eth"), clients)
        with pytest.raises(BackendFailed, match="no connection"):
            await stranger.check()
        wrong = make_backend(node(url, tmp_path, token="Bearer wrong"), builtin("eth"), clients)
        with pytest.raises(BackendFailed, match="HTTP 401"):
            await wrong.check()


async def test_a_secret_never_shows(tmp_path: Path, clients: Clients) -> None:

    (tmp_path / "token").write_text(TOKEN)
    config = BackendConfig(url="http://node", headers={"authorization": Secret(file=tmp_path / "token")})
    assert TOKEN not in repr(target_of(config, builtin("eth")))
    assert TOKEN not in repr(config)


def test_a_spec_of_another_service_is_refused(tmp_path: Path) -> None:
    spec = tmp_path / "x.yaml"
    spec.write_text("id: other\nkind: http\ntitle: t\nslo: {first_byte_ms: 1}\n")
    with pytest.raises(ConfigError, match="that of other"):
        spec_of(ServiceConfig(id="mine", spec=spec, price=1, backends=[BackendConfig(url="http://x")]))


@pytest.mark.parametrize("name", ["eth", "smollm2"])
async def test_what_ships_with_the_package_needs_no_spec(name: str, clients: Clients) -> None:
    offer = make_offer(ServiceConfig(id=name, price=1, backends=[BackendConfig(url="http://x/v1")]), clients)
    assert offer.spec.id == name
    assert len(offer.pool.members) == 1
