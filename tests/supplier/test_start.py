"""`pocketnode supplier start` as an operator runs it: its own process, a real chain, real relays."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketnode.chain import deployment as deployments
from pocketnode.chain import operations
from pocketnode.chain.actor import acting, sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Plan, deploy
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.reader import Reader
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key, checksum
from pocketnode.errors import RemoteError
from pocketnode.protocol.session import service_id, session_id
from pocketnode.protocol.types import ZERO32
from pocketnode.services.spec import builtin_bytes
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.receipts import ReceiptStore
from pocketnode.transport.client import open_lane
from pocketnode.transport.ports import Opening
from tests.anvil import KEYS, anvil, mine, ready
from tests.backends.engines import free_port
from tests.supplier.conftest import RPC, ask

DEPLOYER, APPLICATION, GATEWAY, OPERATOR = KEYS[0], KEYS[1], KEYS[2], KEYS[3]
NEWCOMER = KEYS[4]
SERVICE = service_id("eth")
CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'
READY_S = 120.0
PAID_S = 180.0
PAYOUT = b"\x77" * 20


@dataclass
class Market:
    url: str
    rpc: Rpc
    deployment: Deployment
    port: int

    async def opening(self) -> Opening:
        """Return what a lane in the session that runs now shares."""
        head = int(await self.rpc.ask("eth_blockNumber"), 16)
        number = (head - self.deployment.windows.anchor) // self.deployment.windows.length
        return Opening(APPLICATION.address, SERVICE, number, OPERATOR.address, GATEWAY.address, os.urandom(32))


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[str, Deployment, int]]:
    """A chain with one service, one application and one supplier, in the first session where that holds."""
    with anvil() as url:
        port = free_port()
        yield url, asyncio.run(open_market(url, port)), port


async def open_market(url: str, port: int) -> Deployment:
    async with Rpc([url]) as rpc:
        await ready(rpc)
        async with sending(rpc, DEPLOYER) as sender:
            deployment = await deploy(rpc, sender, Plan(spans=LOCAL_SPANS))
        async with acting(rpc, deployment, DEPLOYER) as actor:
            for key in (APPLICATION, OPERATOR, NEWCOMER):
                await operations.mint(actor, key.address, 10**12)
            await operations.add_service(actor, builtin_bytes("eth"), "", 10**9)
        async with acting(rpc, deployment, APPLICATION) as actor:
            await operations.deposit(actor, actor.address, 10**11)
            await operations.grant(actor, GATEWAY.address, SERVICE, 10**9)
        async with acting(rpc, deployment, OPERATOR) as actor:
            profile = operations.Profile(OPERATOR.address, f"127.0.0.1:{port}", ((PAYOUT, 10_000),))
            await operations.register(actor, SERVICE, profile, 1_000_000, 10**6)
        await rpc.ask("anvil_mine", "0x15")
    return deployment


@pytest.fixture
async def market(opened: tuple[str, Deployment, int]) -> AsyncIterator[Market]:
    """That market, put back after the test to what it was before."""
    url, deployment, port = opened
    async with Rpc([url]) as rpc:
        snapshot = await rpc.ask("evm_snapshot")
        yield Market(url, rpc, deployment, port)
        await rpc.ask("evm_revert", snapshot)


@pytest.fixture
def config(market: Market, tmp_path: Path) -> Path:
    deployments.write(tmp_path / "deployment.json", market.deployment)
    (tmp_path / "password").write_text("secret\n")
    keystore.create(tmp_path / "operator.json", Key(OPERATOR.secret()), "secret", keystore.LIGHT_COST)
    content: dict[str, Any] = {
        "deployment": "deployment.json",
        "rpc": [market.url],
        "keystore": "operator.json",
        "password_file": "password",
        "listen": f"127.0.0.1:{market.port}",
        "admin": {"listen": f"127.0.0.1:{free_port()}"},
        "services": [{"id": "eth", "price": 1_000_000, "backends": [{"url": market.url}]}],
    }
    path = tmp_path / "supplier.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def process(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    with started(config) as process:
        yield process
        process.kill()


def started(config: Path) -> subprocess.Popen[bytes]:
    """Start the daemon and return once it listens."""
    log = config.with_name("log")
    with log.open("ab") as sink:
        argv = [sys.executable, "-m", "pocketnode", "supplier", "start", "--config", str(config)]
        process = subprocess.Popen(argv, stderr=sink)
    seen, deadline_s = log.stat().st_size, time.monotonic() + READY_S
    while b'"listening"' not in log.read_bytes()[seen:]:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.05)
    return process


def change(config: Path, **fields: Any) -> dict[str, Any]:
    """Change fields of the file; return what it said before."""
    before: dict[str, Any] = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**before, **fields}))
    return before


async def command(config: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run `pocketnode supplier`; return exit code, JSON lines and stderr."""
    argv = [sys.executable, "-m", "pocketnode", "supplier", *words, "--config", str(config)]
    ended = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=120)
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


