"""`pocketnode supplier`: run a supplier and look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.cli.logs import log_to_stderr
from pocketnode.cli.output import json_option, print_facts, print_rows
from pocketnode.crypto import keystore
from pocketnode.daemon import Job, stop_on_signals
from pocketnode.errors import Unavailable
from pocketnode.store.engine import open_store
from pocketnode.store.receipts import ReceiptStore
from pocketnode.supplier import config as configs
from pocketnode.supplier.admin import token_of
from pocketnode.supplier.config import SupplierConfig
from pocketnode.supplier.daemon import Outside, SupplierDaemon

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("supplier.yaml"),
    show_default=True,
    help="The supplier's configuration file.",
)


@click.group()
def supplier() -> None:
    """Run a supplier and its registrations.

    \b
    Example:
      pocketnode supplier start --config supplier.yaml
    """


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
    facts = asyncio.run(_status(configs.load(path)))
    if as_json:
        print_facts(facts, as_json=True)
        return
    _print_status(facts)


async def _start(config: SupplierConfig, path: Path) -> None:
    stop = stop_on_signals()
    async with (
        _outside(config) as (outside, jobs),
        SupplierDaemon(config, outside, lambda: configs.load(path), jobs) as daemon,
    ):
        await daemon.run(stop)


@asynccontextmanager
async def _outside(config: SupplierConfig) -> AsyncIterator[tuple[Outside, dict[str, Job]]]:
    """Open what the daemon stands on: key, chain and store; yield it with the jobs that keep it going."""
    deployment = deployments.read(config.deployment)
    key = keystore.load(config.keystore, keystore.password_from(config.password_file))
    engine = open_store(config.store)
    async with Rpc(config.rpc) as rpc:
        reader = Reader(rpc, deployment)
        await reader.check_chain()
        heads = Heads(rpc)
        await heads.refresh()
        market = Market(reader, heads)
        yield Outside(key, deployment.domain, market, heads, ReceiptStore(engine)), {"heads": heads.run}
    engine.dispose()


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
    print_facts(facts, as_json=False)
    backends = [
        {"service": service["id"], **{k: v for k, v in backend.items() if k != "identity"}}
        for service in services
        for backend in service["backends"]
    ]
    print_rows(backends, as_json=False, title="backends")
    print_rows(sessions, as_json=False, title="sessions")


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
