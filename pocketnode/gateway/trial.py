"""The attempts of one order: who is asked next, and why it ends."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Final

import structlog

from pocketnode.errors import PocketError
from pocketnode.gateway.active import ActiveSession, Seat
from pocketnode.gateway.attempt import Attempt
from pocketnode.gateway.config import Retry
from pocketnode.gateway.judging import Judgement
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.orders import Answer, Order
from pocketnode.gateway.ports import Records
from pocketnode.gateway.refusal import INVALID, NO_SUPPLIER, TIMED_OUT, TOO_LARGE, Refused
from pocketnode.gateway.selection import pick
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.quality import Verdict

RENEW_S: Final = 5.0  # a node that lags shows a session some blocks late; until then nobody can answer
RENEW_EVERY_S: Final = 0.05

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """What every attempt needs of the daemon."""

    records: Records
    metrics: Metrics
    retry: Retry
    probation_share: float


class Trial:
    """The attempts of one order."""

    __slots__ = (
        "_busy",
        "_last",
        "_means",
        "_order",
        "_over",
        "_started_s",
        "_tried",
        "_void",
        "active",
        "attempts",
        "doubtful",
        "left_s",
    )

    def __init__(self, means: Means, order: Order) -> None:
        self._means = means
        self._order = order
        self._started_s = time.monotonic()
        self._tried = order.tried
        self._over: list[bytes] = []  # said that the session is not theirs
        self._void = 0  # attempts that only found a session over
        self._last: Refused | None = None
        self._busy = False
        self.doubtful: Answer | None = None  # taken if nothing better comes
        self.attempts = 0
        self.active = order.current()
        self.left_s = self.active.service.spec.timeout_s

    async def next(self) -> Attempt | None:
        """Return the next attempt, or None where trying is over."""
        attempt = self._next()
        if attempt is None and await self._renewed():
            attempt = self._next()
        return attempt

    async def _renewed(self) -> bool:
        """Wait a moment for the session of now, if suppliers said that ours is over (rule 3.12)."""
        deadline_s = time.monotonic() + RENEW_S
        while self._over and time.monotonic() < deadline_s:
            if self._order.current() is not self.active:
                return True
            await asyncio.sleep(RENEW_EVERY_S)
        return False

    def _next(self) -> Attempt | None:
        retry = self._means.retry
        if self.attempts:
            passed_s = time.monotonic() - self._started_s
            self._turn_to(self._order.current())
            over = passed_s >= retry.deadline_s or not self._order.repeatable
            spent = self.attempts - self._void >= retry.attempts
            if over or spent or (self._last and self._last.reason is INVALID):
                return None
        seat = self._choose()
        if seat is None:
            return None
        order = self._order
        attempt = Attempt(self.active, seat, order.kind, order.most, self._means.records, self._means.metrics)
        if not attempt.reserve():
            self._last = Refused(NO_SUPPLIER, "the application's grant for this session is used up", retry_after_s=5)
            return None
        self.attempts += 1
        order.trail.append(attempt)
        return attempt

    def note(self, attempt: Attempt, error: PocketError | TimeoutError, verdict: Verdict) -> None:
        """Remember why an attempt failed."""
        log.info(
            "attempt failed",
            service=self.active.service.name,
            supplier=attempt.seat.supplier_hex,
            verdict=verdict.name.lower(),
            error=str(error) or type(error).__name__,
        )
        if isinstance(error, RelayFailed) and error.fault.kind is FaultClass.NOT_IN_SESSION:
            self._over.append(attempt.seat.supplier.operator)
        # Who is busy will answer soon: that tells the user more than a lane that broke besides.
        busy = isinstance(error, RelayFailed) and error.fault.kind is FaultClass.BUSY
        if busy or not self._busy:
            self._last, self._busy = _refusal_of(error), busy

    def note_judgement(self, attempt: Attempt, judgement: Judgement, answer: Answer | None) -> None:
        """Remember that an answer was no good."""
        detail = answer.body[:200].decode("utf-8", "replace") if answer is not None else ""
        log.info(
            "answer not taken",
            service=self.active.service.name,
            supplier=attempt.seat.supplier_hex,
            judgement=judgement.name.lower(),
            answer=detail,
        )
        if judgement is Judgement.UNSURE:
            self.doubtful = self.doubtful or answer
        self._last = Refused(NO_SUPPLIER, "no supplier gave a sound answer", retry_after_s=1)

    def refusal(self) -> Refused:
        """Return why there is no answer."""
        return self._last or Refused(NO_SUPPLIER, "no supplier can be reached now", retry_after_s=1)

    def _turn_to(self, active: ActiveSession) -> None:
        """Go on in the session of now; who refused only because the last one is over may answer in this one."""
        if active is not self.active:
            self._tried[:] = [operator for operator in self._tried if operator not in self._over]
            self._void += len(self._over)
            self._over.clear()
        self.active = active

    def _choose(self) -> Seat | None:
        active = self.active
        if (only := self._order.only) is not None:
            pinned = active.seats.get(only)
            return pinned if pinned is not None and pinned.open() else None
        ranking = active.ranking(self._order.kind, time.time())
        tried = self._tried
        probation = self._means.probation_share if self._order.repeatable else 0.0
        while True:
            operator = pick(ranking, active.load, random.random, probation, tried, self._order.prefix)
            if operator is None:
                return None
            seat = active.seats[operator]
            tried.append(operator)
            if seat.lane is None or seat.lane.broken:
                active.forget_ranking()
            elif len(self._order.body) > seat.lane.terms.max_request:  # it would be refused (rule 8.3)
                self._last = Refused(TOO_LARGE, f"no supplier takes a request of {len(self._order.body)} bytes")
            else:
                return seat


def _refusal_of(error: PocketError | TimeoutError) -> Refused:
    if isinstance(error, TimeoutError):
        return Refused(TIMED_OUT, "no supplier answered in time", retry_after_s=1)
    if isinstance(error, RelayFailed):
        fault = error.fault
        if fault.kind is FaultClass.BAD_REQUEST:
            return Refused(INVALID, fault.message)
        return Refused(NO_SUPPLIER, f"no supplier could answer: {fault.kind}", max(0.1, fault.retry_after_ms / 1000))
    return Refused(NO_SUPPLIER, "no supplier could answer", retry_after_s=1)
