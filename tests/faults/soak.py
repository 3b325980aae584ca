"""`python -m tests.faults.soak`: mixed load with random faults, and a reckoning at the end. `make soak` runs it.

At the end the ledger balances to the base unit, nearly every request was answered, and nothing has grown: memory, file
descriptors, lanes. What it did can be done again with the seed that it prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import psutil

from pocketnode.localnet.configs import ETH, SMOLLM2
from pocketnode.localnet.payouts import SessionPay, opened
from pocketnode.localnet.plan import GATEWAY, SUPPLIERS
from pocketnode.localnet.traffic import Load, Tally
from tests.faults.chain_proxy import Mood
from tests.faults.network import Weather
from tests.faults.world import DAEMONS, World, running, until

ANSWERED_LEAST: Final = 0.999
BUSY: Final = "no supplier could answer: busy"  # the one LLM that all suppliers share has a few places
BUSY_MOST: Final = 0.05
GROWTH_MOST: Final = 0.05
GROWTH_FREE_MIB: Final = 6.0  # what an allocator's arenas come to, on a run of minutes
LEFT_MOST: Final = (
    24  # files or tasks: pools of connections fill up once, and at a boundary there are two sessions' lanes
)
FILES_MORE_MOST: Final = 16  # the rest of the pools, and users who keep their connections
WARM_S: Final = 45.0
FAULT_EVERY_S: Final = (4.0, 9.0)
FAULT_LASTS_S: Final = (0.5, 4.0)
Say = Callable[[str], None]


@dataclass
class Life:
    """One daemon from a start to its end: what it used, by time."""

    name: str
    pid: int
    seen: list[tuple[float, float, int]] = field(default_factory=list)  # at, MiB, files

    def look(self, now_s: float) -> None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            self.seen.append((now_s, process.memory_info().rss / 2**20, process.num_fds()))

    def growth(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Return the medians of MiB and of files after warm-up, and those at the end; None for too short a life."""
        if not self.seen or self.seen[-1][0] - self.seen[0][0] < WARM_S * 1.5:
            return None
        begun_s, ended_s = self.seen[0][0], self.seen[-1][0]
        part_s = (ended_s - begun_s - WARM_S) / 4
        early = [look for look in self.seen if begun_s + WARM_S <= look[0] <= begun_s + WARM_S + part_s]
        late = [look for look in self.seen if look[0] >= ended_s - part_s]
        return _medians(early), _medians(late)


def _medians(looks: list[tuple[float, float, int]]) -> tuple[float, float]:
    return statistics.median(mib for _, mib, _ in looks), statistics.median(files for _, _, files in looks)


class CalmLoad(Load):
    """Mixed load whose chats are short and have one answer only, so that another supplier can go on with a stream."""

    def _question(self, stream: bool) -> dict[str, Any]:
        return {**super()._question(stream), "temperature": 0, "max_tokens": 12}


