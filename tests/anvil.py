"""A real chain for tests: anvil on a port of the OS's choice."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pocketnode.chain.client import Rpc
from pocketnode.crypto.keys import Key
from pocketnode.errors import Unavailable

ROOT = Path(__file__).parents[1]
BINARY = next((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"), None)

# The first of anvil's well-known accounts; each has 10,000 ether.
KEYS = [
    Key(bytes.fromhex(secret))
    for secret in (
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
        "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
        "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
        "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
        "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    )
]


@contextmanager
def anvil(*options: str, hardfork: str = "prague") -> Iterator[str]:
    """Run anvil and give its URL. It mines a block for each transaction unless an option says otherwise."""
    assert BINARY is not None, "run `npm ci` first"
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [str(BINARY), "--silent", "--port", str(port), "--hardfork", hardfork, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def ready(rpc: Rpc) -> None:
    """Wait until anvil answers."""
    for _ in range(100):
        try:
            await rpc.ask("eth_chainId")
            return
        except Unavailable:
            await asyncio.sleep(0.1)
    raise AssertionError("anvil does not answer")


async def mine(rpc: Rpc, blocks: int = 1) -> None:
    """Mine blocks at once, many of them in pieces that do not take an RPC's patience."""
    for at in range(0, blocks, 1_000):
        await rpc.ask("anvil_mine", hex(min(1_000, blocks - at)))


async def mine_to(rpc: Rpc, number: int) -> None:
    """Mine until `number` is the newest block."""
    head = int(await rpc.ask("eth_blockNumber"), 16)
    assert head <= number, f"block {head} is past {number}"
    if head < number:
        await mine(rpc, number - head)


async def reorg(rpc: Rpc, depth: int, transactions: list[Any] | None = None) -> None:
    """Replace the newest `depth` blocks by as many others, empty but for `transactions` (pairs of raw and offset)."""
    await rpc.ask("anvil_reorg", depth, transactions or [])


async def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return once something holds; fail if it does not in time."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - what is waited for is in another process or database
            await asyncio.sleep(0.02)
