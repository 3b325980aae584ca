"""How many requests may be in flight at once, over all workers of a gateway.

Each worker draws places from what they share, some at a time where there are many, so that a request takes no lock.
Together they never have more than the limit. Where it is small, each place is drawn and given back alone: then the
limit is exact in both ways.
"""

from __future__ import annotations

from typing import Final

from pocketnode.store.counters import FOR_LIFE, MOST, Counted, Counters, slot_id

DRAWS: Final = 32  # a worker draws one part in so many of the limit, divided by the number of workers
_ID: Final = slot_id("requests in flight")


class Places:
    """One worker's places. `drawn` is how many it has; it asks for more only where they are all taken.

    Parameters
    ----------
    counters : None where there is one process: it has all places.
    """

    __slots__ = ("_counters", "_most", "_step", "_workers", "drawn", "kept")

    def __init__(self, most: int, counters: Counters | None = None, workers: int = 1) -> None:
        self._counters = counters
        self._workers = workers
        self.drawn = 0
        self._set(most)

    def adopt(self, most: int, in_flight: int) -> None:
        """Go on with another limit."""
        self._set(most)
        if self._counters is not None:
            self.give_back(in_flight)

    def draw(self) -> bool:
        """Have a few more places; False where there are none."""
        if self._counters is None:
            return False
        wanted = self._counted(self._step)
        if self._counters.reserve([wanted]) >= 0:
            wanted = self._counted(1)
            if self._counters.reserve([wanted]) >= 0:
                return False
        self.drawn += wanted.wanted
        return True

    def give_back(self, needed: int) -> None:
        """Leave to other workers what is not needed here."""
        spare = self.drawn - needed
        if self._counters is not None and spare > 0:
            self._counters.settle([self._counted(spare)], [0])
            self.drawn = needed

    def _set(self, most: int) -> None:
        self._most = most
        self._step = max(1, most // (DRAWS * self._workers))
        if self._counters is None:
            self.drawn = most
        # So many may lie idle here before they are given back.
        self.kept = most if self._counters is None else 0 if self._step == 1 else 2 * self._step

    def _counted(self, wanted: int) -> Counted:
        return Counted(_ID, FOR_LIFE, MOST, self._most, wanted)
