"""`pocketnode settlement`: what a daemon's store says of its money, and what each part of it waits for."""

from __future__ import annotations

from typing import Any

import click

from pocketnode.cli.acting import ADDRESS
from pocketnode.cli.output import json_option, print_rows
from pocketnode.crypto.keys import checksum
from pocketnode.protocol.session import service_name
from pocketnode.store.engine import open_store
from pocketnode.store.journal import Journal
from pocketnode.store.pots import Pot, PotStage, PotStore

WAITS_FOR = {
    PotStage.OPEN: "the end of the session or of the statement window",
    PotStage.STATED: "the end of the claim window",
    PotStage.CLAIMED: "the end of the claim window",
    PotStage.PAYABLE: "the next withdrawal",
    PotStage.PAID: "nothing",
    PotStage.EMPTY: "nothing",
    PotStage.MISSED: "nothing any more",
}
store_option = click.option("--store", required=True, help="URL of the daemon's database, as in its configuration.")
party_option = click.option("--party", type=ADDRESS, required=True, help="Address of the gateway or operator key.")


@click.group()
def settlement() -> None:
    """What is owed, stated, claimed, payable and paid. Amounts are base units.

    \b
    Example:
      pocketnode settlement status --store sqlite:////var/lib/pocketnode/state.db --party 0x3C44...
    """


@settlement.command()
@store_option
@party_option
@click.option("--all", "everything", is_flag=True, help="Also what is finished.")
@json_option
def status(store: str, party: bytes, everything: bool, as_json: bool) -> None:
    """Show the pots of a gateway or supplier, and what each waits for.

    \b
    Example:
      pocketnode settlement status --store sqlite:////var/lib/pocketnode/state.db --party 0x3C44...
    """
    pots = PotStore(open_store(store), party)
    print_rows(map(row_of, pots.all() if everything else pots.unfinished()), as_json, title="pots")


@settlement.command()
@store_option
@party_option
@json_option
def transactions(store: str, party: bytes, as_json: bool) -> None:
    """Show the transactions of a key that are under way.

    \b
    Example:
      pocketnode settlement transactions --store sqlite:////var/lib/pocketnode/state.db --party 0x3C44...
    """
    journal = Journal(open_store(store), party)
    rows = [
        {
            "key": entry.intent.key,
            "stage": str(entry.stage),
            "nonce": entry.nonce,
            "attempts": len(journal.attempts(entry.intent.key)),
            "deadline": entry.intent.deadline,
        }
        for entry in journal.live()
    ]
    print_rows(rows, as_json, title="transactions")


def row_of(pot: Pot) -> dict[str, Any]:
    """Return a pot as commands print it."""
    return {
        "session": pot.number,
        "service": service_name(pot.service),
        "application": checksum(pot.application),
        "pot": f"0x{pot.id.hex()}",
        "stage": str(pot.stage),
        "earned": pot.earned,
        "stated": pot.stated,
        "claimed": pot.claimed,
        "paid": pot.paid,
        "waits_for": WAITS_FOR[pot.stage],
        "until_block": pot.until,
        "note": pot.note,
    }
