"""`pocketnode verify`: was a saved answer really given by a bonded supplier of that session, to that request?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.cli.acting import ADDRESS
from pocketnode.cli.busy import busy
from pocketnode.cli.output import json_option, print_facts
from pocketnode.cli.verify_root import under_root
from pocketnode.crypto.keys import checksum
from pocketnode.errors import BadInput, NotFound, RemoteError
from pocketnode.gateway.llm_codec import with_model
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.saved import batch_item, signed_events
from pocketnode.gateway.trust import MODEL, PINNED, PROOF
from pocketnode.gateway.verifying import Verified, as_relayed
from pocketnode.gateway.verifying import verify as verify_proof
from pocketnode.protocol.payload import AnswerHead, RequestHead, encode_answer, encode_request
from pocketnode.protocol.session import service_id, session_id

file_type = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option(
    "--deployment",
    type=file_type,
    default=Path("deployment.json"),
    show_default=True,
    envvar="POCKETNODE_DEPLOYMENT",
    help="The deployment file.",
)
@click.option(
    "--rpc",
    multiple=True,
    envvar="POCKETNODE_RPC",
    help="A node of the chain that settles; without one the session is not checked.",
)
@click.option("--request", "request_file", type=file_type, required=True, help="The body that was sent.")
@click.option("--answer", "answer_file", type=file_type, required=True, help="The body that came, byte for byte.")
@click.option("--headers", "headers_file", type=file_type, help="The answer's headers, as `curl -D FILE` saves them.")
@click.option("--proof", help=f"The value of {PROOF}, where there is no header file.")
@click.option(
    "--item", type=int, help="Which item of a batch, counted from 0, where --request and --answer are batches."
)
@click.option("--path", "path", default="/", show_default=True, help="/ for JSON-RPC, else the OpenAI path.")
@click.option("--content-type", help="The answer's type, where there is no header file.")
@click.option("--application", type=ADDRESS, help="Who paid: to check the session.")
@click.option("--service", help="The service: to check the session.")
@click.option(
    "--gateway",
    "gateway_url",
    help="The gateway's URL, with --api-key: to check the statement's root.",
)
@click.option("--api-key", envvar="POCKETNODE_API_KEY", help="A key of that gateway.")
@click.option("--number", type=int, help="The session's number; the one that runs now if not given.")
@json_option
def verify(**given: Any) -> None:
    """Check a saved answer against its proof.

    Offline it shows that the named supplier signed this very answer to this very request. With --rpc, --application
    and --service it also shows that this supplier was in that session; with --gateway, once the session is stated, that
    the answer's record is under the root that the statement put on chain. A stream and a batch are saved whole, and
    asked for with the header `x-pocketnode-verify: 1`; --item picks one of a batch.

    \b
    Example:
      curl -s -D headers -o answer http://127.0.0.1:3069/rpc/eth -H "Authorization: Bearer $KEY" --data-binary @request
      pocketnode verify --request request --answer answer --headers headers
    """
    as_json = given.pop("as_json")
    with busy("checking"):
        facts = _verify(**given)
    print_facts(facts, as_json)


def _verify(
    deployment: Path,
    rpc: tuple[str, ...],
    request_file: Path,
    answer_file: Path,
    headers_file: Path | None,
    proof: str | None,
    path: str,
    content_type: str | None,
    item: int | None,
    application: bytes | None,
    service: str | None,
    number: int | None,
    gateway_url: str | None,
    api_key: str | None,
) -> dict[str, Any]:
    deployed = deployments.read(deployment)
    checked, _ = checked_of(deployed, request_file, answer_file, headers_file, path, proof, content_type, item)
    facts = {
        "signed_by": checksum(checked.receipt.supplier),
        "session": "0x" + checked.receipt.session.hex(),
        "relay": "0x" + checked.relay.hex(),
        "units": checked.response.units,
        "first_byte_ms": checked.response.first_byte_ms,
        "done_ms": checked.response.done_ms,
        "backend": "0x" + checked.response.backend.hex(),
    }
    if rpc and application and service:
        asked = (gateway_url, api_key) if gateway_url and api_key else None
        facts |= asyncio.run(_in_session(deployed, rpc, application, service, number, checked, asked))
    return facts


def checked_of(
    deployed: deployments.Deployment,
    request_file: Path,
    answer_file: Path,
    headers_file: Path | None,
    path: str = "/",
    proof: str | None = None,
    content_type: str | None = None,
    item: int | None = None,
) -> tuple[Verified, str]:
    """Return what a saved answer's proof says, checked, and the proof.

    Raises
    ------
    BadInput
        there is no proof.
    RemoteError
        rule 3.10: it is over another request or answer.
    """
    lines = headers_file.read_text(errors="replace").splitlines() if headers_file else []
    answer_type = content_type or _value(lines, "content-type") or "application/json"
    request, answer = request_file.read_bytes(), answer_file.read_bytes()
    proof = proof or _value(lines, PROOF, item)
    if answer_type.startswith("text/event-stream"):
        answer, said = signed_events(answer)
        proof = proof or said
    elif item is not None:
        request, answer = batch_item(request, answer, item)
    if not proof:
        raise BadInput(f"no {PROOF}: give --proof or --headers; an answer from the gateway's cache has none")
    request = as_relayed(_with_model(request, _value(lines, MODEL)), _value(lines, PINNED, item))
    request_head = encode_request(RequestHead("POST", path, {"content-type": "application/json"}))
    answer_head = encode_answer(AnswerHead(_status(lines), {"content-type": answer_type}))
    return verify_proof(deployed.domain, proof, request_head, request, answer_head, answer), proof


async def _in_session(
    deployed: deployments.Deployment,
    rpc: tuple[str, ...],
    payer: bytes,
    service: str,
    number: int | None,
    checked: Verified,
    asked: tuple[str, str] | None,
) -> dict[str, Any]:
    async with Rpc(list(rpc)) as client:
        reader = Reader(client, deployed)
        await reader.check_chain()
        heads = Heads(client)
        await heads.refresh()
        market = Market(reader, heads)
        found = number if number is not None else number_of(market.number_now(), payer, service, checked)
        if session_id(payer, service_id(service), found) != checked.receipt.session:
            raise RemoteError("1.5", f"the proof is of another session than {service} number {found}")
        session = await market.session(payer, service_id(service), found)
        supplier = session.supplier(checked.receipt.supplier)
        if supplier is None:
            raise RemoteError("3.7", f"{checksum(checked.receipt.supplier)} was not in session {found}")
        registration = await market.registration(supplier.registration)
        facts = {"session_number": found, "registration": supplier.registration, "bond": registration.bond}
        if asked is not None:
            facts |= await under_root(deployed, client, *asked, found, checked)
    return facts


def number_of(now: int, payer: bytes, service: str, checked: Verified) -> int:
    """Return the number whose session id this is, looking back from the running one."""
    for number in range(now, max(-1, now - 5000), -1):
        if session_id(payer, service_id(service), number) == checked.receipt.session:
            return number
    raise NotFound("the proof is of no session of this application and service in the last 5000: give --number")


def _with_model(request: bytes, model: str) -> bytes:
    """Return a request as it was relayed where another model stood in for the one that it names."""
    if not model:
        return request
    try:
        return with_model(request, model)
    except (Refused, ValueError) as error:
        raise BadInput("the request names no model that another could stand in for") from error


def _status(lines: list[str]) -> int:
    """Return the status of the answer that the saved headers are of; 200 where there are none."""
    found = [line.split()[1] for line in lines if line.startswith("HTTP/") and len(line.split()) > 1]
    return int(found[-1]) if found and found[-1].isdigit() else 200


def _value(lines: list[str], header: str, item: int | None = None) -> str:
    """Return the value of a header; of those that tell of one item of a batch each, that item's."""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() != header:
            continue
        place, colon, rest = value.partition(":")
        if item is None or not colon:
            return value.strip()
        if place.strip() == str(item):
            return rest.strip()
    return ""
