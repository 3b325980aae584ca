"""Brings a local network up, keeps it, and takes it down; the one parent of all its processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from pocketnode.localnet import configs, market, plan, ports, processes, state
from pocketnode.localnet.children import Child, Children
from pocketnode.localnet.plan import CHAIN, Options, Plan
from pocketnode.localnet.race import first_of
from pocketnode.localnet.state import Layout, Phase, Process, State

Say = Callable[[str], None]
Show = Callable[[Plan], Awaitable[None]]


class Supervisor:
    """One local network in one folder. `say` gets each step in words."""

    def __init__(self, layout: Layout, options: Options, say: Say) -> None:
        self._layout = layout
        self._options = options
        self._say = say
        self._children = Children()

    async def run(self, stop: asyncio.Event, show: Show) -> None:
        """Bring the network up, run `show` beside it, and take it down when `stop` is set or `show` returns.

        Raises
        ------
        PocketError
            it could not come up, or one of its processes died; everything has been stopped by then.
        """
        state.refuse_second(self._layout)
        try:
            await first_of(stop.wait(), self._live(show))
        except BaseException as error:
            await self._take_down(str(error))
            raise
        await self._take_down()

    async def _live(self, show: Show) -> None:
        network = await self._bring_up()
        self._note("ready")
        await first_of(self._children.watch(), self._shown(network, show))

    async def _shown(self, network: Plan, show: Show) -> None:
        await show(network)

    async def _bring_up(self) -> Plan:
        network = self._plan()
        base = [processes.chain(self._layout, network), processes.llm(self._layout, network)]
        self._note("starting")
        await self._timed("chain and LLM", self._start(*base))
        self._note("starting")
        await self._timed("market", self._open_market(network))
        await self._timed("suppliers and gateway", self._start_daemons(network))
        return network

    def _plan(self) -> Plan:
        """Return the plan that is in the folder, or a new one if there is none that can go on."""
        last = state.read(self._layout)
        if last is not None and last.phase != "stopped":
            self._say("the last run did not end in order: starting afresh")
            state.reset(self._layout)
        if self._options.gateway_port:
            ports.check(self._options.gateway_port, "the gateway", "stop that, or choose another with `--gateway-port`")
        self._layout.make()
        known = plan.read(self._layout)
        if known is not None and known.options == self._options:
            plan.check_ports(known)
            return known
        if known is not None:
            self._say("other options than last time: starting afresh")
            state.reset(self._layout)
            self._layout.make()
        return plan.make(self._layout, self._options)

    async def _start(self, *children: Child) -> None:
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(self._children.start(child))

    async def _open_market(self, network: Plan) -> None:
        if not self._layout.deployment.exists():
            await market.open_market(self._layout, network)
        await processes.rpc(network.url(CHAIN), "evm_setIntervalMining", 1)
        configs.write(self._layout, network)

    async def _start_daemons(self, network: Plan) -> None:
        await self._start(*(processes.supplier(self._layout, network, name) for name in plan.SUPPLIERS))
        await self._start(processes.gateway(self._layout, network))

    async def _timed(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        started = time.monotonic()
        try:
            await work
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        self._say(f"{what}: up after {time.monotonic() - started:.1f} s")

    def _note(self, phase: Phase, message: str = "") -> None:
        """Tell the other commands what runs now."""
        running = [Process.of(state.SUPERVISOR, os.getpid())]
        running += [Process.of(name, pid) for name, pid in self._children.pids.items()]
        state.write(self._layout, State(phase, running, message))

    async def _take_down(self, message: str = "") -> None:
        if not self._children.pids:
            return  # nothing was begun: what is in the folder can go on from where it was
        self._note("stopping")
        disorderly = await self._children.stop()
        # The chain writes its state when it ends in order; without it, daemons would remember blocks that are gone.
        whole = self._layout.deployment.exists() and CHAIN not in disorderly
        state.write(self._layout, State("stopped" if whole else "failed", [], message))
