"""Starts the lab's processes, and waits until they can be asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.lab import TOKEN, Lab, secret_of
from bench.servers import HOST, RPC, Bench, Place, Server
from pocketnode.localnet import ports
from pocketnode.localnet.children import Ready

SUPPLIERS: Final = 3
WORKERS_SUPPLIERS: Final = 24  # of the gateway whose workers are counted: a whole session


@dataclass(frozen=True, slots=True)
class Running:
    """A lab while it runs; `secrets` are the API keys of its applications."""

    server: Server
    secrets: list[str]


async def start_lab(bench: Bench, name: str, what: str, size: int) -> Running:
    """Start a lab in which `what` (workers, suppliers or sessions) has `size`."""
    folder = bench.folder / name
    folder.mkdir()
    sizes: dict[str, Any] = {what: size}
    suppliers = sizes.pop("suppliers", SUPPLIERS)
    if what == "workers":
        suppliers, sizes["canned"] = WORKERS_SUPPLIERS, True
    port, *supplier_ports = ports.free(1 + suppliers)
    lab = Lab(port, supplier_ports, **sizes)
    lab.write(folder)
    pids = {}
    if not lab.canned:
        argv = [sys.executable, "-m", "bench.lab", "supplier", str(folder)]
        pids["supplier"] = await bench.start(f"{name}-supplier", argv, _connects(supplier_ports[-1]))
    argv = [sys.executable, "-m", "bench.many", str(folder), str(lab.workers)]
    pids["gateway"] = await bench.start(f"{name}-gateway", argv, _ready(lab, folder))
    place = Place(f"http://{HOST}:{port}/rpc/eth", headers={"authorization": f"Bearer {secret_of(0)}"})
    return Running(Server(name, {RPC: place}, pids), [secret_of(number) for number in range(lab.sessions)])


def _connects(port: int) -> Ready:
    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://{HOST}:{port}/"):
                return True
        except aiohttp.ClientConnectorError:
            return False
        except aiohttp.ClientError:
            return True  # it speaks gRPC alone

    return ready


def _ready(lab: Lab, folder: Path) -> Ready:
    """Return a question whether every worker listens, its sessions open."""

    async def ready() -> bool:
        sockets = (folder / f"{number}.sock" for number in range(1, lab.workers + 1))
        return all([await _worker_ready(socket, lab.sessions) for socket in sockets])

    return ready


async def _worker_ready(socket: Path, count: int) -> bool:
    headers = {"authorization": f"Bearer {TOKEN}"}
    try:
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
            async with http.get("http://worker/readyz") as answer:
                if answer.status != 200:
                    return False
            async with http.get("http://worker/status") as answer:
                sessions = (await answer.json())["sessions"]
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
    suppliers = [supplier for session in sessions for supplier in session["suppliers"]]
    return len(sessions) == count and all(supplier["lane"] == "open" for supplier in suppliers)
