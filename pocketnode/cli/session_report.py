"""`pocketnode session report`: have a supplier slashed for two answers to one receipt (rule 5.16)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pocketnode.chain import deployment as deployments
from pocketnode.chain.actor import Actor
from pocketnode.chain.contracts import contract
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.cli.acting import ADDRESS, By, by_key
from pocketnode.cli.coin import Amount, coin_of
from pocketnode.cli.output import json_option, print_facts
from pocketnode.cli.verify import checked_of, file_type, number_of
from pocketnode.crypto.keys import checksum
from pocketnode.errors import BadInput
from pocketnode.gateway.trust import read_proof
from pocketnode.gateway.verifying import Verified
from pocketnode.protocol.session import service_id
from pocketnode.protocol.types import ZERO32, SignedReceipt, SignedResponse
from pocketnode.settlement.equivocation import Contradiction, contradiction_of
from pocketnode.store.receipts import KeptReceipt


@click.command()
@click.argument("application", type=ADDRESS)
@click.argument("service")
@click.option("--request", "request_file", type=file_type, required=True, help="The body that was sent.")
@click.option("--answer", "answers", type=file_type, multiple=True, required=True, help="An answer; give two.")
@click.option("--headers", "headers", type=file_type, multiple=True, required=True, help="Its headers; give two.")
@click.option("--path", "path", default="/", show_default=True, help="/ for JSON-RPC, else the OpenAI path.")
@click.option("--number", type=click.IntRange(0), help="The session's number; looked for if not given.")
@by_key
@json_option
def report(
    application: bytes,
    service: str,
    request_file: Path,
    answers: tuple[Path, ...],
    headers: tuple[Path, ...],
    path: str,
    number: int | None,
    by: By,
    as_json: bool,
) -> None:
    """Report a supplier that signed two answers to one receipt. Anyone may; a share of its bond goes to the treasury.

    Answers and headers are saved as for `pocketnode verify`. A gateway reports by itself what suppliers claim with.

    \b
    Example:
      pocketnode session report 0x7099... eth --request request --answer a --headers ha --answer b --headers hb
    """
    if len(answers) != 2 or len(headers) != 2:
        raise BadInput("give two answers, and the headers of each")
    deployed = deployments.read(by.at.file)
    saved = [checked_of(deployed, request_file, a, h, path) for a, h in zip(answers, headers, strict=True)]
    (first, signed), (_, other) = ((checked, _signed(checked, proof)) for checked, proof in saved)

    async def work(actor: Actor) -> dict[str, Any]:
        heads = Heads(actor.reader.rpc)
        await heads.refresh()
        now = Market(actor.reader, heads).number_now()
        found = number if number is not None else number_of(now, application, service, first)
        kept = KeptReceipt(
            application, service_id(service), found, bytes(20), SignedReceipt(first.receipt, b""), signed
        )
        return await send(actor, contradiction_of(kept, other, deployed.domain))

    will = f"reports {checksum(first.receipt.supplier)}, which loses a share of its bond"
    print_facts(by.act(lambda _coin: will, work), as_json)


async def send(actor: Actor, found: Contradiction) -> dict[str, Any]:
    """Send a report, and return what the supplier lost by it."""
    mined = await actor.do("Settlement", "reportEquivocation", *found.arguments)
    topic = contract("Settlement").topic("SupplierFaulted").hex()
    slashed = [int(log["data"], 16) for log in mined.receipt.get("logs", ()) if log["topics"][0] == "0x" + topic]
    return {
        "supplier": checksum(found.receipt.supplier),
        "session": found.number,
        "receipt": "0x" + found.digest.hex(),
        "slashed": Amount(sum(slashed), await coin_of(actor.reader)),
    }


def _signed(checked: Verified, proof: str) -> SignedResponse:
    _, given = read_proof(proof, ZERO32, ZERO32, ZERO32)
    return SignedResponse(checked.response, given.signature)
