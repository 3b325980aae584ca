"""`pocketnode session`: the suppliers and the books of a session."""

from __future__ import annotations

from typing import Any

import click

from pocketnode.chain.actor import Actor
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.cli.acting import ADDRESS, SERVICE, At, By, at_chain, by_key
from pocketnode.cli.coin import Amount, Coin, coin_of, price
from pocketnode.cli.output import json_option, print_facts, print_rows
from pocketnode.cli.session_report import report
from pocketnode.crypto.keys import checksum
from pocketnode.errors import BadInput, NotFound
from pocketnode.protocol.session import service_name
from pocketnode.protocol.types import Session
from pocketnode.settlement.books import Book, book_of, pots_on_chain
from pocketnode.settlement.withdrawing import POTS_MOST


@click.group()
def session() -> None:
    """Who serves in a session, and what it paid.

    \b
    Example:
      pocketnode session list --rpc http://127.0.0.1:8545
    """


@session.command()
@click.argument("pot")
@at_chain
@json_option
def show(pot: str, at: At, as_json: bool) -> None:
    """Show the books of POT: what each supplier is owed, how well it served, what it gets, and what that waits for.

    POT is a pot's id, or a session's id if only one gateway was in it; `session list` prints both.

    \b
    Example:
      pocketnode session show 0x5be1... --rpc http://127.0.0.1:8545
    """
    wanted = _id(pot)

    async def read(market: Market) -> tuple[Book, Coin]:
        found = [f for f in await pots_on_chain(market) if wanted in (f.id, f.session)]
        if len(found) != 1:
            raise NotFound(f"{len(found)} pots of {pot} on chain: name one of `pocketnode session list`")
        return await book_of(market, found[0]), await coin_of(market.reader)

    book, coin = at.look(read)
    facts, rows = facts_of(book, coin), rows_of(book, coin)
    if as_json:
        print_facts({**facts, "suppliers": rows}, as_json=True)
        return
    print_facts(facts, as_json=False)
    print_rows(rows, as_json=False, title="suppliers")


@session.command("list")
@click.option("--since", type=click.IntRange(0), help="First block to read; the deployment's if not given.")
@at_chain
@json_option
def list_command(since: int | None, at: At, as_json: bool) -> None:
    """List every pot that was stated or claimed, with what it paid and whether it balances.

    \b
    Example:
      pocketnode session list --rpc http://127.0.0.1:8545
    """

    async def read(market: Market) -> list[dict[str, Any]]:
        coin = await coin_of(market.reader)
        return [facts_of(await book_of(market, facts), coin) for facts in await pots_on_chain(market, since)]

    print_rows(at.look(read), as_json, title="pots")


@session.command()
@by_key
@json_option
def collect(by: By, as_json: bool) -> None:
    """Pay out the fees of all final pots, to the services' owners and the treasury. Anyone may.

    \b
    Example:
      pocketnode session collect --rpc http://127.0.0.1:8545 --keystore anyone.json
    """

    async def work(actor: Actor) -> dict[str, Any]:
        heads = Heads(actor.reader.rpc)
        await heads.refresh()
        return await collect_all(actor, Market(actor.reader, heads))

    will = "sends the fees of all final pots to the services' owners and the treasury"
    print_facts(by.act(lambda _coin: will, work), as_json)


async def collect_all(actor: Actor, market: Market) -> dict[str, Any]:
    """Collect from every pot that is final and not collected; return how many and how much."""
    open_pots = {facts.id: facts for facts in await pots_on_chain(market) if facts.collected is None}
    final = [book for book in [await book_of(market, facts) for facts in open_pots.values()] if book.final]
    for at in range(0, len(final), POTS_MOST):
        references = [(open_pots[book.pot].key, open_pots[book.pot].priced) for book in final[at : at + POTS_MOST]]
        await actor.do("Settlement", "collect", references)
    return {"pots": len(final), "collected": Amount(sum(book.fee for book in final), await coin_of(market.reader))}


@session.command()
@click.argument("application", type=ADDRESS)
@click.argument("service", type=SERVICE)
@click.option("--number", type=click.IntRange(0), help="The running session if not given.")
@at_chain
@json_option
def suppliers(application: bytes, service: bytes, number: int | None, at: At, as_json: bool) -> None:
    """List who serves APPLICATION in SERVICE, in rank order.

    \b
    Example:
      pocketnode session suppliers 0x7099... eth --rpc http://127.0.0.1:8545
    """

    async def read(market: Market) -> tuple[Session, Coin]:
        wanted = market.number_now() if number is None else number
        return await market.session(application, service, wanted), await coin_of(market.reader)

    found, coin = at.look(read)
    rows = [
        {
            "rank": rank,
            "registration": supplier.registration,
            "operator": checksum(supplier.operator),
            "price": price(supplier.price, coin),
            "endpoint": supplier.endpoint,
        }
        for rank, supplier in enumerate(found.suppliers)
    ]
    covered = "covered" if found.covered else "not covered by escrow"
    print_rows(rows, as_json, title=f"session {found.number}, blocks {found.start} to {found.end}, {covered}")


session.add_command(report)


def facts_of(book: Book, coin: Coin) -> dict[str, Any]:
    """Return a pot as commands print it."""
    return {
        "session": book.number,
        "service": service_name(book.service),
        "application": checksum(book.application),
        "gateway": checksum(book.gateway),
        "pot": f"0x{book.pot.hex()}",
        "stated": book.stated,
        "final": book.final,
        "units": sum(line.units for line in book.lines),
        "pay": Amount(sum(line.pay for line in book.lines), coin),
        "fee": Amount(book.fee, coin),
        "debit": Amount(book.debit, coin),
        "balances": book.balances,
        "fee_waits_for": _wait(book, book.collected is not None, "session collect, which anyone may send"),
    }


def rows_of(book: Book, coin: Coin) -> list[dict[str, Any]]:
    """Return a pot's suppliers as commands print them."""
    return [
        {
            "rank": line.rank,
            "registration": line.registration,
            "operator": checksum(line.operator),
            "units": line.units,
            "quality": line.quality / 10_000,
            "owed": Amount(line.owed, coin),
            "stated": Amount(line.stated, coin),
            "claimed": Amount(line.claimed, coin),
            "pay": Amount(line.pay, coin),
            "compensation": Amount(line.compensation, coin),
            "slashed": Amount(line.slashed, coin),
            "payable": Amount(line.pay + line.compensation if book.final and line.withdrawn is None else 0, coin),
            "withdrawn": None if line.withdrawn is None else Amount(line.withdrawn, coin),
            "waits_for": _wait(book, line.withdrawn is not None, "a withdrawal, which anyone may send"),
        }
        for line in book.lines
    ]


def _wait(book: Book, done: bool, what: str) -> str:
    if done:
        return "nothing"
    return what if book.final else f"block {book.payable_from}, when the claim window has closed"


def _id(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise BadInput(f"{text!r} is not a pot or session id: 0x and 64 hex digits")
    return raw
