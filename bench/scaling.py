"""What a relay costs as suppliers and sessions grow, and how long a session takes to start."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from bench.market import mine
from bench.measure import Closed, measure, measure_requests, sound_whole
from bench.ours import ETH, Ours, api_key
from bench.scenarios import Counts
from bench.servers import RPC, Server
from pocketnode.bench.http import Url
from pocketnode.bench.load import Load, open_loop
from pocketnode.bench.requests import MakeRequest, json_rpc_body, numbered
from pocketnode.bench.summary import of_run, over_rounds
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads, block_at
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.protocol.session import service_id
from pocketnode.transport.client import open_lane
from pocketnode.transport.ports import Opening

if TYPE_CHECKING:
    from bench.run import Runner

CONNECTIONS: Final = 64
SUPPLIERS: Final = (3, 24)
SESSIONS: Final = (10, 1000)  # a thousand take minutes to be opened on chain
SMOKE_SUPPLIERS: Final = (1, 2)  # names only: all of it runs on one set of daemons then
SMOKE_SESSIONS: Final = (1, 3)
BOUNDARY_RATE: Final = 100.0
SESSION_STARTS: Final = 5
SESSION_BLOCKS: Final = 300


async def scaling(runner: Runner) -> dict[str, Any]:
    """Measure each size in turn, each with daemons of its own."""
    smoke = runner.counts.smoke
    few, many = SMOKE_SUPPLIERS if smoke else SUPPLIERS
    found: dict[str, Any] = {"suppliers": {}, "sessions": {}}
    for suppliers in (few, many):
        ours = await runner.fresh(suppliers=suppliers, only_rpc=True, session_blocks=SESSION_BLOCKS)
        found["suppliers"][str(suppliers)] = await _cost(ours.server, runner.counts)
        if suppliers == many:
            found["session_start"] = {"suppliers": many, **await session_start(ours)}
    for sessions in SMOKE_SESSIONS if smoke else SESSIONS:
        ours = await runner.fresh(applications=sessions, only_rpc=True, session_blocks=SESSION_BLOCKS)
        found["sessions"][str(sessions)] = await _cost_over_sessions(ours, runner.counts)
        if "boundary" not in found:
            found["boundary"] = await across_boundary(ours, runner.counts)
    return found


async def _cost(server: Server, counts: Counts) -> dict[str, Any]:
    how = Closed(CONNECTIONS, counts.seconds, counts.warmup_s)
    return over_rounds([await measure(server, RPC, how) for _ in range(counts.rounds)])


async def _cost_over_sessions(ours: Ours, counts: Counts) -> dict[str, Any]:
    """Spread the load over all applications, one after the other."""
    place = ours.server.places[RPC]
    url = Url.parse(place.url)
    keys = [api_key(ours.folder, ours.cast.keys[name].address) for name in ours.cast.applications]
    await asyncio.sleep(2.5)  # the gateway looks for new keys every two seconds
    makes = [numbered(url, json_rpc_body(), {"authorization": f"Bearer {key}"}) for key in keys]
    how = Closed(CONNECTIONS, counts.seconds, counts.warmup_s)
    rounds = [await measure_requests(ours.server, url, spread(makes), sound_whole, how) for _ in range(counts.rounds)]
    return over_rounds(rounds)


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
    domain = ours.deployment.domain
    return await asyncio.gather(*(open_lane(o, s.endpoint, s.fingerprint, key, domain) for o, s in openings))


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
