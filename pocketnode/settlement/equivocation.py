"""Two different Responses of one supplier to one Receipt (rule 5.16), found among kept and claimed ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import with_right_v
from pocketnode.errors import RemoteError
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.types import Receipt, Response, SignedResponse
from pocketnode.store.receipts import KeptReceipt


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two answers to the Receipt with this digest, in the session that the first three fields name."""

    application: bytes
    service: bytes
    number: int
    receipt: Receipt
    digest: bytes
    first: SignedResponse
    second: SignedResponse

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of `reportEquivocation`."""
        receipt, first, second = self.receipt, self.first, self.second
        fields = ("session", "supplier", "lane", "seq", "total", "hold", "request")
        answers = _fields(first.response), first.signature, _fields(second.response), second.signature
        return self.application, self.service, self.number, tuple(getattr(receipt, f) for f in fields), *answers


def contradiction_of(kept: KeptReceipt, second: SignedResponse, domain: Domain) -> Contradiction:
    """Return what reports a second answer to a kept Receipt, its signatures as a contract takes them.

    Raises
    ------
    RemoteError
        rule 5.16: the second is the same answer, or one to another Receipt. Rule 1.1: the supplier did not sign both.
    """
    receipt = kept.receipt.receipt
    digest = receipt_digest(domain, receipt)
    if kept.response is None or digest != kept.response.response.receipt or digest != second.response.receipt:
        raise RemoteError("5.16", "the two answers are not to one Receipt")
    if kept.response.response == second.response:
        raise RemoteError("5.16", "the two answers are the same")
    first, other = (_signed(answer, receipt.supplier, domain) for answer in (kept.response, second))
    return Contradiction(kept.application, kept.service, kept.number, receipt, digest, first, other)


def among(kept: Iterable[KeptReceipt], domain: Domain) -> Iterator[Contradiction]:
    """Yield one contradiction for each Receipt that has two answers among those kept."""
    known: dict[Receipt, KeptReceipt] = {}
    told: set[Receipt] = set()
    for one in kept:
        receipt = one.receipt.receipt
        first = known.setdefault(receipt, one)
        if one.response is None or first.response == one.response or receipt in told:
            continue
        if (found := _sound(first, one.response, domain)) is not None:
            told.add(receipt)
            yield found


def with_claim(kept: Iterable[KeptReceipt], claim: tuple[Any, ...], domain: Domain) -> Iterator[Contradiction]:
    """Yield where a claim proves with another answer than the one that was given.

    Parameters
    ----------
    kept : of the claim's pot.
    claim : the arguments of the contract's `claim`.
    """
    _, _, _, lanes, responses = claim
    known = _by_claimed(kept)
    for position, *fields, v, r, s in responses:
        lane, seq, total, hold, request, *_ = lanes[position]
        for one in known.get((lane, seq, total, hold, request), ()):
            response = Response(receipt_digest(domain, one.receipt.receipt), *fields)
            found = _sound(one, SignedResponse(response, r + s + bytes((v,))), domain)
            if found is not None:
                yield found
                break


def _by_claimed(kept: Iterable[KeptReceipt]) -> dict[tuple[Any, ...], list[KeptReceipt]]:
    """Return the kept answers by what a claim says of a lane's Receipt."""
    found: dict[tuple[Any, ...], list[KeptReceipt]] = {}
    for one in kept:
        receipt = one.receipt.receipt
        place = receipt.lane, receipt.seq, receipt.total, receipt.hold, receipt.request
        found.setdefault(place, []).append(one)
    return found


def _sound(kept: KeptReceipt, second: SignedResponse, domain: Domain) -> Contradiction | None:
    try:
        return contradiction_of(kept, second, domain)
    except RemoteError:
        return None


def _signed(answer: SignedResponse, supplier: bytes, domain: Domain) -> SignedResponse:
    signature = with_right_v(response_digest(domain, answer.response), answer.signature, supplier)
    return SignedResponse(answer.response, signature)


def _fields(response: Response) -> tuple[Any, ...]:
    names = ("receipt", "payload", "units", "first_byte_ms", "done_ms", "backend")
    return tuple(getattr(response, name) for name in names)
