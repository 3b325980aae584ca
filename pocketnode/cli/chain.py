"""`pocketnode chain`: deploy the contracts and see where they stand."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from pocketnode.chain import deployment as deployments
from pocketnode.chain.actor import sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Plan, deploy
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.market import Market
from pocketnode.cli.acting import ADDRESS, FILE, At, By, at_chain, by_key
from pocketnode.cli.busy import busy
from pocketnode.cli.coin import coin_of
from pocketnode.cli.output import json_option, print_facts, say
from pocketnode.crypto.keys import Key, checksum
from pocketnode.errors import ConfigError
from pocketnode.store.engine import open_store, sqlite_url


@click.group()
def chain() -> None:
    """Deploy the contracts and read the chain.

    \b
    Example:
      pocketnode chain status --rpc http://127.0.0.1:8545 --deployment deployment.json
    """


@chain.command("deploy")
@by_key
@click.option("--token", type=ADDRESS, help="The ERC-20 to pay in; a test token is deployed if not given.")
@click.option("--plan", "plan_file", type=FILE, help="A YAML file: spans, rules, charges, treasury, governance.")
@click.option("--local", is_flag=True, help="Short windows, for a chain on this machine.")
@json_option
def deploy_command(
    by: By,
    token: bytes | None,
    plan_file: Path | None,
    local: bool,
    as_json: bool,
) -> None:
    """Deploy all contracts, check them, and write the deployment file, which must not exist.

    After a failure run it again with the same options: it goes on where it stopped.

    \b
    Example:
      pocketnode chain deploy --rpc http://127.0.0.1:8545 --keystore deployer.json --local
    """
    file = by.at.file
    if file.exists():
        raise ConfigError(f"{file} exists: name another file, or check it with `pocketnode chain status`")
    plan, key = read_plan(plan_file, token, local), by.key()
    by.ask(f"{checksum(key.address)} deploys all contracts on the chain at {by.at.urls[0]} and pays the gas")
    with busy("deploying"):
        done = asyncio.run(_deploy(by.at.urls, key, plan, file))
    print_facts(facts_of(done), as_json)


@chain.command()
@at_chain
@json_option
def status(at: At, as_json: bool) -> None:
    """Show the head, the running session and the parameters.

    \b
    Example:
      pocketnode chain status --rpc http://127.0.0.1:8545 --deployment deployment.json
    """

    async def read(market: Market) -> dict[str, Any]:
        number = market.number_now()
        params = await market.params(number)
        end = params.anchor + (number + 1) * params.length - 1
        rules = {name: getattr(params, name) for name in ("suppliers", "fee", "quality_share", "w_min")}
        coin = await coin_of(market.reader)
        now = {"head": market.head, "session": number, "blocks_left": end - market.head + 1}
        return {**now, **rules, "symbol": coin.symbol, "decimals": coin.decimals}

    facts = at.look(read)
    print_facts({**facts, **facts_of(deployments.read(at.file))}, as_json)


def read_plan(path: Path | None, token: bytes | None, local: bool) -> Plan:
    """Return the plan in a file, with what the options say besides.

    Raises
    ------
    ConfigError
        the file cannot be read or breaks the schema; the message names file and field.
    """
    values: Any = {}
    try:
        if path is not None:
            values = yaml.safe_load(path.read_text()) or {}
        if local:
            values = {"spans": LOCAL_SPANS.model_dump(), **values}
        if token is not None:
            values = {**values, "token": token}
        return Plan.model_validate(values)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a readable plan") from error
    except (yaml.YAMLError, TypeError) as error:
        raise ConfigError(f"{path}: not a YAML mapping: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path or 'plan'}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def facts_of(deployment: Deployment) -> dict[str, Any]:
    """Return a deployment as commands print it."""
    contracts = deployment.contracts.model_dump(mode="json")
    return {"chain_id": deployment.chain_id, "block": deployment.block, **contracts}


async def _deploy(urls: tuple[str, ...], key: Key, plan: Plan, path: Path) -> Deployment:
    journal = path.with_name(path.name + ".journal")
    store = await asyncio.to_thread(open_store, sqlite_url(journal))
    async with Rpc(urls) as rpc, sending(rpc, key, store) as sender:
        done = await deploy(rpc, sender, plan, say)
    deployments.write(path, done)
    store.dispose()
    for file in (journal, Path(f"{journal}-wal"), Path(f"{journal}-shm")):
        file.unlink(missing_ok=True)
    return done
