"""A market of real processes that a test can hurt: anvil, three suppliers, a gateway, and a bad line between any two.

The chain moves when the test says so, so that every step of a session can be met. Each daemon reaches the chain
through a `ChainProxy` of its own, and each supplier is found at a `ChaosProxy`, whose address is the registered one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from pocketnode.chain import deployment as deployments
from pocketnode.chain.actor import Actor, acting
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Spans
from pocketnode.chain.deployment import Deployment
from pocketnode.localnet import configs, market, plan, ports, processes
from pocketnode.localnet.children import Children
from pocketnode.localnet.plan import APPLICATION, CHAIN, GATEWAY, SUPPLIERS, Options, Plan
from pocketnode.localnet.state import Layout, Process
from pocketnode.protocol.session import service_id, session_id
from pocketnode.services.spec import builtin
from tests.faults.chain_proxy import ChainProxy, Mood
from tests.faults.network import ChaosProxy

ROOT: Final = Path(__file__).parents[2]
DAEMONS: Final = (*SUPPLIERS, GATEWAY)
ETH: Final = configs.ETH
BLOCK_S: Final = 0.25
KNOWN_S: Final = 3.0
CALL: Final = "eth_getBalance"
_SPEC: Final = builtin(ETH)
UNITS: Final = _SPEC.method_units(CALL)


@dataclass
class Answered:
    """What users got, by what the answers themselves say: units by (session id, operator), both as hex."""

    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def of(self, session: bytes) -> dict[str, int]:
        """Return the units of one session by operator."""
        return {operator: units for (found, operator), units in self.units.items() if found == "0x" + session.hex()}


@dataclass
class World:
    """One network in one folder. Use `running`."""

    layout: Layout
    plan: Plan
    rpc: Rpc
    children: Children = field(default_factory=Children)
    lines: dict[str, ChaosProxy] = field(default_factory=dict)
    nodes: dict[str, ChainProxy] = field(default_factory=dict)
    answered: Answered = field(default_factory=Answered)
    _http: aiohttp.ClientSession | None = None
    _key: str = ""
    _ids: int = 0

    # ---- what there is

    @property
    def deployment(self) -> Deployment:
        return deployments.read(self.layout.deployment)

    @property
    def url(self) -> str:
        return self.plan.url(GATEWAY)

    @property
    def application(self) -> bytes:
        return bytes.fromhex(self.plan.addresses[APPLICATION][2:])

    @property
    def gateway(self) -> bytes:
        return bytes.fromhex(self.plan.addresses[GATEWAY][2:])

    def operator(self, name: str) -> str:
        return self.plan.addresses[name].lower()

    def name_of(self, operator: str) -> str:
        return next(name for name in SUPPLIERS if self.operator(name) == operator)

    def users(self, number: int) -> dict[str, int]:
        """Return the units that users got in a session, by supplier's name."""
        return {self.name_of(operator): units for operator, units in self.answered.of(self.session(number)).items()}

    def session(self, number: int, service: str = ETH) -> bytes:
        return session_id(self.application, service_id(service), number)

    def log(self, name: str) -> str:
        return self.layout.log(name).read_text(errors="replace")

    # ---- the chain

    async def head(self) -> int:
        return int(await self.rpc.ask("eth_blockNumber"), 16)

    async def mine(self, blocks: int = 1) -> None:
        await self.rpc.ask("anvil_mine", hex(blocks))

    async def mine_to(self, number: int) -> None:
        if (blocks := number - await self.head()) > 0:
            await self.mine(blocks)

    async def number(self) -> int:
        """Return the number of the session that runs."""
        windows = self.deployment.windows
        return (await self.head() - windows.anchor) // windows.length

    def start_of(self, number: int) -> int:
        windows = self.deployment.windows
        return windows.anchor + number * windows.length

    def end_of(self, number: int) -> int:
        return self.start_of(number + 1) - 1

    async def new_session(self) -> int:
        """Move to a session that has just begun, wait until it is used, and return its number."""
        number = await self.number() + 1
        await self.mine_to(self.start_of(number))

        async def used() -> bool:
            sessions = (await self.facts(GATEWAY))["sessions"]
            return any(found["number"] == number and not found["retiring"] for found in sessions)

        await until(used, 20, f"session {number} is not used")
        return number

    async def tick(self, rest_s: float = BLOCK_S) -> None:
        """Mine a block, wait until every daemon with a good node knows it, and leave them a while to act on it."""
        await self.mine()
        head = await self.head()
        asked = [name for name in DAEMONS if self.alive(name) and self.nodes[name].mood == Mood()]
        deadline_s = time.monotonic() + KNOWN_S
        while asked and time.monotonic() < deadline_s:
            known = await asyncio.gather(*(self._block_of(name) for name in asked))
            asked = [name for name, block in zip(asked, known, strict=True) if block < head]
            await asyncio.sleep(0.03)
        await asyncio.sleep(rest_s)

    async def _block_of(self, name: str) -> int:
        """Return the newest block that a daemon knows; 0 if it does not say."""
        try:
            facts = await asyncio.wait_for(self.facts(name), 1)
        except (aiohttp.ClientError, TimeoutError):
            return 0
        return int(facts.get("head", facts.get("block", 0)))

    async def pace(self, last: int, rest_s: float = BLOCK_S) -> None:
        """Mine one block after the other up to block `last`, as fast as the daemons can follow."""
        while await self.head() < last:
            await self.tick(rest_s)

    async def settle(self, number: int, rest_s: float = BLOCK_S) -> None:
        """Let the session end and both its windows pass, at a pace that daemons can follow."""
        windows = self.deployment.windows
        await self.mine_to(self.end_of(number))
        await self.pace(self.end_of(number) + windows.statement + windows.claim + 1, rest_s)

    async def mine_until(self, holds: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
        """Mine at the usual pace until something holds."""

        async def step() -> bool:
            if await holds():
                return True
            await self.tick()
            return False

        await until(step, timeout_s, what)

    @asynccontextmanager
    async def acting_as(self, name: str) -> AsyncIterator[Actor]:
        """Give one of the network's keys; the chain mines for what it sends."""
        key = plan.key(self.layout, name)
        await self.rpc.ask("evm_setAutomine", True)
        try:
            async with acting(self.rpc, self.deployment, key) as actor:
                yield actor
        finally:
            await self.rpc.ask("evm_setAutomine", False)

    # ---- processes

    async def start(self, name: str, timeout_s: float = 60, cheat: str = "", **changes: Any) -> None:
        """Start a daemon by its command, in a launcher that can kill it at a step or have it cheat.

        `changes` go to its configuration, `cheat` is one of tests.faults.cheating.
        """
        if changes:
            self.configure(name, **changes)
        child = _child(self.layout, self.plan, name)
        words = child.argv[child.argv.index("pocketnode") + 1 :]
        self._armed(name).unlink(missing_ok=True)
        argv = [sys.executable, "-m", "tests.faults.crash", str(self._armed(name)), *words]
        victim = self.layout.data(next(other for other in SUPPLIERS if other != name)) / "state.db"
        env = {"PYTHONPATH": str(ROOT), "CHEAT": cheat, "CHEAT_WITH": str(victim)}
        await self.children.start(replace(child, argv=argv, env=env), timeout_s)

    def arm(self, name: str, point: str) -> None:
        """Have a daemon kill itself when it comes to a point of tests.faults.crash."""
        write_text(self._armed(name), point)

    def _armed(self, name: str) -> Path:
        return self.layout.root / f"{name}.armed"

    def process(self, name: str) -> Process:
        return Process.of(name, self.children.pids[name])

    def alive(self, name: str) -> bool:
        return name in self.children.pids and self.process(name).alive()

    def signal(self, name: str, signum: signal.Signals) -> None:
        os.kill(self.children.pids[name], signum)

    async def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(name, signal.SIGKILL)
        await self.gone(name)

    async def stop(self, name: str, timeout_s: float = 20) -> None:
        """End a daemon as a service manager does."""
        if self.alive(name):
            self.signal(name, signal.SIGTERM)
            await self.gone(name, timeout_s)

    async def gone(self, name: str, timeout_s: float = 20) -> None:
        async def dead() -> bool:
            return not self.alive(name)

        await until(dead, timeout_s, f"{name} lives on")

    async def restart(self, name: str, **changes: Any) -> None:
        await self.stop(name)
        await self.start(name, **changes)

    async def withhold(self, yes: bool) -> None:
        """Have the gateway state its sessions, or never."""
        if self.configured(GATEWAY).get("statements") != {"withhold": yes}:
            await self.restart(GATEWAY, statements={"withhold": yes})

    def configure(self, name: str, **changes: Any) -> None:
        """Change top-level fields of a daemon's configuration."""
        path = self.layout.config(name)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))

    def configured(self, name: str) -> dict[str, Any]:
        """Return a daemon's configuration as its file has it."""
        found: dict[str, Any] = yaml.safe_load(self.layout.config(name).read_text())
        return found

    async def facts(self, name: str) -> dict[str, Any]:
        """Return a daemon's /status."""
        assert self._http is not None
        headers = {"Authorization": f"Bearer {self.layout.admin_token.read_text().strip()}"}
        async with self._http.get(f"{self.plan.admin_url(name)}/status", headers=headers) as answer:
            facts: dict[str, Any] = await answer.json()
            return facts

    # ---- users

    async def ask(self, method: str = CALL, *params: Any, timeout_s: float = 30) -> str:
        """Send one call through the gateway; return the session that answered it, or nothing where it failed.

        By default each asks for something else, so that none is answered from what the gateway remembers.
        """
        assert self._http is not None
        self._ids += 1
        params = params or (f"0x{self._ids:040x}", "latest")
        body = {"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params}
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            async with self._http.post(f"{self.url}/rpc/eth", json=body, headers=headers, timeout=timeout) as answer:
                reply = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.answered.failures[type(error).__name__] += 1
            return ""
        if "result" not in reply:
            self.answered.failures[f"{answer.status} {reply['error']['message']}"] += 1
            return ""
        session, operator = answer.headers["x-pocketnode-session"], answer.headers["x-pocketnode-supplier"]
        self.answered.units[session, operator] += _SPEC.method_units(method)
        self.answered.count += 1
        return session

    async def load(self, count: int, at_once: int = 4) -> int:
        """Send `count` calls, so many at once; return how many were answered."""
        left = iter(range(count))

        async def one_user() -> int:
            return sum([1 for _ in left if await self.ask()])

        return sum(await asyncio.gather(*(one_user() for _ in range(at_once))))


@asynccontextmanager
async def running(
    folder: Path, llm: bool = False, start: bool = True, spans: Spans = LOCAL_SPANS
) -> AsyncIterator[World]:
    """Bring a market up in `folder`, with every daemon if `start`; end all of it however the test ended."""
    layout = Layout(folder)
    layout.make()
    network = plan.make(layout, Options(gateway_port=0, degraded=""))
    children = Children()
    async with Rpc([network.url(CHAIN)], timeout_s=10) as rpc, aiohttp.ClientSession() as http:
        world = World(layout, network, rpc, children, _http=http)
        try:
            await _open(world, llm, spans)
            if start:
                await asyncio.gather(*(world.start(name) for name in DAEMONS))
            yield world
        finally:
            for name in DAEMONS:
                if world.alive(name):
                    world.signal(name, signal.SIGCONT)
            await children.stop()
            closing = [proxy.close for proxy in world.lines.values()]
            for close in [*closing, *(proxy.close for proxy in world.nodes.values())]:
                await close()


async def _open(world: World, llm: bool, spans: Spans) -> None:
    layout, network = world.layout, world.plan
    await world.children.start(processes.chain(layout, network))
    if llm:
        await world.children.start(processes.llm(layout, network))
    await market.open_market(layout, network, spans)
    await world.rpc.ask("evm_setAutomine", False)
    configs.write(layout, network)
    world._key = layout.api_key.read_text().strip()
    for name in DAEMONS:
        world.nodes[name] = ChainProxy(network.url(CHAIN))
        await world.nodes[name].start()
        world.configure(name, rpc=[world.nodes[name].own_url])
    real = dict(zip(SUPPLIERS, ports.free(len(SUPPLIERS)), strict=True))
    for seed, (name, port) in enumerate(real.items()):
        world.lines[name] = ChaosProxy(port, network.ports[name], seed)
        await world.lines[name].start()
        world.configure(name, listen=f"127.0.0.1:{port}")
        if not llm:
            described = yaml.safe_load(layout.config(name).read_text())["services"]
            world.configure(name, services=[service for service in described if service["id"] == ETH])
    if not llm:
        address = network.addresses[APPLICATION]
        world.configure(GATEWAY, applications=[{"address": address, "services": [ETH]}], tokenizers={})


def write_text(path: Path, text: str) -> None:
    """Replace a file in one go."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def _child(layout: Layout, network: Plan, name: str) -> Any:
    return processes.gateway(layout, network) if name == GATEWAY else processes.supplier(layout, network, name)


async def until(holds: Callable[[], Awaitable[bool]], timeout_s: float, what: str, every_s: float = 0.05) -> None:
    """Wait until something holds, or fail with `what`."""
    deadline_s = time.monotonic() + timeout_s
    while not await holds():
        assert time.monotonic() < deadline_s, f"{what} after {timeout_s:g} s"
        await asyncio.sleep(every_s)
