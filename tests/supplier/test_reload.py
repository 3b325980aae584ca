"""What SIGHUP changes in a daemon that runs, and what it must not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import structlog

from pocketnode.chain.client import Rpc
from pocketnode.cli.gateway_parts import Lanes
from pocketnode.cli.logs import log_at, log_to_stderr
from pocketnode.errors import RemoteError, Unavailable
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.session import service_id
from pocketnode.supplier.certificate import create_certificate
from pocketnode.supplier.checks import fingerprint_of
from pocketnode.supplier.config import Tls
from pocketnode.transport.channels import ClientCertificate
from pocketnode.transport.client import Lane
from pocketnode.transport.links import open_lane
from pocketnode.transport.ports import Opening
from tests.supplier.conftest import APPLICATION, DOMAIN, GATEWAY, RPC, SUPPLIER, Running, Start, ask, described
from tests.supplier.test_daemon import BLOCK_NUMBER, eth


def certificate(folder: Path, name: str) -> Tls:
    create_certificate(folder / f"{name}.crt", folder / f"{name}.key", "127.0.0.1", days=1)
    return Tls(certificate=folder / f"{name}.crt", key=folder / f"{name}.key")


async def pinned_lane(running: Running, tls: Tls) -> Lane:
    opening = Opening(APPLICATION, service_id("eth"), 2, SUPPLIER.address, GATEWAY.address, os.urandom(32))
    endpoint = f"127.0.0.1:{running.daemon.port}"
    lane = await open_lane(opening, endpoint, fingerprint_of(tls), GATEWAY, DOMAIN)
    running.lanes.push_async_callback(lane.close)
    return lane


async def test_a_renewed_certificate_is_shown_to_who_comes_later(start: Start, tmp_path: Path, anvil_url: str) -> None:
    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    config = described(tmp_path, eth=eth(anvil_url))
    running = await start({**config, "tls": {"certificate": "old.crt", "key": "old.key"}})
    lane = await pinned_lane(running, old)
    running.write({**config, "tls": {"certificate": "new.crt", "key": "old.key"}})
    await running.daemon.reload()
    await pinned_lane(running, old)
    assert running.daemon.config.tls == old, "files that do not belong together change nothing"
    running.write({**config, "tls": {"certificate": "new.crt", "key": "new.key"}})
    await running.daemon.reload()
    await ask(await pinned_lane(running, new), RPC, BLOCK_NUMBER)
    with pytest.raises(RemoteError):
        await pinned_lane(running, old)
    await ask(lane, RPC, BLOCK_NUMBER)


async def test_a_gateway_shows_the_certificate_of_its_configuration(
    start: Start, tmp_path: Path, anvil_url: str
) -> None:
    own, client = certificate(tmp_path, "own"), certificate(tmp_path, "client")
    tls = {"certificate": "own.crt", "key": "own.key", "client_ca": "client.crt"}
    running = await start({**described(tmp_path, eth=eth(anvil_url)), "tls": tls})
    shown = ClientCertificate.read(client.certificate, client.key)
    opening = Opening(APPLICATION, service_id("eth"), 2, SUPPLIER.address, GATEWAY.address, os.urandom(32))
    where, pinned = f"127.0.0.1:{running.daemon.port}", fingerprint_of(own)
    lane = await Lanes(GATEWAY, DOMAIN, client=shown).open(opening, where, pinned)
    reply = await lane.relay(RPC, BLOCK_NUMBER, 10)
    assert await reply.read()
    await lane.close()
    for stranger in (None, ClientCertificate.read(own.certificate, own.key)):
        with pytest.raises(Unavailable):
            await Lanes(GATEWAY, DOMAIN, client=stranger).open(opening, where, pinned)


async def test_limits_and_policy_hold_for_lanes_that_come_later(start: Start, tmp_path: Path, anvil_url: str) -> None:
    config = described(tmp_path, eth=eth(anvil_url))
    running = await start(config)
    lane = await running.lane()
    small = {"lanes": 2, "request_mib": 0.001, "in_flight_per_lane": 1}
    running.write({**config, "limits": small, "policy": {"credit_limit": 15}})
    await running.daemon.reload()
    later = await running.lane()
    assert (later.terms.max_in_flight, later.terms.max_request, later.terms.credit_limit) == (1, 1048, 15)
    padded = BLOCK_NUMBER[:-1] + b',"x":"' + b"x" * 2000 + b'"}'
    await ask(lane, RPC, padded, hold=10)
    with pytest.raises(RelayFailed) as refused:
        await ask(lane, RPC, BLOCK_NUMBER, hold=16)
    assert refused.value.fault.kind is FaultClass.OUT_OF_BUDGET, "credit is of the gateway, whatever lanes it has"
    with pytest.raises(Unavailable, match="2 lanes are open"):
        await running.lane()


async def test_a_subscription_and_a_stream_outlive_a_reload_that_takes_their_backend(
    start: Start, tmp_path: Path, anvil_url: str, llama_url: str
) -> None:
    nodes = eth(anvil_url, websocket=anvil_url.replace("http", "ws"))
    config = described(tmp_path, eth=nodes, smollm2={"backends": [{"url": llama_url}]})
    running = await start(config)
    lane = await running.lane()
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'
    news = await lane.relay(RPC, subscribe, hold=100, most=1000)
    await news.read()
    running.write(described(tmp_path, eth={"backends": [{"url": "http://127.0.0.1:1"}]}))
    await running.daemon.reload()
    async with Rpc([anvil_url]) as rpc:
        await rpc.ask("evm_mine")
    assert json.loads(await news.read() or b"")["method"] == "eth_subscription"
    ended = await news.cancel()
    assert ended is not None
    with pytest.raises(RemoteError):
        await running.lane("smollm2")


async def test_what_cannot_change_while_it_runs_is_told(
    start: Start, tmp_path: Path, anvil_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = described(tmp_path, eth=eth(anvil_url))
    running = await start(config)
    running.write({**config, "listen": "127.0.0.1:9", "store": "sqlite:///other.db"})
    with structlog.testing.capture_logs() as logs:
        await running.daemon.reload()
    (told,) = [line for line in logs if line["event"] == "restart needed"]
    assert told["changed"] == ["listen", "store"]


async def test_other_nodes_are_asked_after_a_reload(anvil_url: str) -> None:
    async with Rpc(["http://127.0.0.1:1"], patience_s=0.1) as rpc:
        with pytest.raises(Unavailable):
            await rpc.ask("eth_chainId")
        rpc.use([anvil_url, "http://127.0.0.1:1"])
        assert await rpc.ask("eth_chainId")


def test_the_level_of_the_log_changes_for_loggers_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    before: Any = structlog.get_config()
    try:
        log_to_stderr("warning", as_json=True)
        log = structlog.get_logger("x")
        log.info("unheard")
        log_at("debug")
        log.debug("heard")
        log_at("error")
        log.warning("unheard too")
        log.error("loud")
    finally:
        structlog.configure(**before)
    told = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert told == ["heard", "loud"]
