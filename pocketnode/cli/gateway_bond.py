"""`pocketnode gateway bond|thaw|unbond`: what a gateway puts up for its suppliers (rule 5.15)."""

from __future__ import annotations

from typing import Any

import click

from pocketnode.chain import operations
from pocketnode.chain.actor import Actor
from pocketnode.cli.acting import ADDRESS, By, by_key
from pocketnode.cli.coin import Amount, coin_of
from pocketnode.cli.output import json_option, print_facts
from pocketnode.crypto.keys import checksum

amount_argument = click.argument("amount", type=click.IntRange(1))


@click.command()
@amount_argument
@click.option("--gateway", "address", type=ADDRESS, help="Whose bond; the acting key's own if not given.")
@by_key
@json_option
def bond(amount: int, address: bytes | None, by: By, as_json: bool) -> None:
    """Add AMOUNT base units to a gateway's bond.

    \b
    Example:
      pocketnode gateway bond 1000000 --keystore gateway.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        owner = address or actor.address
        await operations.bond_gateway(actor, owner, amount)
        return await _facts(actor, owner)

    whose = f"the bond of {checksum(address)}" if address else "its bond"
    print_facts(by.act(lambda coin: f"pays {coin.shown(amount)} into {whose} as a gateway", work), as_json)


@click.command()
@amount_argument
@by_key
@json_option
def thaw(amount: int, by: By, as_json: bool) -> None:
    """Start to take AMOUNT base units out of the bond.

    \b
    Example:
      pocketnode gateway thaw 1000 --keystore gateway.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.thaw_gateway(actor, amount)
        return await _facts(actor, actor.address)

    print_facts(by.act(lambda coin: f"starts to take {coin.shown(amount)} out of its bond", work), as_json)


@click.command()
@click.option("--to", type=ADDRESS, help="Who gets it; the acting key's own address if not given.")
@by_key
@json_option
def unbond(to: bytes | None, by: By, as_json: bool) -> None:
    """Send out what has thawed of the bond.

    \b
    Example:
      pocketnode gateway unbond --keystore gateway.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.unbond_gateway(actor, to or actor.address)
        return await _facts(actor, actor.address)

    receiver = checksum(to) if to else "itself"
    print_facts(by.act(lambda _coin: f"sends what has thawed of its bond to {receiver}", work), as_json)


COMMANDS = (bond, thaw, unbond)


async def _facts(actor: Actor, gateway: bytes) -> dict[str, Any]:
    (found,) = await actor.reader.call("Gateways", "bondOf", gateway)
    bonded, thawing, thaws_at = found
    coin = await coin_of(actor.reader)
    facts = {"gateway": checksum(gateway), "bond": Amount(bonded, coin), "thawing": Amount(thawing, coin)}
    return {**facts, "thaws_at_block": thaws_at}