async def test_an_operator_checks_relays_and_looks(config: Path, process: subprocess.Popen[bytes]) -> None:
    code, findings, said = await command(config, "check", "--json")
    assert code == 0, (findings, said)
    assert {found["check"] for found in findings} >= {"admin", "backend", "endpoint", "chain", "gas", "registration"}
    code, (facts,), said = await command(config, "relay", "eth", "--json")
    assert code == 0, said
    assert facts["status"] == 200
    assert facts["units"] == 10
    assert json.loads(facts["answer"])["result"].startswith("0x")
    code, (facts,), said = await command(config, "status", "--json")
    assert code == 0, said
    assert facts["ready"]
    assert facts["services"][0]["backends"][0]["served"] == 1
    assert facts["registrations"][0]["bond"] == 10**6
    assert facts["gas_wei"] > 0
    assert not facts["sessions"], "a relay to oneself is in no session"


async def test_what_is_wrong_is_named_with_its_remedy(config: Path) -> None:
    gone = [{"id": "eth", "price": 2_000_000, "backends": [{"url": "http://127.0.0.1:1", "name": "gone"}]}]
    change(config, services=gone, endpoint="127.0.0.1:2")
    code, findings, _ = await command(config, "check", "--json")
    assert code == 2
    remedies = {found["what"]: found["remedy"] for found in findings if found["remedy"]}
    assert "start it" in remedies["eth gone"]
    assert "open the port" in remedies["127.0.0.1:2"]
    assert any("--endpoint 127.0.0.1:2" in found["remedy"] for found in findings)
    assert any("--price 2000000" in found["remedy"] for found in findings)


async def test_only_what_a_backend_does_is_registered(market: Market, config: Path) -> None:
    keystore.create(config.with_name("newcomer.json"), NEWCOMER, "secret", keystore.LIGHT_COST)
    words = ["register", "eth", "--bond", "1000", "--json", "--keystore", str(config.with_name("newcomer.json"))]
    words += ["--password-file", str(config.with_name("password"))]
    gone = [{"id": "eth", "price": 7, "backends": [{"url": "http://127.0.0.1:1"}]}]
    before = change(config, services=gone, keystore="newcomer.json")
    code, _, said = await command(config, *words)
    assert code == 2
    assert "no connection" in said
    change(config, services=[{**before["services"][0], "price": 7}], listen="0.0.0.0:9443")
    code, _, said = await command(config, *words)
    assert code == 2
    assert "set `endpoint`" in said
    change(config, endpoint="localhost:9443")
    code, rows, said = await command(config, *words)
    assert code == 0, said
    assert rows[0]["price"] == 7
    assert rows[0]["endpoint"] == "localhost:9443"
    assert rows[0]["bond"] == 1000
    assert rows[0]["operator"] == checksum(NEWCOMER.address)


async def test_tls_with_a_certificate_of_its_own(market: Market, config: Path) -> None:
    change(config, tls={"certificate": "cert.pem", "key": "key.pem"})
    code, (facts,), said = await command(config, "certificate", "--json")
    assert code == 0, said
    with started(config) as process:
        code, (relayed,), said = await command(config, "relay", "eth", "--json")
        assert code == 0, said
        assert relayed["status"] == 200
        opening = await market.opening()
        pinned = bytes.fromhex(facts["fingerprint"])
        lane = await open_lane(opening, f"127.0.0.1:{market.port}", pinned, GATEWAY, market.deployment.domain)
        assert await ask(lane, RPC, CALL)
        await lane.close()
        with pytest.raises(RemoteError):
            await open_lane(opening, f"127.0.0.1:{market.port}", b"\x01" * 32, GATEWAY, market.deployment.domain)
        process.kill()


async def test_relays_are_served_and_survive_kill_9(
    market: Market, config: Path, process: subprocess.Popen[bytes]
) -> None:
    opening = await market.opening()
    lane = await open_lane(opening, f"127.0.0.1:{market.port}", ZERO32, GATEWAY, market.deployment.domain)
    for _ in range(20):
        assert json.loads(await ask(lane, RPC, CALL))["result"].startswith("0x")
    await asyncio.sleep(0.2)
    process.kill()
    process.wait()
    store = open_store(sqlite_url(config.with_name("supplier.db")))
    (kept,) = ReceiptStore(store).lanes(session_id(APPLICATION.address, SERVICE, opening.number), GATEWAY.address)
    assert kept.units == 200
    store.dispose()
    await lane.close()


async def test_what_no_statement_covers_is_claimed_and_paid_out(
    market: Market, config: Path, process: subprocess.Popen[bytes]
) -> None:
    opening = await market.opening()
    lane = await open_lane(opening, f"127.0.0.1:{market.port}", ZERO32, GATEWAY, market.deployment.domain)
    for _ in range(10):
        await ask(lane, RPC, CALL)
    await lane.close()
    reader = Reader(market.rpc, market.deployment)
    async with asyncio.timeout(PAID_S):
        while not (paid := await operations.token_balance(reader, PAYOUT)):
            await mine(market.rpc)
            await asyncio.sleep(0.2)
    assert paid == 98, "100 units at one base unit each, less 2% fee"
    assert process.poll() is None


async def test_sigterm_ends_it_in_time_with_exit_code_0(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
