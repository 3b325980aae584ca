"""The signed answers of a lane whose supplier could still gain by signing another in their place (rule 5.19)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keccak import Hasher, hasher
from pocketnode.crypto.keys import verify
from pocketnode.protocol.digest import response_digest
from pocketnode.protocol.types import Response, SignedResponse
from pocketnode.transport.ports import Ended
from pocketnode.wire.pb.relay_pb2 import Done

LEAST: Final = 4  # a gateway may have thousands of lanes, and an answer is a kilobyte
MOST: Final = 1024  # of one lane; those that a claim could be raised with the most stay
DOUBLES_MOST: Final = 8  # one is enough to be slashed for


class KeptAnswers:
    """The answers of one lane. `add` is on the hot path: it keeps a reference, and sorts out now and then.

    `saved` turns false with every answer, for whoever writes them down; `doubles` are second answers to Receipts that
    were answered before: each stands beside its first one, and neither is ever forgotten.
    """

    __slots__ = ("_answers", "_firsts", "_limit", "doubles", "saved")

    def __init__(self) -> None:
        self.saved = True
        self.doubles: list[Ended] = []
        self._firsts: list[Ended] = []
        self._answers: list[Ended] = []
        self._limit = LEAST

    def add(self, ended: Ended) -> None:
        """Keep a verified answer, accepted or not."""
        self.saved = False
        self._answers.append(ended)
        if len(self._answers) > self._limit:
            self._answers = gainful(self._answers)
            self._limit = 2 * max(LEAST, len(self._answers))

    def add_double(self, first: Ended, second: Ended) -> None:
        """Keep two different answers to one Receipt."""
        if len(self.doubles) < DOUBLES_MOST:
            self.saved = False
            self._firsts.append(first)
            self.doubles.append(second)

    def of(self, seq: int) -> Ended | None:
        """Return the kept answer to a request, or None."""
        return next((kept for kept in reversed(self._answers) if kept.receipt_signed.receipt.seq == seq), None)

    def all(self) -> list[Ended]:
        """Return what is worth keeping now, second answers and what they contradict included."""
        return [*gainful(list(self._answers)), *self._firsts, *self.doubles]


def gainful(answers: Sequence[Ended]) -> list[Ended]:
    """Return those of a lane's answers that would prove more than its newest total, if they said more units.

    A claim proves `total + min(hold, units)` of one Receipt of each lane (rule 5.7). Where `total + hold` is not above
    what the lane's newest Receipt proves, no Response makes it worth claiming.
    """
    newest = max((kept.receipt_signed.receipt.total for kept in answers), default=0)
    found = [kept for kept in answers if most_of(kept) > newest]
    return found if len(found) <= MOST else sorted(found, key=most_of)[-MOST:]


def most_of(kept: Ended) -> int:
    """Return the most units that a claim with this answer's Receipt can prove."""
    receipt = kept.receipt_signed.receipt
    return receipt.total + receipt.hold


class SecondAnswers:
    """Takes what a supplier sends of relays that have ended. Of an honest one that is nothing.

    Its hash alone is kept, of one relay at a time.
    """

    __slots__ = ("_answers", "_domain", "_hash", "_seq", "_supplier")

    def __init__(self, answers: KeptAnswers, supplier: bytes, domain: Domain) -> None:
        self._answers, self._supplier, self._domain = answers, supplier, domain
        self._seq = -1
        self._hash: Hasher | None = None

    def begin(self, seq: int, head: bytes, body: bytes) -> None:
        """Take a second Answer message."""
        self._seq, self._hash = seq, hasher(head)
        self._hash.update(body)

    def go_on(self, seq: int, body: bytes) -> None:
        """Take a part of its body."""
        if self._hash is not None and seq == self._seq:
            self._hash.update(body)

    def end(self, done: Done, backend: bytes) -> None:
        """Take a second end; without a second answer it is over the payload of the first."""
        first = self._answers.of(done.seq)
        if first is None or len(self._answers.doubles) >= DOUBLES_MOST:
            return
        payload = first.signed.response.payload
        if self._hash is not None and self._seq == done.seq:
            payload = self._hash.digest()
        last = done.backend or backend
        response = Response(first.receipt, payload, done.units, done.first_byte_ms, done.done_ms, last)
        digest = response_digest(self._domain, response)
        if digest != first.response and verify(digest, done.signature, self._supplier):
            signed = SignedResponse(response, done.signature)
            self._answers.add_double(first, Ended(first.receipt, digest, signed, first.receipt_signed))
