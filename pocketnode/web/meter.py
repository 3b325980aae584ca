"""Counts relays for the dashboard's charts: cheap enough to be told of each one.

A *key* names what is counted: (service, peer). The peer is empty for the service as its users see it; otherwise it is
the supplier (in a gateway) or the gateway (in a supplier) of one attempt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

Key = tuple[str, str]

# Latencies are counted in buckets that grow by a quarter of an octave: a quantile is right to 10%.
STEPS_AN_OCTAVE: Final = 4
LEAST_MS: Final = 0.25
BUCKETS: Final = 80


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


@dataclass(slots=True)
class Sums:
    """What happened to one key in a span of time.

    `worth` is units times price: base units of the token times a million. `latencies` counts good relays by the time
    to their first byte.
    """

    relays: int = 0
    good: int = 0
    units: int = 0
    worth: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def add(self, good: bool, first_byte_ms: float, units: int, worth: int) -> None:
        """Count one relay."""
        self.relays += 1
        self.units += units
        self.worth += worth
        if good:
            self.good += 1
            self.latencies[bucket_of(first_byte_ms)] += 1

    def merge(self, other: Sums) -> None:
        """Add what another span counted."""
        self.relays += other.relays
        self.good += other.good
        self.units += other.units
        self.worth += other.worth
        self.latencies = [a + b for a, b in zip(self.latencies, other.latencies, strict=True)]

    def quantile_ms(self, share: float) -> float | None:
        """Return the latency that `share` of the good relays kept within, or None where there were none.

        Parameters
        ----------
        share : in (0, 1].
        """
        wanted = share * self.good
        if not wanted:
            return None
        seen = 0
        for bucket, count in enumerate(self.latencies):
            if count and seen + count >= wanted:
                low = edge_ms(bucket - 1) if bucket else 0.0
                return low + (edge_ms(bucket) - low) * (wanted - seen) / count
            seen += count
        return edge_ms(BUCKETS - 1)


class Meter:
    """Counts until it is turned. Two calls for each request: one as the user sees it, one for each attempt."""

    def __init__(self) -> None:
        self._now: dict[Key, Sums] = {}

    def request(self, service: str, good: bool, first_byte_ms: float, units: int = 0, worth: int = 0) -> None:
        """Count a request by how it ended for the user."""
        self._sums(service, "").add(good, first_byte_ms, units, worth)

    def attempt(
        self, service: str, peer: str, good: bool, first_byte_ms: float, units: int = 0, worth: int = 0
    ) -> None:
        """Count one attempt by how the peer did."""
        self._sums(service, peer).add(good, first_byte_ms, units, worth)

    def turn(self) -> dict[Key, Sums]:
        """Return what was counted since the last turn, and begin anew."""
        counted, self._now = self._now, {}
        return counted

    def _sums(self, service: str, peer: str) -> Sums:
        found = self._now.get((service, peer))
        if found is None:
            found = self._now[service, peer] = Sums()
        return found
