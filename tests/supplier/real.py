"""A real chain with a market on it, and `pocketnode supplier` as an operator runs it: in its own processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from pocketnode.chain import operations
from pocketnode.chain.actor import acting, sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Plan, deploy
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.reader import Reader
from pocketnode.cli.main import main
from pocketnode.crypto.keys import Key
from pocketnode.protocol.session import service_id
from pocketnode.protocol.types import ZERO32
from pocketnode.services.spec import builtin_bytes
from pocketnode.transport.client import Lane
from pocketnode.transport.links import open_lane
from pocketnode.transport.ports import Opening
from tests.anvil import KEYS, mine, ready

DEPLOYER, APPLICATION, GATEWAY, OPERATOR = KEYS[0], KEYS[1], KEYS[2], KEYS[3]
NEWCOMER, SECOND = KEYS[4], KEYS[5]
SERVICE = service_id("eth")
CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'
READY_S = 120.0
PAID_S = 180.0
PAYOUT, SECOND_PAYOUT = b"\x77" * 20, b"\x88" * 20


@dataclass
class Market:
    url: str
    rpc: Rpc
    deployment: Deployment
    port: int

    async def lane(self, supplier: Key = OPERATOR, port: int = 0) -> Lane:
        """Open a lane in the session that runs now."""
        opening, endpoint = await self.opening(supplier), f"127.0.0.1:{port or self.port}"
        return await open_lane(opening, endpoint, ZERO32, GATEWAY, self.deployment.domain)

    async def paid(self, payout: bytes, least: int = 1) -> int:
        """Mine until a payout address has `least` base units or more; return what it has."""
        reader = Reader(self.rpc, self.deployment)
        async with asyncio.timeout(PAID_S):
            while (paid := await operations.token_balance(reader, payout)) < least:
                await mine(self.rpc)
                await asyncio.sleep(0.1)
        return paid

    async def opening(self, supplier: Key = OPERATOR) -> Opening:
        """Return what a lane in the session that runs now shares."""
        head = int(await self.rpc.ask("eth_blockNumber"), 16)
        number = (head - self.deployment.windows.anchor) // self.deployment.windows.length
        return Opening(APPLICATION.address, SERVICE, number, supplier.address, GATEWAY.address, os.urandom(32))


async def open_market(url: str, port: int) -> Deployment:
    async with Rpc([url]) as rpc:
        await ready(rpc)
        async with sending(rpc, DEPLOYER) as sender:
            deployment = await deploy(rpc, sender, Plan(spans=LOCAL_SPANS))
        async with acting(rpc, deployment, DEPLOYER) as actor:
            for key in (APPLICATION, OPERATOR, NEWCOMER, SECOND):
                await operations.mint(actor, key.address, 10**12)
            await operations.add_service(actor, builtin_bytes("eth"), "", 10**9)
        async with acting(rpc, deployment, APPLICATION) as actor:
            await operations.deposit(actor, actor.address, 10**11)
            await operations.grant(actor, GATEWAY.address, SERVICE, 10**9)
        for key, payout in ((OPERATOR, PAYOUT), (SECOND, SECOND_PAYOUT)):
            async with acting(rpc, deployment, key) as actor:
                profile = operations.Profile(key.address, f"127.0.0.1:{port}", ((payout, 10_000),))
                await operations.register(actor, SERVICE, profile, 1_000_000, 10**6)
        await rpc.ask("anvil_mine", "0x15")
    return deployment


def started(config: Path) -> subprocess.Popen[bytes]:
    """Start the daemon and return once it listens."""
    log = config.with_name("log")
    with log.open("ab") as sink:
        argv = [sys.executable, "-m", "pocketnode", "supplier", "start", "--config", str(config)]
        process = subprocess.Popen(argv, stderr=sink)
    logged(config, b'"listening"', log.stat().st_size, process)
    return process


def logged(config: Path, words: bytes, since: int = 0, process: subprocess.Popen[bytes] | None = None) -> bytes:
    """Wait until the daemon's log has a line with these words; return that line."""
    log, deadline_s = config.with_name("log"), time.monotonic() + READY_S
    while True:
        found = [line for line in log.read_bytes()[since:].splitlines() if words in line]
        if found:
            return found[-1]
        assert process is None or process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.05)


def change(config: Path, **fields: Any) -> dict[str, Any]:
    """Change fields of the file; return what it said before."""
    before: dict[str, Any] = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**before, **fields}))
    return before


def line_at(where: str) -> str:
    """Return the line that `FILE:LINE` names."""
    file, _, number = where.rpartition(":")
    return Path(file).read_text().splitlines()[int(number) - 1]


async def command(config: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run `pocketnode supplier` on a configuration; return exit code, JSON lines and stderr."""
    return await ran(*words, "--config", str(config))


async def reached(real: Market, config: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Run `pocketnode supplier reach` for the first registration."""
    chain = ("--rpc", real.url, "--deployment", str(config.with_name("deployment.json")))
    return await ran("reach", "1", "--json", *chain)


async def ran(*words: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run `pocketnode supplier`: in a thread, which is faster, but for what opens lanes.

    Of two event loops in one process gRPC may wake the wrong one, and the other waits for ever.
    """
    if words[0] in {"relay", "reach"}:
        argv = [sys.executable, "-m", "pocketnode", "supplier", *words]
        process = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=120)
        return process.returncode, [json.loads(line) for line in process.stdout.splitlines()], process.stderr
    ended = await asyncio.to_thread(CliRunner().invoke, main, ["supplier", *words])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr
