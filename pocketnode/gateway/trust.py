"""What an answer carries so that its user can check it without trusting this gateway.

The proof is 245 bytes in base64: `session 32, supplier 20, lane 32, seq 8, total 16, hold 16, units 16,
first byte ms 4, done ms 4, backend 32, signature 65`. With the request and the answer, hashed, these make both
signed structs again.
"""

from __future__ import annotations

import base64
import struct
from typing import Final

from pocketnode.errors import BadInput
from pocketnode.gateway.attempt import Attempt
from pocketnode.protocol.payload import AnswerHead
from pocketnode.protocol.types import Receipt, Response, SignedResponse
from pocketnode.transport.ports import Ended

_LAYOUT: Final = struct.Struct(">32s20s32sQ16s16s16sII32s65s")
PROOF_BYTES: Final = _LAYOUT.size
SUPPLIER: Final = "x-pocketnode-supplier"
SESSION: Final = "x-pocketnode-session"
RELAY: Final = "x-pocketnode-relay"
SIGNATURE: Final = "x-pocketnode-signature"
PROOF: Final = "x-pocketnode-proof"
PINNED: Final = "x-pocketnode-pinned"
MODEL: Final = "x-pocketnode-model"  # the model that was asked instead of the one that the user named
WANTS_PROOF: Final = "x-pocketnode-verify"  # for a stream or a batch: a whole answer has its proof in any case


def headers_of(attempt: Attempt, head: AnswerHead) -> dict[str, str]:
    """Return the headers of a whole answer: its own type, who gave it, in which session, and the proof."""
    headers = {
        "Content-Type": head.headers.get("content-type", "application/json"),
        SUPPLIER: attempt.seat.supplier_hex,
        SESSION: attempt.active.session_hex,
    }
    ended = attempt.ended
    if ended is not None:
        headers[RELAY] = "0x" + ended.receipt.hex()
        headers[SIGNATURE] = "0x" + ended.signed.signature.hex()
        headers[PROOF] = proof(ended)
    return headers


def proof(ended: Ended) -> str:
    """Return the proof of an answer in base64."""
    receipt, response = ended.receipt_signed.receipt, ended.signed.response
    raw = _LAYOUT.pack(
        receipt.session,
        receipt.supplier,
        receipt.lane,
        receipt.seq,
        receipt.total.to_bytes(16, "big"),
        receipt.hold.to_bytes(16, "big"),
        response.units.to_bytes(16, "big"),
        response.first_byte_ms,
        response.done_ms,
        response.backend,
        ended.signed.signature,
    )
    return base64.b64encode(raw).decode()


def read_proof(text: str, request: bytes, payload: bytes, receipt_digest_zero: bytes) -> tuple[Receipt, SignedResponse]:
    """Return the structs in a proof; the Response's receipt is `receipt_digest_zero` until its digest is known.

    Parameters
    ----------
    request, payload : 32-byte hashes of request and answer (rule 2.4), computed by who checks.

    Raises
    ------
    BadInput
        it is no proof.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        session, supplier, lane, seq, total, hold, units, first_ms, done_ms, backend, signature = _LAYOUT.unpack(raw)
    except (ValueError, struct.error) as error:
        raise BadInput(f"{PROOF} is not {PROOF_BYTES} bytes in base64") from error
    receipt = Receipt(session, supplier, lane, seq, int.from_bytes(total, "big"), int.from_bytes(hold, "big"), request)
    response = Response(receipt_digest_zero, payload, int.from_bytes(units, "big"), first_ms, done_ms, backend)
    return receipt, SignedResponse(response, signature)
