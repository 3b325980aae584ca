"""What a relay costs as workers, suppliers and sessions grow, and how long a session takes to start."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from bench.labs import Running, start_lab
from bench.lean import counted
from bench.market import mine
from bench.measure import Closed, costs_of, measure_requests, sound_whole
from bench.ours import ETH, Ours
from bench.scenarios import Counts
from bench.servers import RPC
from pocketnode.bench.http import Url
from pocketnode.bench.load import Load, open_loop
from pocketnode.bench.processes import Account
from pocketnode.bench.requests import MakeRequest, json_rpc_body, numbered
from pocketnode.bench.summary import of_run, over_rounds
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads, block_at
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.protocol.session import service_id
from pocketnode.transport.links import Links
from pocketnode.transport.ports import Opening

if TYPE_CHECKING:
    from bench.run import Runner

CONNECTIONS: Final = 64
FIRST_A_SECOND: Final = 150  # applications whose first request, which opens files and reads a key, is in the warm-up
PIPELINED: Final = 4  # requests that wait on each connection of the lean client
WORKERS: Final = (1, 2)
SUPPLIERS: Final = (3, 24)
SESSIONS: Final = (10, 1000)
SMOKE_SUPPLIERS: Final = (1, 2)
SMOKE_SESSIONS: Final = (1, 3)
BOUNDARY_RATE: Final = 100.0
SESSION_STARTS: Final = 5
SESSION_BLOCKS: Final = 300


async def scaling(runner: Runner) -> dict[str, Any]:
    """Measure by workers, suppliers and sessions in a lab, and a session's start and end with everything real."""
    smoke = runner.counts.smoke
    suppliers, sessions = (SMOKE_SUPPLIERS, SMOKE_SESSIONS) if smoke else (SUPPLIERS, SESSIONS)
    found: dict[str, Any] = {}
    for what, sizes in (("workers", WORKERS), ("suppliers", suppliers), ("sessions", sessions)):
        found[what] = await _by_size(runner, what, sizes)
        if not smoke:
            await runner.reset()
    ours = await runner.fresh(suppliers=suppliers[-1], only_rpc=True, session_blocks=SESSION_BLOCKS)
    found["session_start"] = {"suppliers": suppliers[-1], **await session_start(ours)}
    found["boundary"] = await across_boundary(ours, runner.counts)
    return found


