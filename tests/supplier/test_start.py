"""`pocketnode supplier start` as an operator runs it: its own process, a real chain, real relays."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import pytest

from pocketnode.crypto import keystore
from pocketnode.crypto.keys import checksum
from pocketnode.errors import RemoteError, Unavailable
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.receipts import ReceiptStore
from pocketnode.supplier.certificate import create_certificate
from pocketnode.transport.channels import ClientCertificate
from pocketnode.transport.links import open_lane
from tests.supplier.conftest import RPC, ask
from tests.supplier.real import CALL, GATEWAY, NEWCOMER, PAYOUT, Market, change, command, line_at, reached, started


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


async def test_anybody_sees_a_registration_as_a_gateway_does(
    real: Market, config: Path, process: subprocess.Popen[bytes]
) -> None:
    code, (facts,), said = await reached(real, config)
    assert code == 0, said
    assert facts["serves"]
    assert facts["endpoint"] == f"127.0.0.1:{real.port}"
    process.kill()
    process.wait()
    code, _, said = await reached(real, config)
    assert code == Unavailable.exit_code
    assert "open its port" in said


async def test_what_is_wrong_is_named_with_its_remedy(config: Path) -> None:
    gone = [{"id": "eth", "price": 2_000_000, "backends": [{"url": "http://127.0.0.1:1", "name": "gone"}]}]
    change(config, services=gone, endpoint="127.0.0.1:2")
    code, findings, _ = await command(config, "check", "--json")
    assert code == 2
    lines = {found["check"]: line_at(found["where"]) for found in findings}
    assert lines["endpoint"] == "endpoint: 127.0.0.1:2"
    assert "http://127.0.0.1:1" in lines["backend"]
    remedies = {found["what"]: found["remedy"] for found in findings if found["remedy"]}
    assert "start it" in remedies["eth gone"]
    assert "open the port" in remedies["127.0.0.1:2"]
    assert any("--endpoint 127.0.0.1:2" in found["remedy"] for found in findings)
    assert any("--price 2000000" in found["remedy"] for found in findings)


async def test_only_what_a_backend_does_is_registered(real: Market, config: Path) -> None:
    keystore.create(config.with_name("newcomer.json"), NEWCOMER, "secret", keystore.LIGHT_COST)
    words = [
        "register",
        "eth",
        "--bond",
        "1000",
        "--yes",
        "--json",
        "--keystore",
        str(config.with_name("newcomer.json")),
    ]
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


async def test_tls_with_a_certificate_of_its_own_that_asks_gateways_for_theirs(real: Market, config: Path) -> None:
    client = [config.with_name(f"client.{kind}") for kind in ("crt", "key")]
    create_certificate(client[0], client[1], "gateway.example", days=1)
    change(config, tls={"certificate": "cert.pem", "key": "key.pem", "client_ca": "client.crt"})
    code, (facts,), said = await command(config, "certificate", "--json")
    assert code == 0, said
    with started(config) as process:
        code, _, said = await command(config, "relay", "eth", "--json")
        assert code == 2
        assert "--client-certificate" in said
        flags = ("--client-certificate", str(client[0]), "--client-key", str(client[1]))
        code, (relayed,), said = await command(config, "relay", "eth", "--json", *flags)
        assert code == 0, said
        assert relayed["status"] == 200
        own = ClientCertificate(client[0].read_bytes(), client[1].read_bytes())
        where = f"127.0.0.1:{real.port}"
        opening, domain = await real.opening(), real.deployment.domain
        pinned = bytes.fromhex(facts["fingerprint"])
        lane = await open_lane(opening, where, pinned, GATEWAY, domain, own)
        assert await ask(lane, RPC, CALL)
        await lane.close()
        with pytest.raises(Unavailable):
            await open_lane(opening, where, pinned, GATEWAY, domain)
        with pytest.raises(RemoteError):
            await open_lane(opening, where, b"\x01" * 32, GATEWAY, domain, own)
        process.kill()


async def test_relays_are_served_and_survive_kill_9(
    real: Market, config: Path, process: subprocess.Popen[bytes]
) -> None:
    lane = await real.lane()
    for _ in range(20):
        assert json.loads(await ask(lane, RPC, CALL))["result"].startswith("0x")
    await asyncio.sleep(0.2)
    process.kill()
    process.wait()
    store = open_store(sqlite_url(config.with_name("supplier.db")))
    (kept,) = ReceiptStore(store).lanes(lane.opening.session, GATEWAY.address)
    assert kept.units == 200
    store.dispose()
    await lane.close()


async def test_what_no_statement_covers_is_claimed_and_paid_out(
    real: Market, config: Path, process: subprocess.Popen[bytes]
) -> None:
    lane = await real.lane()
    for _ in range(10):
        await ask(lane, RPC, CALL)
    await lane.close()
    assert await real.paid(PAYOUT) == 98, "100 units at one base unit each, less 2% fee"
    assert process.poll() is None


async def test_sigterm_ends_it_in_time_with_exit_code_0(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
