"""What is measured, in which order. Each scenario takes what runs and returns what goes into its result file.

Rounds are interleaved: in each, everyone is measured once, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.measure import Closed, Open, measure
from bench.servers import FAST, TIMED, Server
from pocketnode.bench import protocol as steps
from pocketnode.bench.summary import over_rounds
from pocketnode.errors import PocketError

STREAM_S: Final = 4.2  # how long a timed stream takes, about
SETTLE_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is measured.

    Parameters
    ----------
    connections : of closed loops.
    rate : requests a second, of the open loop that everyone gets.
    shares : of our own capacity, for open loops.
    streams : timed streams at once.
    soak : relays in one session.
    """

    rounds: int
    seconds: float
    warmup_s: float
    connections: tuple[int, ...]
    rate: float
    shares: tuple[float, ...]
    streams: tuple[int, ...]
    soak: int
    smoke: bool = False

    @property
    def width(self) -> str:
        """The number of connections at which capacities are compared."""
        return "64" if 64 in self.connections else str(self.connections[-1])


FULL: Final = Counts(3, 4.0, 1.0, (1, 16, 64, 256), 500.0, (0.25, 0.5, 0.8), (50, 150, 300), 1_000_000)
SMOKE: Final = Counts(1, 0.6, 0.3, (8,), 50.0, (0.5,), (4,), 500, smoke=True)


async def capacity(servers: Sequence[Server], kind: str, counts: Counts) -> dict[str, Any]:
    """Closed loops of each width: by server and number of connections."""
    found: dict[str, dict[str, list[Any]]] = {server.name: {} for server in servers}
    for _ in range(counts.rounds):
        for server in servers:
            for connections in counts.connections:
                how = Closed(connections, counts.seconds, counts.warmup_s)
                found[server.name].setdefault(str(connections), []).append(await measure(server, kind, how))
                await asyncio.sleep(SETTLE_S)
    return _merged(found)


async def latency(servers: Sequence[Server], kind: str, counts: Counts, capacities: dict[str, float]) -> dict[str, Any]:
    """Open loops: everyone at one rate, and at shares of its own capacity; `added` is over `direct` in the same round.

    Parameters
    ----------
    capacities : answers a second by server, for those that are measured at shares of it.
    """
    direct, *others = servers
    found: dict[str, dict[str, list[Any]]] = {server.name: {} for server in servers}
    for _ in range(counts.rounds):
        for rate_name, rates in _rates(others, counts, capacities).items():
            for server in others:
                if server.name not in rates:
                    continue
                how = Open(rates[server.name], counts.seconds, counts.warmup_s)
                plain = await measure(direct, kind, how)
                result = await measure(server, kind, how)
                result["added_ms"] = added_ms(result["latency_ms"], plain["latency_ms"])
                found[server.name].setdefault(rate_name, []).append({"asked_rate": how.rate, **result})
                found[direct.name].setdefault(f"{rate_name}, beside {server.name}", []).append(plain)
    return _merged(found)


def _rates(servers: Sequence[Server], counts: Counts, capacities: dict[str, float]) -> dict[str, dict[str, float]]:
    rates = {f"{counts.rate:.0f}/s": {server.name: counts.rate for server in servers}}
    for share in counts.shares:
        rates[f"{share:.0%} of capacity"] = {name: capacity * share for name, capacity in capacities.items()}
    return rates


async def streams_at_once(servers: Sequence[Server], counts: Counts) -> dict[str, Any]:
    """Streams without pauses, 16 at a time: what each event costs."""
    found: dict[str, dict[str, list[Any]]] = {server.name: {} for server in servers}
    for _ in range(counts.rounds):
        for server in servers:
            how = Closed(min(16, max(counts.connections)), counts.seconds, counts.warmup_s)
            found[server.name].setdefault("16", []).append(await measure(server, FAST, how))
    return _merged(found)


async def timed_streams(servers: Sequence[Server], counts: Counts) -> dict[str, Any]:
    """Streams at 50 events a second: first event over `direct`, silences, and cost, by how many run at once."""
    direct, *others = servers
    found: dict[str, dict[str, list[Any]]] = {server.name: {} for server in servers}
    for _ in range(counts.rounds):
        for streams in counts.streams:
            seconds, warmup_s = (2.5, 0.0) if counts.smoke else (2 * STREAM_S, STREAM_S)
            how = Open(streams / STREAM_S, seconds, warmup_s)
            plain = await measure(direct, TIMED, how)
            found[direct.name].setdefault(str(streams), []).append(plain)
            for server in others:
                result = await measure(server, TIMED, how)
                if result["answers"]:
                    result["added_ms"] = added_ms(result["first_event_ms"], plain["first_event_ms"])
                found[server.name].setdefault(str(streams), []).append(result)
    return _merged(found)


def added_ms(measured: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    """Return by how much each quantile is above that of the backend alone.

    >>> added_ms({"p50": 1.5, "max": 9.0}, {"p50": 0.25, "max": 1.0})
    {'p50': 1.25}
    """
    return {name: round(measured[name] - plain[name], 3) for name in measured if name != "max" and name in plain}


def protocol_steps(rounds: int) -> dict[str, Any]:
    """Time the protocol's own steps."""
    return {"steps": [steps.measure(step, rounds) for step in steps.steps()]}


def median_of(result: dict[str, Any], server: str, variant: str, *path: str) -> float:
    """Return one number of a merged result."""
    value: Any = result[server][variant]
    for name in path:
        value = value[name]
    return float(value["median"])


async def warmed(server: Server, kinds: Sequence[str], tries: int = 20) -> list[str]:
    """Ask each kind until it is answered well, since some peers need seconds for their first; return what never was."""
    failed = []
    for kind in kinds:
        for _ in range(tries):
            try:
                result = await measure(server, kind, Closed(1, 0.3 if kind != TIMED else STREAM_S * 1.3, 0.0))
            except PocketError:
                result = {"answers": 0}
            if result["answers"]:
                break
            if result.get("statuses", {}).get("500"):
                failed.append(kind)
                break
            await asyncio.sleep(0.5)
        else:
            failed.append(kind)
    return failed


def _merged(found: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    return {
        server: {variant: over_rounds(rounds) for variant, rounds in variants.items()}
        for server, variants in found.items()
    }
