"""A supplier's claim as the contract takes it: one Receipt for each lane, and its own Responses (rule 5.7). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import with_right_v
from pocketnode.errors import RemoteError
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.store.receipts import KeptReceipt

LANES_MOST: Final = 600  # about 6 million gas; more lanes than these in one pot are claimed for their best


@dataclass(frozen=True, slots=True)
class Proof:
    """What is proven, and the arguments of `claim` that prove it, by field name.

    Parameters
    ----------
    units : what the contract will count.
    refused : how many lanes were left out because a signature does not hold.
    """

    units: int
    lanes: tuple[dict[str, Any], ...]
    responses: tuple[dict[str, Any], ...]
    refused: int = 0


def proof_of(kept: Iterable[KeptReceipt], domain: Domain) -> Proof:
    """Return the proof that these receipts give, worst lanes left out beyond `LANES_MOST`.

    Every signature is checked here first: one bad lane would make the contract refuse the whole claim.
    """
    chosen = sorted(kept, key=lambda k: k.units, reverse=True)[:LANES_MOST]
    lanes: list[dict[str, Any]] = []
    responses: list[dict[str, Any]] = []
    units = refused = 0
    for k in sorted(chosen, key=lambda k: k.receipt.receipt.lane):
        receipt = k.receipt.receipt
        digest = receipt_digest(domain, receipt)
        try:
            signature = with_right_v(digest, k.receipt.signature, k.gateway)
        except RemoteError:
            refused += 1
            continue
        answer = _answer(k, domain, digest, len(lanes))
        units += receipt.total
        if answer is not None:
            units += min(receipt.hold, answer["units"])
            responses.append(answer)
        fields = {name: getattr(receipt, name) for name in ("lane", "seq", "total", "hold", "request")}
        lanes.append({**fields, **_split(signature)})
    return Proof(units, tuple(lanes), tuple(responses), refused)


def _answer(kept: KeptReceipt, domain: Domain, digest: bytes, position: int) -> dict[str, Any] | None:
    """Return the Response to a kept Receipt as the contract takes it, if there is one that adds something."""
    receipt = kept.receipt.receipt
    if kept.response is None or not receipt.hold:
        return None
    response = kept.response.response
    if response.receipt != digest or not response.units:
        return None
    try:
        signed = with_right_v(response_digest(domain, response), kept.response.signature, receipt.supplier)
    except RemoteError:
        return None
    fields = {name: getattr(response, name) for name in ("payload", "units", "backend")}
    times = {"firstByteMs": response.first_byte_ms, "doneMs": response.done_ms}
    return {"position": position, **fields, **times, **_split(signed)}


def _split(signature: bytes) -> dict[str, Any]:
    return {"r": signature[:32], "s": signature[32:64], "v": signature[64]}
