"""When a backend that fails is left alone, and how it is taken back: the states of one circuit breaker. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

# A few failures in a row may be chance, or the client's odd request; from here on they are not.
FAILURES_IN_A_ROW = 8
OPEN_LEAST_S = 1.0
OPEN_MOST_S = 60.0
WARM_S = 10.0
WARM_LEAST = 0.1


class State(StrEnum):
    """closed: in use. open: left alone. warming: back in use, with a share that grows."""

    CLOSED = "closed"
    OPEN = "open"
    WARMING = "warming"


@dataclass(frozen=True, slots=True)
class Breaker:
    """One backend's breaker.

    Parameters
    ----------
    failures : in a row.
    openings : in a row; each doubles the time that it stays open.
    since_s : when the state was entered.
    """

    state: State = State.CLOSED
    failures: int = 0
    openings: int = 0
    since_s: float = 0.0


NEW = Breaker()


def succeeded(breaker: Breaker, now_s: float) -> Breaker:
    """Return the breaker after a good answer, or a good check while open."""
    if breaker.state is State.OPEN:
        return replace(breaker, state=State.WARMING, failures=0, since_s=now_s)
    if breaker.state is State.WARMING and now_s - breaker.since_s >= WARM_S:
        return NEW
    return replace(breaker, failures=0) if breaker.failures else breaker


def failed(breaker: Breaker, now_s: float) -> Breaker:
    """Return the breaker after a failure; one is enough while it is warming."""
    failures = breaker.failures + 1
    if breaker.state is State.CLOSED and failures < FAILURES_IN_A_ROW:
        return replace(breaker, failures=failures)
    return Breaker(State.OPEN, failures, breaker.openings + 1, now_s)


def share(breaker: Breaker, now_s: float) -> float:
    """Return which share of its capacity a backend gets, 0 to 1."""
    if breaker.state is State.OPEN:
        return 0.0
    if breaker.state is State.WARMING:
        return min(1.0, max(WARM_LEAST, (now_s - breaker.since_s) / WARM_S))
    return 1.0


def due_s(breaker: Breaker) -> float:
    """Return the time from which an open breaker's backend may be checked again."""
    return breaker.since_s + min(OPEN_MOST_S, OPEN_LEAST_S * 2.0 ** min(breaker.openings - 1, 10))
