"""When a second supplier is asked while the first may still answer: late in the learnt tail, within a budget. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

QUANTILE: Final = 0.95
STEP: Final = 0.08  # of the estimate, by which one observation moves it
LEAST_S: Final = 0.03
SAMPLES_LEAST: Final = 50
TAILS_MOST: Final = 1_000
SHARE: Final = 0.05  # of the requests may be asked twice
BURST: Final = 10.0


class Tail:
    """An estimate of the 95th percentile of durations, moved a little by each one."""

    __slots__ = ("count", "estimate_s")

    def __init__(self) -> None:
        self.estimate_s = 0.0
        self.count = 0

    def observe(self, seconds: float) -> None:
        """Take in one duration."""
        self.count += 1
        if self.count == 1:
            self.estimate_s = max(seconds, 1e-4)
        elif seconds > self.estimate_s:
            self.estimate_s *= 1 + STEP * QUANTILE
        else:
            self.estimate_s *= 1 - STEP * (1 - QUANTILE)


class Hedging:
    """The tails of all classes of relays, and what may still be asked twice."""

    def __init__(self) -> None:
        self._tails: OrderedDict[tuple[str, str], Tail] = OrderedDict()
        self._budget = BURST

    def observe(self, service: str, kind: str, seconds: float) -> None:
        """Take in how long a sound answer took."""
        tail = self._tails.get((service, kind))
        if tail is None:
            tail = self._tails[(service, kind)] = Tail()
            while len(self._tails) > TAILS_MOST:
                self._tails.popitem(last=False)
        tail.observe(seconds)
        self._budget = min(BURST, self._budget + SHARE)

    def after_s(self, service: str, kind: str) -> float | None:
        """Return how long to wait for the first; None while too little is known."""
        tail = self._tails.get((service, kind))
        if tail is None or tail.count < SAMPLES_LEAST:
            return None
        return max(LEAST_S, 2 * tail.estimate_s)

    def spend(self) -> bool:
        """Take one from the budget; False where it is used up."""
        if self._budget < 1:
            return False
        self._budget -= 1
        return True
