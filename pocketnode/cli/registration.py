"""`pocketnode supplier update|bond|leave|stay|unbond|registration`: what a supplier's owner does on chain."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from pocketnode.chain import operations
from pocketnode.chain.actor import Actor
from pocketnode.chain.market import Market
from pocketnode.chain.operations import Profile
from pocketnode.chain.registrations import Registration, registration_of
from pocketnode.cli.acting import ADDRESS, FILE, At, By, at_chain, by_key
from pocketnode.cli.coin import Amount, Coin, coin_of
from pocketnode.cli.coin import price as prices
from pocketnode.cli.keys import password_of
from pocketnode.cli.output import json_option, print_facts
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key, checksum
from pocketnode.errors import BadInput
from pocketnode.protocol.session import service_name

registration_argument = click.argument("registration", type=click.IntRange(1))


class PayoutParam(click.ParamType[tuple[bytes, int]]):
    """`ADDRESS:SHARE`, the share in ten-thousandths."""

    name = "address:share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bytes, int]:
        if isinstance(value, tuple):
            return value
        account, _, share = str(value).partition(":")
        if not (share or "10000").isdigit():
            self.fail(f"{share!r} is not a share in 1/10,000", param, ctx)
        return ADDRESS.convert(account, param, ctx), int(share or 10_000)


payout_option = click.option(
    "--payout", "payouts", type=PayoutParam(), multiple=True, help="ADDRESS:SHARE in 1/10,000; the owner if not given."
)
operator_option = click.option(
    "--operator", "operator_file", type=FILE, help="Keystore of the operator key; the owner's key if not given."
)
operator_password_option = click.option(
    "--operator-password-file", type=FILE, help="A file whose first line is the operator key's password."
)
fingerprint_option = click.option("--fingerprint", default="", help="SHA-256 of the TLS certificate, in hex.")


@click.command()
@registration_argument
@click.option("--endpoint", help="The new host:port.")
@click.option("--price", type=click.IntRange(0), help="The new price, base units per million units.")
@payout_option
@fingerprint_option
@operator_option
@operator_password_option
@by_key
@json_option
def update(
    registration: int,
    endpoint: str | None,
    price: int | None,
    payouts: tuple[tuple[bytes, int], ...],
    fingerprint: str,
    operator_file: Path | None,
    operator_password_file: Path | None,
    by: By,
    as_json: bool,
) -> None:
    """Change a registration from the next session on; what is not given stays.

    \b
    Example:
      pocketnode supplier update 3 --price 3500 --keystore owner.json
    """
    operator = _operator(operator_file, operator_password_file)

    async def work(actor: Actor) -> dict[str, Any]:
        now = await registration_of(actor.reader, registration)
        if price is not None:
            await operations.set_price(actor, registration, price)
        profile = Profile(
            operator.address if operator else now.operator,
            endpoint or now.endpoint,
            payouts or now.payouts,
            _fingerprint(fingerprint) if fingerprint else now.fingerprint,
        )
        if profile != Profile(now.operator, now.endpoint, now.payouts, now.fingerprint):
            await operations.update(actor, registration, now.service, profile, operator)
        return await _facts(actor, registration)

    def will(coin: Coin) -> str:
        said = {"endpoint": endpoint, "price": None if price is None else prices(price, coin)}
        said |= {"payouts": _payouts(payouts), "fingerprint": fingerprint}
        said |= {"operator": checksum(operator.address) if operator else None}
        changes = [f"{name} to {value}" for name, value in said.items() if value]
        return f"changes of registration {registration} the {', the '.join(changes) or 'nothing'}"

    print_facts(by.act(will, work), as_json)


@click.command()
@registration_argument
@click.argument("amount", type=click.IntRange(1))
@by_key
@json_option
def bond(registration: int, amount: int, by: By, as_json: bool) -> None:
    """Add AMOUNT base units to a registration's bond.

    \b
    Example:
      pocketnode supplier bond 3 1000000 --keystore owner.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.bond_registration(actor, registration, amount)
        return await _facts(actor, registration)

    print_facts(
        by.act(lambda coin: f"pays {coin.shown(amount)} into the bond of registration {registration}", work), as_json
    )


@click.command()
@registration_argument
@by_key
@json_option
def leave(registration: int, by: By, as_json: bool) -> None:
    """Leave: the whole bond thaws, and no session lists the registration any more.

    \b
    Example:
      pocketnode supplier leave 3 --keystore owner.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.leave(actor, registration)
        return await _facts(actor, registration)

    print_facts(
        by.act(lambda _coin: f"lists registration {registration} in no further session; its whole bond thaws", work),
        as_json,
    )


@click.command()
@registration_argument
@by_key
@json_option
def stay(registration: int, by: By, as_json: bool) -> None:
    """Cancel a leave: what thaws is bonded again.

    \b
    Example:
      pocketnode supplier stay 3 --keystore owner.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.stay(actor, registration)
        return await _facts(actor, registration)

    print_facts(
        by.act(lambda _coin: f"lists registration {registration} again; what thaws of its bond is bonded again", work),
        as_json,
    )


@click.command()
@registration_argument
@click.option("--to", type=ADDRESS, help="Who gets it; the acting key's own address if not given.")
@by_key
@json_option
def unbond(registration: int, to: bytes | None, by: By, as_json: bool) -> None:
    """Send out what has thawed of a registration's bond.

    \b
    Example:
      pocketnode supplier unbond 3 --keystore owner.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.unbond_registration(actor, registration, to or actor.address)
        return await _facts(actor, registration)

    receiver = checksum(to) if to else "itself"
    will = f"sends what has thawed of the bond of registration {registration} to {receiver}"
    print_facts(by.act(lambda _coin: will, work), as_json)


@click.command("registration")
@registration_argument
@at_chain
@json_option
def show_registration(registration: int, at: At, as_json: bool) -> None:
    """Show a registration as it stands from the next session on.

    \b
    Example:
      pocketnode supplier registration 3 --rpc http://127.0.0.1:8545
    """

    async def read(market: Market) -> dict[str, Any]:
        return facts_of(await market.registration(registration), await coin_of(market.reader))

    print_facts(at.look(read), as_json)


COMMANDS = (update, bond, leave, stay, unbond, show_registration)


def facts_of(found: Registration, coin: Coin) -> dict[str, Any]:
    """Return a registration as commands print it."""
    return {
        "registration": found.id,
        "service": service_name(found.service),
        "owner": checksum(found.owner),
        "operator": checksum(found.operator),
        "endpoint": found.endpoint,
        "price": prices(found.price, coin),
        "listed": found.listed,
        "bond": Amount(found.bond, coin),
        "thawing": Amount(found.thawing, coin),
        "thaws_at_block": found.thaws_at,
        "payouts": _payouts(found.payouts),
    }


async def _facts(actor: Actor, registration: int) -> dict[str, Any]:
    return facts_of(await registration_of(actor.reader, registration), await coin_of(actor.reader))


def _payouts(payouts: Iterable[tuple[bytes, int]]) -> str:
    return ", ".join(f"{checksum(account)}:{share}" for account, share in payouts)


def _fingerprint(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.removeprefix("0x").replace(":", "")) or bytes(32)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise BadInput(f"fingerprint {text!r}: give the 64 hex digits of a SHA-256")
    return raw


def _operator(file: Path | None, password_file: Path | None) -> Key | None:
    return None if file is None else keystore.load(file, password_of(password_file, confirm=False))
