"""Quality of a supplier in a session, from its relay records alone (section 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from pocketnode.protocol.record import RelayRecord

FULL = 10_000
PRIOR_PASSES = 19
PRIOR = 20
STREAM_TOKENS_LEAST = 8


class Verdict(IntEnum):
    """What one attempt says of the supplier (rule 6.2)."""

    GOOD = 0
    WRONG = 1
    FAULT = 2
    TIMEOUT = 3
    NOBODY = 4
    CUT = 5


@dataclass(frozen=True, slots=True)
class Slo:
    """What a service promises.

    Parameters
    ----------
    first_byte_ms : longest time to the first byte of the answer, for the gateway.
    tokens_per_second : least rate after the first token; 0 where the service has no tokens.
    units_per_token : compute units of one output token, to turn units into tokens; 0 likewise.
    """

    first_byte_ms: int
    tokens_per_second: float = 0.0
    units_per_token: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Passes and tries of each factor over a session's records. Sums, so tallies of workers add up."""

    available: int = 0
    available_n: int = 0
    fast: int = 0
    fast_n: int = 0
    correct: int = 0
    correct_n: int = 0


# Verdict -> what it says of (availability, latency, correctness): pass, fail, by the SLO, or nothing (rule 6.2).
_SAYS: Final = {
    Verdict.GOOD: (True, "slo", True),
    Verdict.WRONG: (True, None, False),
    Verdict.FAULT: (False, None, None),
    Verdict.TIMEOUT: (False, False, None),
    Verdict.NOBODY: (None, None, None),
    Verdict.CUT: (True, "slo", None),
}


def count(tally: Tally, record: RelayRecord, slo: Slo) -> Tally:
    """Return the tally after one more record."""
    available, latency, correct = _SAYS[Verdict(record.verdict)]
    fast = meets(slo, record) if latency == "slo" else latency
    return replace(
        tally,
        available=tally.available + (available is True),
        available_n=tally.available_n + (available is not None),
        fast=tally.fast + (fast is True),
        fast_n=tally.fast_n + (fast is not None),
        correct=tally.correct + (correct is True),
        correct_n=tally.correct_n + (correct is not None),
    )


def tally_of(records: Iterable[RelayRecord], slo: Slo) -> Tally:
    """Return the tally over all records."""
    tally = Tally()
    for record in records:
        tally = count(tally, record, slo)
    return tally


def meets(slo: Slo, record: RelayRecord) -> bool:
    """Return whether a record's times are within the SLO (rule 6.3)."""
    if record.first_byte_ms > slo.first_byte_ms:
        return False
    if not slo.tokens_per_second or not slo.units_per_token:
        return True
    tokens = record.units // slo.units_per_token
    spent_ms = record.done_ms - record.first_byte_ms
    return tokens < STREAM_TOKENS_LEAST or tokens * 1000 >= slo.tokens_per_second * spent_ms


def quality(tally: Tally, w_min: int) -> int:
    """Return w in ten-thousandths (rule 6.1).

    Parameters
    ----------
    w_min : ten-thousandths, 0 to 10,000.

    >>> quality(Tally(), 5000)  # nobody has said anything yet
    9750
    """
    factor = (
        _rate(tally.available, tally.available_n) ** 0.4
        * _rate(tally.fast, tally.fast_n) ** 0.3
        * _rate(tally.correct, tally.correct_n) ** 0.3
    )
    return min(FULL, w_min + int((FULL - w_min) * factor))


def _rate(passes: int, tries: int) -> float:
    return (passes + PRIOR_PASSES) / (tries + PRIOR)
