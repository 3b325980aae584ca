"""`pocketnode supplier`: run a supplier and look at it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import click

from pocketnode.cli import registration, supplier_check, supplier_reach, supplier_register
from pocketnode.cli.amounts import coin_at, with_amounts
from pocketnode.cli.logs import log_to_stderr
from pocketnode.cli.output import json_option, print_facts, print_rows
from pocketnode.cli.supplier_parts import config_option, opened
from pocketnode.daemon import spare_collector, stop_on_signals
from pocketnode.errors import Unavailable
from pocketnode.supplier import config as configs
from pocketnode.supplier.admin import token_of
from pocketnode.supplier.config import SupplierConfig
from pocketnode.supplier.daemon import Reread, SupplierDaemon


@click.group()
def supplier() -> None:
    """Run a supplier and its registrations.

    \b
    Example:
      pocketnode supplier start --config supplier.yaml
    """


for _command in (
    *registration.COMMANDS,
    *supplier_check.COMMANDS,
    *supplier_reach.COMMANDS,
    *supplier_register.COMMANDS,
):
    supplier.add_command(_command)


@supplier.command()
@config_option
def start(path: Path) -> None:
    """Serve relays until told to stop (SIGTERM: finish what runs; SIGHUP: read the file again).

    \b
    Example:
      pocketnode supplier start --config /etc/pocketnode/supplier.yaml
    """
    config = configs.load(path)
    log_to_stderr(config.log.level, config.log.as_json)
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_start(config, path))


@supplier.command()
@config_option
@json_option
def status(path: Path, as_json: bool) -> None:
    """Show what the running supplier does: services, backends, load, sessions and what they owe.

    \b
    Example:
      pocketnode supplier status --config supplier.yaml
    """
    config = configs.load(path)
    facts = asyncio.run(_status(config))
    if as_json:
        print_facts(facts, as_json=True)
        return
    _print_status(with_amounts(facts, asyncio.run(coin_at(config.deployment, config.rpc))))


async def _start(config: SupplierConfig, path: Path) -> None:
    stop = stop_on_signals()
    async with opened(config) as parts:

        async def extra() -> dict[str, Any]:
            return await parts.facts(daemon.config, daemon.keys)

        async def reread() -> Reread:
            return await parts.reread(path)

        hearing = parts.settling.hearing(lambda: daemon.answerer.accounts)
        jobs = {**parts.jobs, "heard": hearing.run}
        async with SupplierDaemon(config, parts.outside, reread, jobs, extra) as daemon:
            daemon.metrics.watch(parts.settling.gauges)
            spare_collector()
            await daemon.run(stop)


async def _status(config: SupplierConfig) -> dict[str, Any]:
    token = token_of(config.admin.token_file)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    url = f"http://{config.admin.listen}/status"
    try:
        async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
            if answer.status != 200:
                raise Unavailable(f"{url}: HTTP {answer.status}: is `admin.token_file` that of the running supplier?")
            facts: dict[str, Any] = await answer.json()
            return facts
    except aiohttp.ClientError as error:
        raise Unavailable(f"no supplier answers at {url}: start it with `pocketnode supplier start`") from error


def _print_status(facts: dict[str, Any]) -> None:
    services, sessions = facts.pop("services"), facts.pop("sessions")
    tables = {name: facts.pop(name) for name in ("operators", "registrations", "gateways", "disagreements")}
    audits = {f"statements_{stage}": count for stage, count in facts.pop("audits").items()}
    print_facts({**facts, **facts.pop("money"), **audits}, as_json=False)
    backends = [
        {"service": service["id"], **{k: v for k, v in backend.items() if k not in ("identity", "engine")}}
        for service in services
        for backend in service["backends"]
    ]
    print_rows(backends, as_json=False, title="backends")
    print_rows(sessions, as_json=False, title="sessions")
    for title, rows in tables.items():
        print_rows(rows, as_json=False, title=title)


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
