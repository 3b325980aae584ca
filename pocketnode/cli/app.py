"""`pocketnode app`: an application's escrow and its grants."""

from __future__ import annotations

from typing import Any

import click

from pocketnode.chain import operations
from pocketnode.chain.actor import Actor
from pocketnode.chain.market import Market
from pocketnode.cli.acting import ADDRESS, SERVICE, At, By, at_chain, by_key
from pocketnode.cli.coin import Amount, Coin, coin_of
from pocketnode.cli.output import json_option, print_facts, print_rows
from pocketnode.crypto.keys import checksum
from pocketnode.protocol.session import service_name


@click.group()
def app() -> None:
    """An application's escrow and grants. Amounts are base units of the token.

    \b
    Example:
      pocketnode app show 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --rpc http://127.0.0.1:8545
    """


amount_argument = click.argument("amount", type=click.IntRange(1))
gateway_argument = click.argument("gateway", type=ADDRESS)
service_argument = click.argument("service", type=SERVICE)


@app.command()
@amount_argument
@click.option("--application", type=ADDRESS, help="Whose escrow; the acting key's own if not given.")
@by_key
@json_option
def deposit(
    amount: int,
    application: bytes | None,
    by: By,
    as_json: bool,
) -> None:
    """Add AMOUNT to an escrow.

    \b
    Example:
      pocketnode app deposit 1000000 --rpc http://127.0.0.1:8545 --keystore application.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        owner = application or actor.address
        await operations.deposit(actor, owner, amount)
        return await _escrow(actor, owner)

    whose = f"the escrow of {checksum(application)}" if application else "its escrow"
    print_facts(by.act(lambda coin: f"pays {coin.shown(amount)} into {whose}", work), as_json)


@app.command()
@gateway_argument
@service_argument
@click.option("--cap", type=click.IntRange(1), required=True, help="Most to spend in a session, base units.")
@click.option(
    "--expiry", type=click.IntRange(0), default=operations.FOREVER, help="Last session; for ever if not given."
)
@by_key
@json_option
def grant(
    gateway: bytes,
    service: bytes,
    cap: int,
    expiry: int,
    by: By,
    as_json: bool,
) -> None:
    """Let GATEWAY spend up to a cap in each session of SERVICE, from the next session on.

    \b
    Example:
      pocketnode app grant 0x3C44... eth --cap 50000 --rpc http://127.0.0.1:8545 --keystore application.json
    """
    name, till = service_name(service), "" if expiry == operations.FOREVER else f", up to session {expiry}"

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.grant(actor, gateway, service, cap, expiry)
        return _granted(gateway, service, cap, expiry, await coin_of(actor.reader))

    def will(coin: Coin) -> str:
        return f"lets {checksum(gateway)} spend up to {coin.shown(cap)} in each session of {name}{till}"

    print_facts(by.act(will, work), as_json)


@app.command()
@gateway_argument
@service_argument
@by_key
@json_option
def revoke(
    gateway: bytes,
    service: bytes,
    by: By,
    as_json: bool,
) -> None:
    """Take GATEWAY's grant for SERVICE back, from the next session on.

    \b
    Example:
      pocketnode app revoke 0x3C44... eth --rpc http://127.0.0.1:8545 --keystore application.json
    """
    name = service_name(service)
    by.act(
        lambda _coin: f"lets {checksum(gateway)} spend nothing more in {name} from the next session on",
        lambda actor: operations.revoke(actor, gateway, service),
    )
    print_facts({"gateway": checksum(gateway), "service": name, "cap": 0}, as_json)


@app.command()
@amount_argument
@by_key
@json_option
def thaw(amount: int, by: By, as_json: bool) -> None:
    """Start to take AMOUNT out of the escrow; until it has thawed it still pays what is owed.

    \b
    Example:
      pocketnode app thaw 1000 --rpc http://127.0.0.1:8545 --keystore application.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.thaw_escrow(actor, amount)
        return await _escrow(actor, actor.address)

    print_facts(by.act(lambda coin: f"starts to take {coin.shown(amount)} out of its escrow", work), as_json)


@app.command()
@click.option("--to", type=ADDRESS, help="Who gets it; the acting key's own address if not given.")
@by_key
@json_option
def withdraw(to: bytes | None, by: By, as_json: bool) -> None:
    """Send out what has thawed.

    \b
    Example:
      pocketnode app withdraw --rpc http://127.0.0.1:8545 --keystore application.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.withdraw_escrow(actor, to or actor.address)
        return await _escrow(actor, actor.address)

    receiver = checksum(to) if to else "itself"
    print_facts(by.act(lambda _coin: f"sends what has thawed of its escrow to {receiver}", work), as_json)


@app.command()
@click.argument("application", type=ADDRESS)
@at_chain
@json_option
def show(application: bytes, at: At, as_json: bool) -> None:
    """Show APPLICATION's escrow and grants.

    \b
    Example:
      pocketnode app show 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --rpc http://127.0.0.1:8545
    """

    async def read(market: Market) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        (listed,) = await market.reader.call("Escrow", "grantsOf", application)
        coin = await coin_of(market.reader)
        rows = [_granted(to, service, cap, expiry, coin) for to, service, cap, expiry in listed]
        return await _escrow(market, application), rows

    facts, grants = at.look(read)
    if as_json:
        print_facts({**facts, "grants": grants}, as_json=True)
        return
    print_facts(facts, as_json=False)
    print_rows(grants, as_json=False, title="grants")


def _granted(gateway: bytes, service: bytes, cap: int, expiry: int, coin: Coin) -> dict[str, Any]:
    facts = {"gateway": checksum(gateway), "service": service_name(service), "cap": Amount(cap, coin)}
    return {**facts, "expiry": LastSession(expiry)}


class LastSession(int):
    """A session's number, as it is printed where it stands for no end."""

    def __str__(self) -> str:
        return "none" if self == operations.FOREVER else format(int(self), ",")


async def _escrow(reading: Actor | Market, application: bytes) -> dict[str, Any]:
    (account,) = await reading.reader.call("Escrow", "accountOf", application)
    balance, _, _, thawing, thaws_at = account
    coin = await coin_of(reading.reader)
    facts = {"application": checksum(application), "escrow": Amount(balance, coin)}
    return {**facts, "thawing": Amount(thawing, coin), "thaws_at_block": thaws_at}
