"""Brings up what each scenario needs, runs it, writes its result."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from bench import llm, nginx, ours, results, scaling, scenarios, settlement, soak
from bench.ours import Ours
from bench.peers import PEERS
from bench.scenarios import Counts
from bench.servers import CHAT, FAST, LLM_KINDS, RPC, TIMED, Bench, Server
from pocketnode.errors import PocketError

Scenario = Callable[["Runner"], Awaitable[dict[str, Any]]]
RATE_CONNECTIONS: Final = 64
SMOKE_OURS: Final = {"suppliers": 2, "applications": 3, "session_blocks": 60}


class Runner:
    """One run of the benchmark.

    Each scenario gets processes of its own. With `counts.smoke` all share one set, and the peers, which are large, are
    left out: starting is what takes the time there.
    """

    def __init__(self, counts: Counts, folder: Path, peers: Sequence[str] = ()) -> None:
        self.counts = counts
        self.unable: dict[str, list[str]] = {}
        self.bench = Bench(Path())
        self._folder = folder
        self._peers = peers
        self._stack = AsyncExitStack()
        self._direct: Server | None = None
        self._ours: Ours | None = None
        self._llama_url = ""

    async def run(self, names: list[str]) -> None:
        """Run scenarios one after the other; each result is written at once."""
        wanted = [name for name in NAMES if name in names]
        if self.counts.smoke:
            async with AsyncExitStack() as stack:
                self._begin(stack)
                for name in wanted:
                    await self._one(name)
            return
        for name in wanted:
            async with AsyncExitStack() as stack:
                self._begin(stack)
                await self._one(name)

    async def _one(self, name: str) -> None:
        started_s = time.monotonic()
        say(f"{name} ...")
        results.write(self._folder, name, await SCENARIOS[name](self))
        say(f"{name}: {time.monotonic() - started_s:.0f} s")

    def _begin(self, stack: AsyncExitStack) -> None:
        """Start with nothing running; what is started ends with `stack`."""
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="pocketnode-bench-"))
        self._stack = stack
        self.bench = Bench(Path(scratch))
        self.unable, self._direct, self._ours, self._llama_url = {}, None, None, ""
        stack.push_async_callback(self.bench.children.stop)

    # ---- what scenarios ask for

    async def direct(self) -> Server:
        """Return the backend itself, which everyone is before."""
        if self._direct is None:
            self._direct = await nginx.backend(self.bench)
        return self._direct

    async def llama(self) -> str:
        """Return the URL of llama.cpp."""
        if not self._llama_url:
            self._llama_url = await llm.start(self.bench)
        return self._llama_url

    async def ours(self, **options: Any) -> Ours:
        """Return our daemons, ready to answer."""
        if self._ours is None:
            direct = await self.direct()
            if self.counts.smoke:
                options = {**SMOKE_OURS, "llm_url": await self.llama()}
            self._ours = await ours.start(self.bench, direct, **options)
            kinds = [kind for kind in (RPC, CHAT) if kind in self._ours.server.places]
            await scenarios.warmed(self._ours.server, kinds)
        return self._ours

    async def fresh(self, **options: Any) -> Ours:
        """Return our daemons started anew, in place of all that ran."""
        if not self.counts.smoke:
            await self.reset()
        return await self.ours(**options)

    async def reset(self) -> None:
        """End all that runs."""
        await self.bench.children.stop()
        self._begin(self._stack)

    async def proxies(self, *names: str) -> list[Server]:
        """Start nginx as proxy, and the peers of these names; what cannot answer a kind is noted."""
        found = [await nginx.proxy(self.bench, await self.direct())]
        for name in (name for name in names if name in self._peers):
            try:
                server = await PEERS[name](self.bench, await self.direct())
            except PocketError as error:
                say(f"{name} is left out: {error}")
                self.unable[name] = ["could not be started"]
                continue
            failed = await scenarios.warmed(server, [kind for kind in LLM_KINDS if kind in server.places])
            if failed:
                self.unable[name] = failed
            found.append(server)
        return found

    def able(self, servers: list[Server], kind: str) -> list[Server]:
        """Return those that answer a kind."""
        return [s for s in servers if kind in s.places and kind not in self.unable.get(s.name, [])]


async def relay(runner: Runner) -> dict[str, Any]:
    """JSON-RPC: capacity, cost, and latency of direct, nginx, envoy and ours."""
    counts = runner.counts
    every = [await runner.direct(), *await runner.proxies("envoy"), (await runner.ours()).server]
    capacity = await scenarios.capacity(every, RPC, counts)
    own = {every[-1].name: capacity[every[-1].name][counts.width]["rate"]["median"]}
    latency = await scenarios.latency(every, RPC, counts, own)
    return {"width": counts.width, "capacity": capacity, "latency": latency}


async def chat(runner: Runner) -> dict[str, Any]:
    """Whole chat completions: every peer."""
    proxies = runner.able(await runner.proxies(*PEERS), CHAT)
    every = [await runner.direct(), *proxies, (await runner.ours()).server]
    capacity = await scenarios.capacity(every, CHAT, runner.counts)
    return {"width": runner.counts.width, "capacity": capacity, "unable": runner.unable}


async def streams(runner: Runner) -> dict[str, Any]:
    """Streamed chat: at once, and timed."""
    proxies = await runner.proxies(*PEERS)
    direct, server = await runner.direct(), (await runner.ours()).server
    at_once = [direct, *runner.able(proxies, FAST), server]
    timed = [direct, *runner.able(proxies, TIMED), server]
    return {
        "at_once": await scenarios.streams_at_once(at_once, runner.counts),
        "timed": await scenarios.timed_streams(timed, runner.counts),
        "unable": runner.unable,
    }


async def soaked(runner: Runner) -> dict[str, Any]:
    """A million relays in one session, a burst of large bodies, and the statement."""
    found = await runner.ours()
    soaking = await soak.soak(found, runner.counts.soak)
    return {**soaking, "statement": await soak.statement(found)}


async def protocol(runner: Runner) -> dict[str, Any]:
    """The protocol's own steps."""
    return scenarios.protocol_steps(runner.counts.rounds + 2)


async def gas(runner: Runner) -> dict[str, Any]:
    """What settlement costs on chain."""
    paths = settlement.gas_by_path()
    return {"paths": paths, "at_pockets_size": settlement.calculated(paths)}


SCENARIOS: Final[dict[str, Scenario]] = {
    "protocol": protocol,
    "settlement": gas,
    "relay": relay,
    "chat": chat,
    "streams": streams,
    "llm": llm.real_llm,
    "scaling": scaling.scaling,
    "soak": soaked,
}
NAMES: Final = tuple(SCENARIOS)


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
