"""`pocketnode localnet env|fund`: what somebody needs who joins a local network with daemons and keys of his own."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any, Final

import click

from pocketnode.chain import deployment as deployments
from pocketnode.chain import operations
from pocketnode.chain.actor import acting
from pocketnode.chain.client import Rpc
from pocketnode.cli.acting import ADDRESS
from pocketnode.cli.busy import busy
from pocketnode.cli.coin import Amount, Coin, coin_of
from pocketnode.cli.localnet_folder import folder_option, found_plan
from pocketnode.cli.output import json_option, print_rows
from pocketnode.crypto.keys import checksum
from pocketnode.localnet import plan, state
from pocketnode.localnet.market import GAS_WEI
from pocketnode.localnet.plan import Plan
from pocketnode.localnet.state import Layout


@click.command()
@folder_option
def env(layout: Layout) -> None:
    """Print variables for a shell: where the chain, the contracts, the LLM and the gateway are, and its API key.

    \b
    Example:
      eval "$(pocketnode localnet env)"
    """
    state.need_running(layout)
    for name, value in variables(layout, found_plan(layout)).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
@click.argument("accounts", metavar="ADDRESS...", type=ADDRESS, nargs=-1, required=True)
@click.option("--tokens", type=click.IntRange(0), default=100_000, show_default=True, help="Whole test tokens.")
@folder_option
@json_option
def fund(accounts: tuple[bytes, ...], tokens: int, layout: Layout, as_json: bool) -> None:
    """Give each ADDRESS, or key file, gas and test tokens of the local network.

    \b
    Example:
      pocketnode localnet fund owner.json operator.json
    """
    state.need_running(layout)
    network = found_plan(layout)
    with busy("waiting for the chain"):
        rows = asyncio.run(_fund(layout, network, accounts, tokens))
    print_rows(rows, as_json, title="funded")


COMMANDS = (env, fund)
GAS: Final = Coin("ETH", 18)


def variables(layout: Layout, network: Plan) -> dict[str, str]:
    """Return what commands and guides read from the environment, by name."""
    return {
        "POCKETNODE_LOCALNET_DIR": str(layout.root),
        "POCKETNODE_DEPLOYMENT": str(layout.deployment),
        "POCKETNODE_RPC": network.url(plan.CHAIN),
        "POCKETNODE_GATEWAY_URL": network.url(plan.GATEWAY),
        "POCKETNODE_ADMIN_URL": network.admin_url(plan.GATEWAY),
        "POCKETNODE_API_KEY": layout.api_key.read_text().strip(),
        "POCKETNODE_LLM_URL": network.url(plan.LLM),
        "POCKETNODE_GATEWAY": network.addresses[plan.GATEWAY],
        "POCKETNODE_APPLICATION": network.addresses[plan.APPLICATION],
    }


async def _fund(layout: Layout, network: Plan, accounts: tuple[bytes, ...], tokens: int) -> list[dict[str, Any]]:
    """Anybody may make test tokens: the application's key does it here, which no daemon uses."""
    key, deployment = plan.key(layout, plan.APPLICATION), deployments.read(layout.deployment)
    rows = []
    async with Rpc([network.url(plan.CHAIN)]) as rpc, acting(rpc, deployment, key) as actor:
        coin = await coin_of(actor.reader)
        amount = tokens * 10**coin.decimals
        async with asyncio.TaskGroup() as group:
            for account in accounts:
                await rpc.ask("anvil_setBalance", checksum(account), hex(GAS_WEI))
                group.create_task(operations.mint(actor, account, amount))
        for account in accounts:
            balance = await operations.token_balance(actor.reader, account)
            rows.append({"address": checksum(account), "tokens": Amount(balance, coin), "gas": Amount(GAS_WEI, GAS)})
    return rows
