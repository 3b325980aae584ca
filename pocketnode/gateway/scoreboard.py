"""What this gateway has measured of each supplier, by class of relays: what selection goes by.

A session's quality (rule 6.1) is computed from its records alone; this is the longer memory beside it, decayed by half
in `HALF_LIFE_S`, kept over sessions and restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pocketnode.protocol.quality import Verdict

HALF_LIFE_S: Final = 600.0
LATENCY_WEIGHT: Final = 0.15
SCORES_MOST: Final = 50_000

# What a verdict says of a supplier: good, bad, or nothing.
_SAYS: Final[dict[Verdict, float | None]] = {
    Verdict.GOOD: 1.0,
    Verdict.CUT: 1.0,
    Verdict.WRONG: 0.0,
    Verdict.FAULT: 0.0,
    Verdict.TIMEOUT: 0.0,
    Verdict.NOBODY: None,
}


@dataclass(slots=True)
class Score:
    """One supplier's decayed counts for one class; `at_s` is when they were last decayed."""

    passes: float = 0.0
    tries: float = 0.0
    traffic: float = 0.0
    latency_ms: float = 0.0
    at_s: float = 0.0

    def decay(self, now_s: float) -> None:
        """Let the counts fade to `now_s`."""
        if (passed := now_s - self.at_s) > 1.0:
            left = 0.5 ** (passed / HALF_LIFE_S)
            self.passes *= left
            self.tries *= left
            self.traffic *= left
            self.at_s = now_s

    def faded(self, now_s: float) -> Score:
        """Return a copy whose counts have faded to `now_s`."""
        left = 0.5 ** (max(0.0, now_s - self.at_s) / HALF_LIFE_S)
        return Score(self.passes * left, self.tries * left, self.traffic * left, self.latency_ms, now_s)

    def add(self, verdict: Verdict, first_byte_ms: float, now_s: float) -> None:
        """Count one attempt; only good answers tell a latency."""
        self.decay(now_s)
        self.traffic += 1.0
        says = _SAYS[verdict]
        if says is None:
            return
        self.tries += 1.0
        self.passes += says
        if says:
            weight = LATENCY_WEIGHT if self.latency_ms else 1.0
            self.latency_ms += (first_byte_ms - self.latency_ms) * weight


ScoreKey = tuple[str, str, bytes]  # service, class, operator


@dataclass(slots=True)
class Scoreboard:
    """All scores. `clock` gives seconds that go on over restarts (`time.time`)."""

    clock: Callable[[], float]
    _scores: dict[ScoreKey, Score] = field(default_factory=dict)
    _others: dict[ScoreKey, list[Score]] = field(default_factory=dict)

    def score(self, service: str, kind: str, operator: bytes) -> Score:
        """Return the score of a supplier, a new one if there is none."""
        key = (service, kind, operator)
        score = self._scores.get(key)
        if score is None:
            if len(self._scores) >= SCORES_MOST:
                del self._scores[min(self._scores, key=lambda k: self._scores[k].at_s)]
            score = self._scores[key] = Score(at_s=self.clock())
        return score

    def whole(self, service: str, kind: str, operator: bytes, now_s: float) -> Score:
        """Return what all workers measured of a supplier together."""
        own = self.score(service, kind, operator)
        others = self._others.get((service, kind, operator))
        return own if not others else added([own, *others], now_s)

    def take_others(self, measured: Iterable[tuple[ScoreKey, Score]]) -> None:
        """Replace what is known of other workers' measurements."""
        self._others = {}
        for key, score in measured:
            self._others.setdefault(key, []).append(score)

    def items(self) -> Iterable[tuple[ScoreKey, Score]]:
        """Return all scores, to be kept."""
        return list(self._scores.items())

    def restore(self, kept: Iterable[tuple[ScoreKey, Score]]) -> None:
        """Take back what was kept; scores measured since win."""
        for key, score in kept:
            self._scores.setdefault(key, score)


def added(scores: Iterable[Score], now_s: float) -> Score:
    """Return the sum of several workers' scores; latencies weigh by how many good answers told them.

    >>> added([Score(9.0, 10.0, 10.0, 20.0, 5.0), Score(3.0, 5.0, 6.0, 60.0, 5.0)], 5.0)
    Score(passes=12.0, tries=15.0, traffic=16.0, latency_ms=30.0, at_s=5.0)
    """
    faded = [score.faded(now_s) for score in scores]
    whole = Score(at_s=now_s)
    for score in faded:
        whole.passes += score.passes
        whole.tries += score.tries
        whole.traffic += score.traffic
    measured = [(score.passes, score.latency_ms) for score in faded if score.latency_ms]
    weight = sum(passes for passes, _ in measured)
    if weight:
        whole.latency_ms = sum(passes * latency_ms for passes, latency_ms in measured) / weight
    return whole
