"""`pocketnode explorer`: any deployment in a browser, from its logs alone; no key and no store is needed."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from aiohttp import web

from pocketnode import daemon
from pocketnode.chain.market import Market
from pocketnode.cli.acting import At, at_chain
from pocketnode.cli.output import say
from pocketnode.errors import ConfigError
from pocketnode.gateway.config import host_port
from pocketnode.store.engine import open_store
from pocketnode.store.explored import ExploredStore
from pocketnode.web.explorer import Explorer
from pocketnode.web.feed import Feed
from pocketnode.web.meter import Meter
from pocketnode.web.serve import Dashboard


@click.command()
@at_chain
@click.option(
    "--store",
    default="sqlite://",
    help="SQLAlchemy URL of where to keep what was read, so that a restart goes on from there; in memory if not given.",
)
@click.option("--listen", default="127.0.0.1:3080", show_default=True, help="Where browsers find it.")
def explorer(at: At, store: str, listen: str) -> None:
    """Show a deployment in a browser: services, suppliers, applications, sessions, money. Ctrl-C ends it.

    \b
    Example:
      pocketnode explorer --rpc http://127.0.0.1:8545 --deployment deployment.json --store sqlite:///explorer.db
    """
    asyncio.run(_serve(at, store, listen))


class ChainSource:
    """Facts of a chain alone."""

    def __init__(self, market: Market) -> None:
        self._market = market

    async def about(self) -> dict[str, Any]:
        return {"role": "explorer", "address": "", "pages": ["explorer"], "services": []}

    async def now(self) -> dict[str, Any]:
        return {"block": self._market.head}


async def _serve(at: At, store: str, listen: str) -> None:
    stop = daemon.stop_on_signals()
    engine = open_store(store)
    async with at.market() as market:
        shown, source = Explorer(market.reader, market, ExploredStore(engine)), ChainSource(market)
        feed = Feed(Meter(), source, None)
        app = web.Application()
        Dashboard(source, feed, panels=[shown]).attach(app)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await _listen(runner, listen)
            await daemon.run({"heads": market.heads.run, "explorer": shown.run, "dashboard": feed.run}, stop)
        finally:
            await runner.cleanup()
            engine.dispose()


async def _listen(runner: web.AppRunner, listen: str) -> None:
    try:
        host, port = host_port(listen)
        await web.TCPSite(runner, host, port).start()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--listen {listen}: {error}: choose another host:port") from error
    say(f"http://{host}:{runner.addresses[0][1]}/  (Ctrl-C ends it)")
