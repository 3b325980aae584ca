"""`pocketnode settlement`: what a daemon's store says of its money, and what each part of it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from pocketnode.cli.acting import ADDRESS
from pocketnode.cli.output import json_option, print_rows
from pocketnode.crypto.keys import checksum
from pocketnode.protocol.session import service_name
from pocketnode.store.audits import AuditRow, AuditStage, AuditStore
from pocketnode.store.engine import open_store
from pocketnode.store.journal import Entry, Journal
from pocketnode.store.pots import FINISHED, Pot, PotStage, PotStore

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
    """Show the pots of a gateway or supplier, what each waits for, and which statements differ from their records.

    Amounts are before fee and quality, but for what was paid.

    \b
    Example:
      pocketnode settlement status --store sqlite:////var/lib/pocketnode/state.db --party 0x3C44...
    """
    engine = open_store(store)
    pots = PotStore(engine, party)
    live = Journal(engine, party).live()
    audits = {row.pot: row for row in AuditStore(engine, party).all()}
    shown = pots.all() if everything else pots.unfinished()
    print_rows([row_of(pot, live, audits.get(pot.id)) for pot in shown], as_json, title="pots (amounts are base units)")


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


def row_of(pot: Pot, live: Sequence[Entry], audit: AuditRow | None) -> dict[str, Any]:
    """Return a pot as commands print it.

    Parameters
    ----------
    live : the party's transactions that are under way.
    audit : what recomputing the statement gave, for a supplier.
    """
    worth = max(pot.stated, pot.claimed)
    differs = audit.note if audit is not None and audit.stage is AuditStage.DIFFERS else ""
    return {
        "session": pot.number,
        "service": service_name(pot.service),
        "application": checksum(pot.application),
        "pot": f"0x{pot.id.hex()}",
        "stage": str(pot.stage),
        "owed": 0 if pot.stage in FINISHED else max(pot.earned, worth),
        "earned": pot.earned,
        "stated": pot.stated,
        "claimed": pot.claimed,
        "payable": worth if pot.stage is PotStage.PAYABLE else 0,
        "paid": pot.paid,
        "waits_for": _wait(pot, live),
        "until_block": pot.until,
        "audit": str(audit.stage) if audit is not None else "",
        "note": "; ".join(filter(None, (pot.note, differs))),
    }


def _wait(pot: Pot, live: Sequence[Entry]) -> str:
    """Return what a pot waits for: a transaction of its own that is under way comes before its stage."""
    for entry in live:
        kind, _, rest = entry.intent.key.partition(":")
        if rest.startswith(pot.id.hex()):
            where = f"sent {entry.nonce}" if entry.nonce is not None else "not sent yet"
            return f"its {kind} to be mined and confirmed ({where})"
    return WAITS_FOR[pot.stage]
