"""A million relays in one session: memory, stores, and the statement at its end; and a burst of large bodies."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from bench.market import mine
from bench.measure import Closed, measure
from bench.ours import ETH, Ours
from bench.servers import RPC
from pocketnode.bench.http import Url
from pocketnode.bench.load import Load, closed_loop
from pocketnode.bench.processes import MIB, Account
from pocketnode.bench.requests import NUMBER, numbered
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import block_at

CONNECTIONS: Final = 64
STEP_S: Final = 20.0
FLUSH_S: Final = 4.0
BURST_BYTES: Final = 150_000
BURST_S: Final = 5.0
SMOKE_BURST_S: Final = 0.5
STATED_WITHIN_S: Final = 120.0


async def soak(ours: Ours, relays: int) -> dict[str, Any]:
    """Send `relays` relays, then the burst; return memory before, between and after, and what the disks hold."""
    before = rss(ours)
    store_before = store_bytes(ours)
    done, started_s = 0, time.monotonic()
    step_s = STEP_S if relays > 100_000 else 1.0
    while done < relays:
        done += (await measure(ours.server, RPC, Closed(CONNECTIONS, step_s, 0.0)))["answers"]
    took_s = time.monotonic() - started_s
    await asyncio.sleep(FLUSH_S)
    after = rss(ours)
    return {
        "relays": done,
        "seconds": round(took_s, 1),
        "rss_mib": {"before": before, "after": after},
        "supplier_store_bytes": {"before": store_before, "after": store_bytes(ours)},
        "gateway_records_bytes": folder_bytes(ours.folder / "records"),
        "gateway_store_bytes": files_bytes(ours.folder, "gateway.db*"),
        "after_burst": await burst(ours, BURST_S if relays > 100_000 else SMOKE_BURST_S),
    }


async def burst(ours: Ours, seconds: float) -> dict[str, Any]:
    """Send bodies of 150 kB for a while; return memory after it."""
    place = ours.server.places[RPC]
    body = '{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"data":"0x' + "ab" * (BURST_BYTES // 2)
    body += NUMBER + '"},"latest"]}'
    url = Url.parse(place.url)
    run = await closed_loop(Load(url, numbered(url, body, place.headers), warmup_s=0.0), 16, seconds)
    await asyncio.sleep(1.0)
    return {"requests": len(run.sound), "failed": run.failed, "rss_mib": rss(ours)}


async def statement(ours: Ours) -> dict[str, Any]:
    """End the session and return how long the gateway took to post its statement, and what that cost in gas."""
    settlement = "0x" + ours.deployment.contracts.settlement.hex()
    windows = ours.deployment.windows
    async with Rpc([ours.chain_url]) as rpc:
        head = (await block_at(rpc, "latest")).number
        session = (head - windows.anchor) // windows.length
        end = windows.anchor + (session + 1) * windows.length
        gateway = Account([ours.gateway])
        await mine(rpc, end - head + windows.grace + 1)
        started_s = time.monotonic()
        found = await _first_log(rpc, settlement, end)
        took_s = time.monotonic() - started_s
        gateway.stop()
        receipt = await rpc.ask("eth_getTransactionReceipt", found["transactionHash"]) if found else None
    return {
        "seconds": round(took_s, 2) if found else None,
        "gateway_cpu_s": round(gateway.cost.cpu_s, 2),
        "gas": int(receipt["gasUsed"], 16) if receipt else None,
        "service": ETH,
    }


async def _first_log(rpc: Rpc, settlement: str, since: int) -> dict[str, Any] | None:
    deadline_s = time.monotonic() + STATED_WITHIN_S
    while time.monotonic() < deadline_s:
        logs = await rpc.ask("eth_getLogs", {"address": settlement, "fromBlock": hex(since), "toBlock": "latest"})
        if logs:
            first: dict[str, Any] = logs[0]
            return first
        await asyncio.sleep(0.2)
    return None


def rss(ours: Ours) -> dict[str, float]:
    """Return resident memory in MiB by role."""
    return {role: round(Account([ours.server.pids[role]]).rss() / MIB, 1) for role in ("gateway", "supplier")}


def store_bytes(ours: Ours) -> int:
    """Return how large the first supplier's store is, with what is not merged into it yet."""
    return files_bytes(ours.folder, f"{ours.cast.suppliers[0]}.db*")


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def files_bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))
