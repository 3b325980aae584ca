"""Makes a supplier sign two answers to one Receipt: to claim more than it was given, or in what it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.protocol.digest import response_digest
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.types import SignedReceipt, SignedResponse
from pocketnode.settlement import claiming, proof
from pocketnode.settlement.proof import Proof
from pocketnode.store.receipts import KeptReceipt
from pocketnode.supplier.answerer import SupplierAnswerer
from pocketnode.transport.ports import Served
from pocketnode.transport.served import ServedRelay

SOUND: Final = 5  # answers before it begins to fail

_honest_answer, _honest_end, _honest_proof = SupplierAnswerer.answer, ServedRelay.end, proof.proof_of


def inflated_claim() -> None:
    """Answer a few requests, sign errors for all others, and claim with the last one as if it had cost its hold."""
    signed: dict[bytes, tuple[SignedReceipt, SignedResponse, Key]] = {}
    count = [0]

    async def answer(self: SupplierAnswerer, relay: Any) -> Served:
        count[0] += 1
        if count[0] > SOUND:
            raise RelayFailed(FaultClass.BACKEND, "the node is down")
        return await _honest_answer(self, relay)

    def end(self: ServedRelay, units: int, backend: bytes, key: Key, domain: Domain, fault: str = "") -> Any:
        response = _honest_end(self, units, backend, key, domain, fault)
        signed[self.receipt.lane] = self.signed, response, key
        return response

    def proof_of(kept: Iterable[KeptReceipt], domain: Domain) -> Proof:
        return _honest_proof([_inflated(one, signed, domain) for one in kept], domain)

    vars(claiming)["proof_of"] = proof_of
    _set(SupplierAnswerer, answer=answer)
    _set(ServedRelay, end=end)


def _inflated(
    kept: KeptReceipt, signed: dict[bytes, tuple[SignedReceipt, SignedResponse, Key]], domain: Domain
) -> KeptReceipt:
    newest = signed.get(kept.receipt.receipt.lane)
    if newest is None:
        return kept
    receipt, answered, key = newest
    response = replace(answered.response, units=receipt.receipt.hold)
    return replace(
        kept, receipt=receipt, response=SignedResponse(response, key.sign(response_digest(domain, response)))
    )


def two_ends() -> None:
    """End one relay twice, with other units the second time."""
    left = [1]

    def end(self: ServedRelay, units: int, backend: bytes, key: Key, domain: Domain, fault: str = "") -> Any:
        response = _honest_end(self, units, backend, key, domain, fault)
        if units and left[0]:
            left[0] -= 1
            _honest_end(self, units - 1, backend, key, domain, fault)
        return response

    _set(ServedRelay, end=end)


def _set(of: type, **functions: Callable[..., Any]) -> None:
    for name, function in functions.items():
        setattr(of, name, function)


WAYS: Final = {"inflated-claim": inflated_claim, "two-ends": two_ends}