class Soak:
    """One run."""

    def __init__(self, world: World, seed: int, say: Say) -> None:
        self._world = world
        self._luck = random.Random(seed)
        self._say = say
        self._lives: dict[int, Life] = {}
        self.faults = 0
        self._first = 0

    async def run(self, seconds: float, rate: float) -> list[str]:
        """Load and hurt the market, let it come to rest, and return what is wrong with it."""
        world = self._world
        self._first = await world.number()
        await world.rpc.ask("evm_setIntervalMining", 1)
        await until(self._ready, 30, "the gateway is not ready")
        # One lane for each session has been used by everyone: what is open now is what a market at rest has.
        load = CalmLoad(world.url, world._key, rate, seed=self._luck.randrange(2**32))
        await CalmLoad(world.url, world._key, rate).run(5)
        idle = await self._held()
        helpers = [asyncio.create_task(job) for job in (self._watch(), self._hurt(seconds - 15))]
        await load.run(seconds)
        for helper in helpers:
            helper.cancel()
        results = await asyncio.gather(*helpers, return_exceptions=True)
        wrong = [repr(r) for r in results if isinstance(r, BaseException) and not isinstance(r, asyncio.CancelledError)]
        await self._heal()
        wrong += self._unanswered(load.tally)
        wrong += self._grown()
        wrong += await self._reckon()
        wrong += await self._accused()
        wrong += await self._left_over(idle)
        return wrong

    async def _ready(self) -> bool:
        facts = await self._world.facts(GATEWAY)
        lanes = [s["lane"] for session in facts["sessions"] for s in session["suppliers"]]
        return bool(facts["ready"]) and set(lanes) == {"open"}

    # ---- faults

    async def _hurt(self, seconds: float) -> None:
        """Do one thing to one party at a time, so that always some supplier can answer."""
        deadline_s = time.monotonic() + seconds
        faults = [self._cut, self._stall, self._slow_line, self._freeze, self._kill, self._bad_node, self._reorg]
        while True:
            await asyncio.sleep(self._luck.uniform(*FAULT_EVERY_S))
            if time.monotonic() > deadline_s:
                return
            fault = self._luck.choice(faults)
            victim = self._luck.choice(SUPPLIERS)
            self._say(f"{time.strftime('%H:%M:%S')} {fault.__name__.strip('_')} {victim}")
            self.faults += 1
            await fault(victim)

    async def _while(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        try:
            await asyncio.sleep(self._luck.uniform(*FAULT_LASTS_S))
        finally:
            end()

    async def _cut(self, victim: str) -> None:
        line = self._world.lines[victim]
        await line.cut()
        await asyncio.sleep(self._luck.uniform(*FAULT_LASTS_S))
        await line.start()

    async def _stall(self, victim: str) -> None:
        line = self._world.lines[victim]
        await self._while(
            lambda: setattr(line.weather, "stalled", True), lambda: setattr(line.weather, "stalled", False)
        )

    async def _slow_line(self, victim: str) -> None:
        line = self._world.lines[victim]
        bad = Weather(delay_s=0.1, jitter_s=0.2)
        await self._while(lambda: setattr(line, "weather", bad), lambda: setattr(line, "weather", Weather()))

    async def _freeze(self, victim: str) -> None:
        world = self._world
        await self._while(lambda: world.signal(victim, signal.SIGSTOP), lambda: world.signal(victim, signal.SIGCONT))

    async def _kill(self, victim: str) -> None:
        await self._world.kill(victim)
        await self._world.start(victim)

    async def _bad_node(self, victim: str) -> None:
        """Any daemon's node, the gateway's as well."""
        node = self._world.nodes[self._luck.choice(DAEMONS)]
        bad = self._luck.choice([Mood(down=True), Mood(delay_s=0.5), Mood(failing=0.5), Mood(behind=2)])
        await self._while(lambda: setattr(node, "mood", bad), lambda: setattr(node, "mood", Mood()))

    async def _reorg(self, victim: str) -> None:
        await self._world.rpc.ask("anvil_reorg", self._luck.randint(1, 3), [])

    async def _heal(self) -> None:
        for name in DAEMONS:
            if not self._world.alive(name):
                await self._world.start(name)
        await until(self._ready, 60, "the market does not come to itself", 0.5)

    # ---- reckoning

    def _unanswered(self, tally: Tally) -> list[str]:
        """Judge the share of answers among requests that some supplier could answer: not of those all were busy for."""
        self._say(f"{tally.sent} sent, {dict(tally.done)}, {self.faults} faults")
        for words, count in tally.failures.most_common():
            self._say(f"  {count} times {words}")
        busy = sum(count for words, count in tally.failures.items() if BUSY in words)
        share = sum(tally.done.values()) / max(1, tally.sent - busy)
        wrong = [f"{busy} of {tally.sent} met only busy suppliers"] if busy > tally.sent * BUSY_MOST else []
        if not self.faults or not all(tally.done[kind] for kind in ("eth", "chat", "stream")):
            wrong.append("nothing was done to the market, or some kind of request was never answered")
        return wrong if share >= ANSWERED_LEAST else [*wrong, f"only {share:.4%} answered"]

    async def _watch(self) -> None:
        while True:
            now_s = time.monotonic()
            for name, pid in self._world.children.pids.items():
                if name in DAEMONS:
                    self._lives.setdefault(pid, Life(name, pid)).look(now_s)
            await asyncio.sleep(1)

    def _grown(self) -> list[str]:
        wrong = []
        for life in self._lives.values():
            found = life.growth()
            if found is None:
                continue
            (early, files), (late, files_late) = found
            then, now = f"{early:.1f} MiB and {files:g} files", f"{late:.1f} MiB and {files_late:g} files"
            self._say(f"{life.name} (pid {life.pid}): {then} after warm-up, {now} at the end")
            if files_late > files + FILES_MORE_MOST:
                wrong.append(f"{life.name} went from {files:g} to {files_late:g} files")
            if late > early * (1 + GROWTH_MOST) and late - early > GROWTH_FREE_MIB:
                wrong.append(f"{life.name} grew from {early:.1f} to {late:.1f} MiB")
        judged = {life.name for life in self._lives.values() if life.growth() is not None}
        return wrong if GATEWAY in judged and len(judged) > 1 else [*wrong, f"only {judged} lived long enough to judge"]

    async def _reckon(self) -> list[str]:
        """Wait until every session that was used is paid out, and balance it."""
        world = self._world
        last = await world.number()
        windows = world.deployment.windows
        end = world.end_of(last) + windows.statement + windows.claim + 12

        async def over() -> bool:
            return await world.head() >= end

        await until(over, 120, "the last windows do not close", 1.0)
        sessions = await self._settled()
        unbalanced = [f"session {s.session} of {s.service} does not balance: {s}" for s in sessions if not s.balanced]
        debit, pay = sum(s.debit for s in sessions), sum(x.pay for s in sessions for x in s.suppliers)
        self._say(f"{len(sessions)} sessions paid out: debit {debit}, pay {pay}, fee {sum(s.fee for s in sessions)}")
        unbalanced += await self._unrecorded(sessions)
        return unbalanced + await self._unpaid({(s.session, s.service) for s in sessions})

    async def _unrecorded(self, sessions: list[SessionPay]) -> list[str]:
        """Compare what was paid for with the gateway's records of relays: a statement says that, a claim no less."""
        from tests.faults import books

        wrong, used = [], [s for s in sessions if s.session >= self._first]
        for one in used:
            recorded = await books.recorded(self._world, one.session, one.service)
            for paid in one.suppliers:
                accepted = recorded.pop(paid.supplier, 0)
                if paid.units < accepted or (paid.units > accepted and not paid.claimed):
                    wrong.append(f"session {one.session} of {one.service}: {accepted} units recorded, {paid} paid")
            wrong += [f"session {one.session} of {one.service} leaves out {left}" for left in recorded.items()]
        missed = [(s.session, s.service) for s in used if not s.stated]
        self._say(f"{len(used)} sessions compared with the records, not stated: {missed or 'none'}")
        if {s.service for s in used} != {ETH, SMOLLM2}:
            wrong.append(f"no session of some service was paid out: {[(s.session, s.service) for s in used]}")
        return wrong

    async def _settled(self) -> list[SessionPay]:
        async with opened(self._world.layout, self._world.plan) as payouts:
            return await payouts.settled()

    async def _unpaid(self, settled: set[tuple[int, str]]) -> list[str]:
        """Return the pots that were stated or claimed, and not paid out."""
        from tests.faults import books

        wrong = []
        for number in range(self._first, await self._world.number()):
            for service in (ETH, SMOLLM2):
                if (number, service) in settled:
                    continue
                pot = await books.pot(self._world, number, service)
                if pot.units:
                    wrong.append(f"session {number} of {service} is not paid out: {pot}")
        return wrong

    async def _accused(self) -> list[str]:
        """Return the statements that suppliers found to differ: everyone here is honest."""
        wrong = []
        for name in SUPPLIERS:
            facts = await self._world.facts(name)
            self._say(f"{name}: statements {facts['audits']}")
            wrong += [f"{name} finds that a statement differs: {row}" for row in facts["disagreements"]]
        return wrong

    async def _held(self) -> dict[str, tuple[int, int]]:
        """Return how many files and tasks each daemon holds."""
        held = {}
        for name in DAEMONS:
            files = psutil.Process(self._world.children.pids[name]).num_fds()
            held[name] = files, int((await self._world.facts(name))["tasks"])
        return held

    async def _left_over(self, idle: dict[str, tuple[int, int]]) -> list[str]:
        """Return what a market at rest should not have: more files and tasks than at first, more lanes."""
        wrong = []
        for name, now in (await self._held()).items():
            self._say(f"{name}: {now[0]} files and {now[1]} tasks, {idle[name][0]} and {idle[name][1]} at first")
            for what, many, first in zip(("files", "tasks"), now, idle[name], strict=True):
                if many > first + LEFT_MOST:
                    wrong.append(f"{name} holds {many} {what}, {first} at first")
        for name in SUPPLIERS:
            facts = await self._world.facts(name)
            # A lane for each service; twice that while one session hands over to the next.
            if facts["lanes"] > 4 or facts["in_flight"]:
                wrong.append(f"{name} has {facts['lanes']} lanes and {facts['in_flight']} relays in flight")
            for service in facts["services"]:
                held = [backend["in_flight"] for backend in service["backends"]]
                if any(held) or service["waiting"]:
                    wrong.append(f"{name} holds places of {service['id']}: {held}, {service['waiting']} wait")
        return wrong


async def soak(folder: Path, minutes: float, seed: int, rate: float, say: Say) -> list[str]:
    """Run a whole soak in `folder`; return what was wrong."""
    async with running(folder / "net", llm=True) as world:
        return await Soak(world, seed, say).run(minutes * 60, rate)


@click.command()
@click.option("--minutes", type=click.FloatRange(1), default=10.0, show_default=True)
@click.option("--seed", type=int, help="What to do again; chosen by chance if not given.")
@click.option("--rate", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Requests a second.")
def main(minutes: float, seed: int | None, rate: float) -> None:
    """Load a market, hurt it at random, and reckon at the end."""
    seed = random.randrange(2**32) if seed is None else seed
    click.echo(f"seed {seed}")
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    wrong = asyncio.run(soak(folder, minutes, seed, rate, click.echo))
    for line in wrong:
        click.echo(f"WRONG: {line}")
    if wrong:
        click.echo(f"the logs are in {folder / 'net' / 'logs'}")
        raise SystemExit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
