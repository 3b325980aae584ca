"""Checks a saved answer with nothing but its bytes, its proof and the chain's word on who supplies. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import signer_of
from pocketnode.errors import BadInput, RemoteError
from pocketnode.gateway.blocks import quantity
from pocketnode.gateway.json_places import with_place
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.trust import PINNED, read_proof
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.payload import payload_hash
from pocketnode.protocol.types import ZERO32, Receipt, Response

PLACE: Final = re.compile(r"[0-9]{1,4}(\.[A-Za-z]{1,32})?")


@dataclass(frozen=True, slots=True)
class Verified:
    """What a proof says, its signature checked.

    Parameters
    ----------
    relay, response_digest : the 32-byte digests that the relay record holds (rule 5.5).
    """

    receipt: Receipt
    response: Response
    relay: bytes
    response_digest: bytes


def as_relayed(request: bytes, pin: str | None) -> bytes:
    """Return a request as it was relayed: where the answer's header says so, a block stood in place of its tag.

    Raises
    ------
    BadInput
        the header is none, or the request has no such parameter.

    >>> as_relayed(b'{"params":["0x1","latest"]}', "1=0x3e8")
    b'{"params":["0x1","0x3e8"]}'
    >>> as_relayed(b'{"params":[{}]}', "0.fromBlock=0x3e7,0.toBlock=0x3e8")
    b'{"params":[{"fromBlock":"0x3e7","toBlock":"0x3e8"}]}'
    """
    for one in pin.split(",") if pin else ():
        place, _, number = one.partition("=")
        if not PLACE.fullmatch(place) or quantity(number) is None:
            raise BadInput(f"{PINNED}: {one[:64]!r} is not PLACE=BLOCK")
        try:
            request = with_place(request, place, b'"' + number.encode() + b'"')
        except (Refused, ValueError, IndexError) as error:
            raise BadInput("the request has no parameters in which a block could stand") from error
    return request


def verify(
    domain: Domain, proof: str, request_head: bytes, request: bytes, answer_head: bytes, answer: bytes
) -> Verified:
    """Return what a proof says, once it is shown that the supplier signed this answer to this request.

    Parameters
    ----------
    request_head, answer_head : by rules 2.1 and 2.2.

    Raises
    ------
    BadInput
        `proof` is none.
    RemoteError
        rule 3.10: another signed it, or it is over another request or answer.
    """
    receipt, signed = read_proof(proof, payload_hash(request_head, request), payload_hash(answer_head, answer), ZERO32)
    relay = receipt_digest(domain, receipt)
    response = replace(signed.response, receipt=relay)
    digest = response_digest(domain, response)
    signer = signer_of(digest, signed.signature)
    if signer != receipt.supplier:
        raise RemoteError(
            "3.10",
            f"0x{receipt.supplier.hex()} did not sign this answer to this request: the bytes, the proof or the "
            "deployment are others",
        )
    if response.units > receipt.hold:
        raise RemoteError("3.9", f"{response.units} units on a hold of {receipt.hold}")
    return Verified(receipt, response, relay, digest)