async def _by_size(runner: Runner, what: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Measure labs of each size, all there at once and asked in turn, so that what else the machine does hits all."""
    counts = runner.counts
    labs = {size: await start_lab(runner.bench, f"{what}-{size}", what, size) for size in sizes}
    rounds: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    one = _workers_round if what == "workers" else _cost_round
    for _ in range(counts.rounds):
        for size, lab in labs.items():
            rounds[size].append(await one(lab, counts))
    return {str(size): over_rounds(rounds[size]) for size in sizes}


async def _cost_round(lab: Running, counts: Counts) -> dict[str, Any]:
    """Spread the load over all applications, one after the other."""
    url = Url.parse(lab.server.places[RPC].url)
    warmup_s = max(counts.warmup_s, len(lab.secrets) / FIRST_A_SECOND)
    how = Closed(CONNECTIONS, counts.seconds, warmup_s)
    return await measure_requests(lab.server, url, spread(makes_of(lab, url)), sound_whole, how)


async def _workers_round(lab: Running, counts: Counts) -> dict[str, Any]:
    """Count what a gateway takes whose suppliers are faked, asked by a client that costs next to nothing."""
    url = Url.parse(lab.server.places[RPC].url)
    account, before_s = Account([lab.server.pids["gateway"]]), time.process_time()
    make = spread(makes_of(lab, url))
    result = await counted(url, make, CONNECTIONS, PIPELINED, counts.seconds, counts.warmup_s)
    account.stop()
    whole = round(result["rate"] * account.cost.seconds)  # warm-up included: the account began with it
    client_s = time.process_time() - before_s
    return {
        **result,
        "processes": {"gateway": costs_of(account.cost, whole)},
        "client_cpu_us_each": round(client_s * 1e6 / max(1, whole), 1),
    }


def makes_of(lab: Running, url: Url) -> list[MakeRequest]:
    """Return for each application what makes its requests."""
    body = json_rpc_body()
    return [numbered(url, body, {"authorization": f"Bearer {secret}"}) for secret in lab.secrets]


def spread(makes: list[MakeRequest]) -> MakeRequest:
    """Return a function that takes turns among several.

    >>> spread([lambda n: b"a%d" % n, lambda n: b"b%d" % n])(3)
    b'b3'
    """
    return lambda number: makes[number % len(makes)](number)


async def session_start(ours: Ours) -> dict[str, Any]:
    """Return how long it takes to read a session from the chain and to open a lane to each of its suppliers.

    The same calls as the gateway makes, from here, with the gateway's key.
    """
    reads_ms: list[float] = []
    opens_ms, cpu_ms = [], []
    async with Rpc([ours.chain_url]) as rpc:
        for _ in range(SESSION_STARTS):
            heads = Heads(rpc)
            await heads.refresh()
            market = Market(Reader(rpc, ours.deployment), heads)
            started_s, cpu_s = time.perf_counter(), time.process_time()
            opened = await _open_session(ours, market, reads_ms)
            opens_ms.append((time.perf_counter() - started_s) * 1000 - reads_ms[-1])
            cpu_ms.append((time.process_time() - cpu_s) * 1000)
            await asyncio.gather(*(lane.close() for lane in opened))
    rounds = [
        {"read_ms": read, "open_ms": opened, "whole_ms": read + opened, "gateway_cpu_ms": cpu}
        for read, opened, cpu in zip(reads_ms, opens_ms, cpu_ms, strict=True)
    ]
    return over_rounds(rounds[1:])  # the first one fills caches of the chain's node


async def _open_session(ours: Ours, market: Market, reads_ms: list[float]) -> list[Any]:
    key, application = ours.cast.keys["gateway"], ours.cast.keys[ours.cast.applications[0]].address
    service, number = service_id(ETH), market.number_now()
    started_s = time.perf_counter()
    session, _ = await asyncio.gather(
        market.session(application, service, number), market.grant(application, key.address, service, number)
    )
    reads_ms.append((time.perf_counter() - started_s) * 1000)
    openings = [
        (Opening(application, service, number, s.operator, key.address, secrets.token_bytes(32)), s)
        for s in session.suppliers
    ]
    links = Links(key, ours.deployment.domain)
    return await asyncio.gather(*(links.open(o, s.endpoint, s.fingerprint) for o, s in openings))


async def across_boundary(ours: Ours, counts: Counts) -> dict[str, Any]:
    """Ask at a steady rate while a session ends and the next begins: what users notice of it."""
    place = ours.server.places[RPC]
    url = Url.parse(place.url)
    make = numbered(url, json_rpc_body(), place.headers)
    load = Load(url, make, sound=sound_whole, warmup_s=counts.warmup_s)
    running = asyncio.ensure_future(open_loop(load, BOUNDARY_RATE, max(3.0, counts.seconds * 2)))
    await asyncio.sleep(counts.warmup_s + 0.5)
    before = await _number(ours)
    await _to_next_session(ours)
    result = of_run(await running)
    return {**result, "sessions": (await _number(ours)) - before + 1}


async def _number(ours: Ours) -> int:
    windows = ours.deployment.windows
    async with Rpc([ours.chain_url]) as rpc:
        return ((await block_at(rpc, "latest")).number - windows.anchor) // windows.length


async def _to_next_session(ours: Ours) -> None:
    windows = ours.deployment.windows
    async with Rpc([ours.chain_url]) as rpc:
        head = (await block_at(rpc, "latest")).number
        await mine(rpc, windows.length - (head - windows.anchor) % windows.length)
