"""Counts relays for the dashboard's charts: cheap enough to be told of each one.

A *key* names what is counted: (service, peer). The peer is empty for the service as its users see it; otherwise it is
the supplier (in a gateway) or the gateway (in a supplier) of one attempt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Key = tuple[str, str]

# Latencies are counted in buckets that grow by a quarter of an octave: a quantile is right to 10%.
STEPS_AN_OCTAVE: Final = 4
LEAST_MS: Final = 0.25
BUCKETS: Final = 80
ERRORS_MOST: Final = 32  # classes of a key in one span
OTHER: Final = "other"


def bucket_of(ms: float) -> int:
    """Return the bucket of a latency.

    >>> bucket_of(0.0), bucket_of(1e9)
    (0, 79)
    """
    if ms <= LEAST_MS:
        return 0
    return min(BUCKETS - 1, 1 + int(math.log2(ms / LEAST_MS) * STEPS_AN_OCTAVE))


def edge_ms(bucket: int) -> float:
    """Return the upper edge of a bucket."""
    return LEAST_MS * math.exp2(bucket / STEPS_AN_OCTAVE)


def _empty() -> list[int]:
    return [0] * BUCKETS


@dataclass(slots=True)
class Sums:
    """What happened to one key in a span of time.

    Parameters
    ----------
    relays : requests (or attempts at a peer) that count: answered, or failed by no fault of who asked.
    good : how many of them were answered.
    kept : how many of those were answered without a supplier: from the cache, or shared with a request alike.
    refused : turned away besides, for a reason of who asked: no key, a limit, a malformed request.
    worth : units times price: base units of the token times a million.
    first, whole : good relays by the time to their first and to their last byte.
    errors : failures and refusals by class.
    """

    relays: int = 0
    good: int = 0
    kept: int = 0
    refused: int = 0
    units: int = 0
    worth: int = 0
    first: list[int] = field(default_factory=_empty)
    whole: list[int] = field(default_factory=_empty)
    errors: dict[str, int] = field(default_factory=dict)

    def succeed(self, first_ms: float, whole_ms: float, kept: bool = False) -> None:
        """Count one that was answered."""
        self.relays += 1
        self.good += 1
        self.kept += kept
        self.first[bucket_of(first_ms)] += 1
        self.whole[bucket_of(whole_ms)] += 1

    def fail(self, error: str) -> None:
        """Count one that should have been answered and was not."""
        self.relays += 1
        self._note(error)

    def refuse(self, error: str) -> None:
        """Count one that was rightly turned away."""
        self.refused += 1
        self._note(error)

    def spend(self, units: int, worth: int) -> None:
        """Count what was bought."""
        self.units += units
        self.worth += worth

    def merge(self, other: Sums) -> None:
        """Add what another span, or another process, counted."""
        self.relays += other.relays
        self.good += other.good
        self.kept += other.kept
        self.refused += other.refused
        self.units += other.units
        self.worth += other.worth
        self.first = [a + b for a, b in zip(self.first, other.first, strict=True)]
        self.whole = [a + b for a, b in zip(self.whole, other.whole, strict=True)]
        for error, count in other.errors.items():
            self._note(error, count)

    def _note(self, error: str, count: int = 1) -> None:
        if error not in self.errors and len(self.errors) >= ERRORS_MOST:
            error = OTHER
        self.errors[error] = self.errors.get(error, 0) + count


def quantile_ms(latencies: Sequence[int], share: float) -> float | None:
    """Return the latency that `share` of those counted kept within, or None where there were none.

    Parameters
    ----------
    latencies : counts by bucket.
    share : in (0, 1].
    """
    wanted = share * sum(latencies)
    if not wanted:
        return None
    seen = 0
    for bucket, count in enumerate(latencies):
        if count and seen + count >= wanted:
            low = edge_ms(bucket - 1) if bucket else 0.0
            return low + (edge_ms(bucket) - low) * (wanted - seen) / count
        seen += count
    return edge_ms(BUCKETS - 1)


class Meter:
    """Counts until it is turned."""

    def __init__(self) -> None:
        self._now: dict[Key, Sums] = {}

    def of(self, service: str, peer: str = "") -> Sums:
        """Return what is counted of a service as its users see it, or of one peer's attempts."""
        found = self._now.get((service, peer))
        if found is None:
            found = self._now[service, peer] = Sums()
        return found

    def add(self, key: Key, counted: Sums) -> None:
        """Add what another process counted."""
        self.of(*key).merge(counted)

    def turn(self) -> dict[Key, Sums]:
        """Return what was counted since the last turn, and begin anew."""
        counted, self._now = self._now, {}
        return counted


def rows_of(counted: Mapping[Key, Sums]) -> list[list[Any]]:
    """Return what was counted as JSON values, for another process."""
    return [[*key, *(getattr(sums, name) for name in Sums.__slots__)] for key, sums in counted.items()]


def from_rows(rows: Iterable[list[Any]]) -> Iterator[tuple[Key, Sums]]:
    """Yield what `rows_of` made."""
    for service, peer, *sums in rows:
        yield (service, peer), Sums(*sums)
