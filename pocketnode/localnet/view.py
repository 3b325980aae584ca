"""The live view: what each supplier serves now, how well, and what it has been paid."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pocketnode.chain import deployment as deployments
from pocketnode.chain.deployment import Windows
from pocketnode.errors import PocketError
from pocketnode.localnet import payouts, processes
from pocketnode.localnet.configs import PRICES
from pocketnode.localnet.payouts import Payouts, SessionPay
from pocketnode.localnet.plan import CHAIN, GATEWAY, SUPPLIERS, Plan
from pocketnode.localnet.state import Layout

EVERY_S: Final = 1.0
PAYOUTS_EVERY: Final = 4  # rounds


@dataclass(slots=True)
class Line:
    """One supplier: what it served since it started, and what it was paid in all settled sessions, base units.

    `quality` is w by service, 0 to 1, and `failures` counts by service and session, both as the gateway sees it.
    """

    name: str
    relays: int = 0
    failures: dict[tuple[str, int], int] = field(default_factory=dict)
    units_now: int = 0
    latency_ms: float = 0.0
    quality: dict[str, float] = field(default_factory=dict)
    amount: int = 0
    pay: int = 0


@dataclass(slots=True)
class Screen:
    """What is drawn. `rate` is relays a second over the last round."""

    block: int = 0
    session: int = 0
    blocks_left: int = 0
    rate: float = 0.0
    settled: int = 0
    debit: int = 0
    lines: dict[str, Line] = field(default_factory=dict)


async def live(layout: Layout, plan: Plan) -> None:
    """Draw until cancelled."""
    screen = Screen(lines={name: Line(name) for name in SUPPLIERS})
    windows = deployments.read(layout.deployment).windows
    token = layout.admin_token.read_text().strip()
    timeout = aiohttp.ClientTimeout(total=2)
    async with (
        payouts.opened(layout, plan) as paid,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, timeout=timeout) as http,
    ):
        with Live(draw(screen), refresh_per_second=4) as shown:
            turn = 0
            while True:
                await _look(screen, http, plan, windows)
                if turn % PAYOUTS_EVERY == 0:
                    await _count_pay(screen, paid)
                shown.update(draw(screen))
                turn += 1
                await asyncio.sleep(EVERY_S)


async def _look(screen: Screen, http: aiohttp.ClientSession, plan: Plan, windows: Windows) -> None:
    """Ask the chain and every supplier; what does not answer now keeps its last values."""
    before = sum(line.relays for line in screen.lines.values())
    try:
        block = int(await processes.rpc(plan.url(CHAIN), "eth_blockNumber"), 16)
        for name, line in screen.lines.items():
            async with http.get(f"{plan.admin_url(name)}/status") as answer:
                take_status(line, await answer.json())
        async with http.get(f"{plan.admin_url(GATEWAY)}/status") as answer:
            take_quality(screen, plan, await answer.json())
    except (aiohttp.ClientError, TimeoutError):
        return
    screen.block = block
    screen.session = (block - windows.anchor) // windows.length
    screen.blocks_left = windows.length - (block - windows.anchor) % windows.length
    screen.rate = (sum(line.relays for line in screen.lines.values()) - before) / EVERY_S if before else 0.0


def take_status(line: Line, status: dict[str, Any]) -> None:
    """Put what a supplier's /status says into its line."""
    backends = [backend for service in status["services"] for backend in service["backends"]]
    line.relays = sum(backend["served"] for backend in backends)
    weighted_s = sum(backend["mean_s"] * backend["served"] for backend in backends)
    line.latency_ms = 1000 * weighted_s / line.relays if line.relays else 0.0
    newest = max((account["session"] for account in status["sessions"]), default=0)
    line.units_now = sum(
        account["acknowledged_units"] + account["unacknowledged_units"]
        for account in status["sessions"]
        if account["session"] == newest
    )


def take_quality(screen: Screen, plan: Plan, status: dict[str, Any]) -> None:
    """Put the qualities and failures in the gateway's /status onto the screen."""
    names = {plan.addresses[name].lower(): name for name in SUPPLIERS}
    for session in sorted(status["sessions"], key=lambda session: int(session["number"])):
        for supplier in session["suppliers"]:
            name = names.get(supplier["operator"].lower())
            if name is not None and supplier["relays"]:
                line = screen.lines[name]
                line.quality[session["service"]] = supplier["quality"] / 10_000
                failed = sum(supplier["verdicts"][verdict] for verdict in ("fault", "timeout", "wrong"))
                line.failures[session["service"], session["number"]] = failed


async def _count_pay(screen: Screen, paid: Payouts) -> None:
    try:
        take_sessions(screen, await paid.settled())
    except PocketError:
        return  # the chain is busy or stopping: the last sums stay on the screen


def take_sessions(screen: Screen, sessions: list[SessionPay]) -> None:
    """Put what all settled sessions paid onto the screen."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for session in sessions:
        for supplier in session.suppliers:
            sums[supplier.supplier][0] += supplier.amount
            sums[supplier.supplier][1] += supplier.pay
    for name, line in screen.lines.items():
        line.amount, line.pay = sums[name]
    screen.settled = len(sessions)
    screen.debit = sum(session.debit for session in sessions)


def draw(screen: Screen) -> Group:
    """Return the screen as rich draws it."""
    table = Table(header_style="bold")
    table.add_column("supplier")
    quality = f"quality {' '.join(PRICES)}"
    for title in ("relays", "failed", "units now", "latency", quality, "paid", "of its amount"):
        table.add_column(title, justify="right")
    for line in screen.lines.values():
        table.add_row(*cells(line))
    head = Text.assemble(
        ("session ", "dim"), f"{screen.session}", ("  blocks left ", "dim"), f"{screen.blocks_left}",
        ("  block ", "dim"), f"{screen.block}", ("  relays/s ", "dim"), f"{screen.rate:.1f}",
        ("  settled ", "dim"), f"{screen.settled}", ("  debit ", "dim"), f"{tokens(screen.debit)} tPOCK",
    )  # fmt: skip
    idle = (
        "" if any(line.relays for line in screen.lines.values()) else "Nothing flows yet: paste a command from above, "
    )
    foot = Text(f"{idle}or run `pocketnode localnet traffic`" if idle else "Ctrl-C stops everything.", style="dim")
    return Group(head, table, foot)


def cells(line: Line) -> list[str]:
    """Return a supplier's row.

    >>> cells(Line("supplier-1", relays=1200, units_now=40, latency_ms=12.34))
    ['supplier-1', '1,200', '0', '40', '12 ms', '- -', '0.000000', '-']
    """
    quality = " ".join(f"{line.quality[name]:.3f}" if name in line.quality else "-" for name in PRICES)
    share = f"{line.pay / line.amount:.4f}" if line.amount else "-"
    numbers = [
        f"{line.relays:,}",
        f"{sum(line.failures.values()):,}",
        f"{line.units_now:,}",
        f"{line.latency_ms:.0f} ms",
    ]
    return [line.name, *numbers, quality, tokens(line.pay), share]


def tokens(amount: int) -> str:
    """Return base units as tokens of six decimals.

    >>> tokens(1_500_000)
    '1.500000'
    """
    return f"{amount / 10**6:,.6f}"
