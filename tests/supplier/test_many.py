"""Several keys in one process, and several processes behind one registration, to the money in the payout addresses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market as ChainMarket
from pocketnode.chain.reader import Reader
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import checksum
from tests.anvil import anvil
from tests.backends.engines import free_port
from tests.supplier.conftest import RPC, ask
from tests.supplier.real import (
    CALL,
    OPERATOR,
    PAYOUT,
    SECOND,
    SECOND_PAYOUT,
    SERVICE,
    Market,
    change,
    command,
    logged,
    started,
)
from tests.supplier.splitter import splitting

RELAYS, UNITS = 10, 10  # of each lane, of each relay; one base unit a unit, less 2% fee


async def relays(real: Market, lanes: int, **to: Any) -> None:
    """Open lanes, have `RELAYS` answered and accepted on each, and close them."""
    opened = [await real.lane(**to) for _ in range(lanes)]
    for lane in opened:
        for _ in range(RELAYS):
            assert json.loads(await ask(lane, RPC, CALL, hold=UNITS))["result"]
    for lane in opened:
        assert lane.total == RELAYS * UNITS
        await lane.close()


async def test_one_process_earns_for_every_key_that_it_has(real: Market, config: Path) -> None:
    keystore.create(config.with_name("second.json"), SECOND, "secret", keystore.LIGHT_COST)
    change(config, operators=[{"keystore": "second.json", "password_file": "password"}])
    with started(config) as process:
        await relays(real, 1, supplier=OPERATOR)
        await relays(real, 2, supplier=SECOND)
        code, (facts,), said = await command(config, "status", "--json")
        assert code == 0, said
        assert {row["name"]: row["operator"] for row in facts["operators"]} == {
            "operator": checksum(OPERATOR.address),
            "second": checksum(SECOND.address),
        }
        assert [row["operator"] for row in facts["registrations"]] == [
            checksum(OPERATOR.address),
            checksum(SECOND.address),
        ]
        code, (facts,), said = await command(config, "relay", "eth", "--operator", "second", "--json")
        assert code == 0, said
        assert await real.paid(PAYOUT) == 98
        assert await real.paid(SECOND_PAYOUT) == 196
        text = await asyncio.to_thread(scraped, config)
        assert 'pocketnode_supplier_gas_wei{operator="second"}' in text
        assert 'pocketnode_supplier_missed_amount{operator="operator"} 0.0' in text
        assert "pocketnode_supplier_settles 1.0" in text
        process.kill()


def scraped(config: Path) -> str:
    """Return what /metrics says."""
    admin = yaml.safe_load(config.read_text())["admin"]["listen"]
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


async def test_a_price_in_the_file_is_asked_from_the_next_session_on(
    real: Market, config: Path, process: subprocess.Popen[bytes]
) -> None:
    heads = Heads(real.rpc)
    await heads.refresh()
    market = ChainMarket(Reader(real.rpc, real.deployment), heads)
    lane = await real.lane()
    before = change(config, log={"level": "debug"})
    change(config, services=[{**before["services"][0], "price": 1_500_000}], limits={"in_flight_per_lane": 3})
    process.send_signal(signal.SIGHUP)
    await asyncio.to_thread(logged, config, b'"price_set"')
    found = await market.registration_by(SERVICE, OPERATOR.address)
    assert found is not None
    assert found.price == 1_500_000
    assert lane.terms.max_in_flight == 256
    assert (await real.lane()).terms.max_in_flight == 3, "a lane that is opened later"
    assert json.loads(await ask(lane, RPC, CALL))["result"], "one that was open goes on"
    await lane.close()
    change(config, services=[{**before["services"][0], "price": 2_000_000_000}])
    process.send_signal(signal.SIGHUP)
    said = await asyncio.to_thread(logged, config, b'"price_not_set"')
    assert b"PriceTooHigh" in said
    with anvil("--chain-id", "5") as other:
        change(config, rpc=[other])
        process.send_signal(signal.SIGHUP)
        said = await asyncio.to_thread(logged, config, b'"reload refused"')
    assert b"chain" in said
    assert process.poll() is None


@pytest.fixture
def store(postgres: str) -> str:
    """The URL of an empty PostgreSQL database."""
    name = f"supplier_{time.time_ns()}"
    with psycopg.connect(postgres.replace("+psycopg", "") + "/postgres", autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
    return f"{postgres}/{name}"


def replica(config: Path, name: str, port: int, **fields: Any) -> Path:
    """Write the configuration of one of several processes with the same key; return its path."""
    shared = yaml.safe_load(config.read_text())
    paths = {key: str(config.with_name(shared[key])) for key in ("deployment", "keystore", "password_file")}
    own = {"listen": f"127.0.0.1:{port}", "admin": {"listen": f"127.0.0.1:{free_port()}"}}
    folder = config.with_name(name)
    folder.mkdir()
    (folder / "supplier.yaml").write_text(
        yaml.safe_dump({**shared, **paths, **own, "endpoint": shared["listen"], "limits": {"replicas": 2}, **fields})
    )
    return folder / "supplier.yaml"


async def test_replicas_share_a_registration_and_one_that_dies_costs_nothing(
    real: Market, config: Path, store: str
) -> None:
    """What was acknowledged before the process that settles is killed is claimed by the other, with its own, once."""
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        first, second = (stack.enter_context(started(replica(config, str(port), port, store=store))) for port in ports)
        stack.callback(second.kill)
        stack.callback(first.kill)
        async with splitting(real.port, ports) as taken:
            await relays(real, 6)
            assert {taken.count(port) for port in ports} == {3}
            limit = (await real.lane()).terms.credit_limit
            assert limit == 1_000_000, "each gives its half of the credit"
            await asyncio.sleep(0.5)
            first.kill()
            first.wait()
            await relays(real, 2)
            assert await real.paid(PAYOUT) == 784
            for _ in range(5):
                await real.rpc.ask("anvil_mine", "0x5")
                await asyncio.sleep(0.1)
            assert await real.paid(PAYOUT) == 784, "once"
        assert second.poll() is None


async def test_a_sqlite_store_is_of_one_process(config: Path, process: subprocess.Popen[bytes]) -> None:
    change(config, listen=f"127.0.0.1:{free_port()}", admin={"listen": f"127.0.0.1:{free_port()}"})
    argv = [sys.executable, "-m", "pocketnode", "supplier", "start", "--config", str(config)]
    ended = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "another supplier uses it" in ended.stderr
    os.kill(process.pid, 0)
