"""One measurement: a load on one server, and what the processes behind it cost meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bench.nginx import INTERVAL_S, TOKENS
from bench.servers import FAST, RPC, TIMED, Server
from pocketnode.bench.http import Exchange, Url
from pocketnode.bench.load import Load, Run, Sound, closed_loop, open_loop
from pocketnode.bench.processes import MIB, Account, Cost
from pocketnode.bench.requests import MakeRequest, chat_body, json_rpc_body, numbered
from pocketnode.bench.summary import longest_gap_s, of_run

STALL_S: Final = 2 * INTERVAL_S
ANSWER_BYTES_LEAST: Final = 1000


@dataclass(frozen=True, slots=True)
class Closed:
    """So many connections, each as fast as it is answered."""

    connections: int
    seconds: float
    warmup_s: float


@dataclass(frozen=True, slots=True)
class Open:
    """So many requests a second, whatever happens."""

    rate: float
    seconds: float
    warmup_s: float


async def measure(server: Server, kind: str, how: Closed | Open) -> dict[str, Any]:
    """Return rate, latency, and CPU time and memory by role.

    Parameters
    ----------
    kind : one of `servers.KINDS`, which the server must have a place for.
    """
    place = server.places[kind]
    streamed = kind in (TIMED, FAST)
    body = json_rpc_body() if kind == RPC else chat_body(place.model, TOKENS, streamed)
    url = Url.parse(place.url)
    sound = sound_stream if streamed else sound_whole
    return await measure_requests(server, url, numbered(url, body, place.headers), sound, how, kind)


async def measure_requests(
    server: Server, url: Url, make: MakeRequest, sound: Sound, how: Closed | Open, kind: str = RPC
) -> dict[str, Any]:
    """Measure with any requests; `kind` says what their answers are."""
    streamed = kind in (TIMED, FAST)
    accounts = {role: Account([pid]) for role, pid in server.pids_for(kind).items()}
    load = Load(
        url,
        make,
        sound=sound,
        events=streamed,
        warmup_s=how.warmup_s,
        on_measured=partial(_each, Account.start, accounts),
        on_end=partial(_each, Account.stop, accounts),
    )
    gc.collect()
    gc.disable()  # what the client keeps of each exchange is no garbage, and its walks would be measured as latency
    try:
        if isinstance(how, Closed):
            run = await closed_loop(load, how.connections, how.seconds)
        else:
            run = await open_loop(load, how.rate, how.seconds)
    finally:
        gc.enable()
    return {**of_run(run), "processes": costs(run, accounts, streamed), **(of_stalls(run) if streamed else {})}


def _each(what: Callable[[Account], None], accounts: dict[str, Account]) -> None:
    for account in accounts.values():
        what(account)


def sound_whole(exchange: Exchange) -> bool:
    """Return whether this is a whole answer with what the backend said in it."""
    return exchange.status == 200 and len(exchange.body) > ANSWER_BYTES_LEAST


def sound_stream(exchange: Exchange) -> bool:
    """Return whether all tokens of a stream came."""
    return exchange.status == 200 and len(exchange.event_s) >= TOKENS


def costs(run: Run, accounts: dict[str, Account], streamed: bool) -> dict[str, Any]:
    """Return, by role, CPU microseconds for each answer (and each event of streams), cores in use, and memory.

    CPU counts within the measured time; a stream counts where it was due, so events are taken from those that ended.
    """
    found = {}
    for role, account in accounts.items():
        cost = account.cost
        facts = costs_of(cost, len(run.sound))
        if streamed:
            facts["cpu_us_each_event"] = round(cost.cpu_us_each(events_within(run)), 1)
        found[role] = facts
    return found


def costs_of(cost: Cost, answers: int) -> dict[str, float]:
    """Return CPU microseconds for each answer, cores in use, and memory."""
    return {
        "cpu_us_each": round(cost.cpu_us_each(answers), 1),
        "cores": round(cost.cpu_s / cost.seconds, 3),
        "rss_mib": round(cost.rss / MIB, 1),
    }


def events_within(run: Run) -> int:
    """Return how many events came in, of all streams that are known to the run."""
    return sum(len(exchange.event_s) for exchange in run.sound)


def of_stalls(run: Run) -> dict[str, Any]:
    """Return how many streams had no silence above twice the backend's interval."""
    smooth = sum(longest_gap_s(exchange) <= STALL_S for exchange in run.sound)
    return {"stall_free": smooth, "stall_free_share": round(smooth / max(1, len(run.sound)), 4)}
