"""Gets an answer: chooses a supplier, asks, judges, and asks another where that can help, inside a deadline."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import structlog

from pocketnode.errors import PocketError
from pocketnode.gateway.active import ActiveSession, Seat
from pocketnode.gateway.attempt import Attempt
from pocketnode.gateway.config import Retry, Selection
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.ports import Records
from pocketnode.gateway.refusal import INVALID, NO_SUPPLIER, TIMED_OUT, Refused
from pocketnode.gateway.selection import pick
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.payload import AnswerHead, decode_answer
from pocketnode.protocol.quality import Verdict
from pocketnode.transport.ports import Ended

log = structlog.get_logger()


class Judgement(Enum):
    """What an answer is worth: the verdict on who gave it, and whether another is asked."""

    TAKE = (Verdict.GOOD, True)
    REFUSED = (Verdict.NOBODY, True)  # an answer of the kind "your request is wrong"
    UNSURE = (Verdict.NOBODY, False)  # perhaps another knows better; else it is taken
    FAULT = (Verdict.FAULT, False)
    WRONG = (Verdict.WRONG, False)

    @property
    def verdict(self) -> Verdict:
        return self.value[0]

    @property
    def final(self) -> bool:
        return self.value[1]


# Looks at an answer's status and body and at the units it is said to cost.
Check = Callable[[int, bytes, int], Judgement]

# HTTP statuses of a backend that say something of it, not of the request.
_FAULTY: Final = frozenset({401, 402, 403, 405, 407, 500, 502, 503, 504})
_UNSURE: Final = frozenset({404, 408, 425, 429, 501})


def judge_status(status: int) -> Judgement | None:
    """Return what an HTTP status alone says; None where the body must be looked at."""
    if status < 400:
        return None
    if status in _FAULTY or status >= 505:
        return Judgement.FAULT
    return Judgement.UNSURE if status in _UNSURE else Judgement.REFUSED


@dataclass(slots=True)
class Order:
    """What is asked for.

    Parameters
    ----------
    current : returns the session to ask in; a retry may come after its end.
    kind : class of the relay: a model, or a pace of methods.
    hold, most : units at first and at most.
    repeatable : whether a second supplier may be asked when the first may have acted on it.
    only : the one operator that can answer, such as the one that keeps a filter.
    tried : operators that are asked no more; orders may share it, so that each goes to another supplier.
    """

    current: Callable[[], ActiveSession]
    kind: str
    head: bytes
    body: bytes
    hold: int
    most: int
    check: Check
    repeatable: bool = True
    tried: list[bytes] = field(default_factory=list)
    only: bytes | None = None


@dataclass(slots=True)
class Answer:
    """A whole answer, with the attempt that brought it."""

    head: AnswerHead
    body: bytes
    attempt: Attempt
    attempts: int


class Stream:
    """An answer that has begun. Read it to its end and `settle`, or `cancel`."""

    __slots__ = ("attempt", "attempts", "first", "head")

    def __init__(self, head: AnswerHead, first: bytes | None, attempt: Attempt, attempts: int) -> None:
        self.head = head
        self.first = first
        self.attempt = attempt
        self.attempts = attempts

    async def read(self) -> bytes | None:
        """Return the next part, or None at the end."""
        if (first := self.first) is not None:
            self.first = None
            return first
        reply = self.attempt.reply
        assert reply is not None
        return await reply.read()


class Relaying:
    """Asks suppliers. One for the daemon."""

    def __init__(self, records: Records, metrics: Metrics, retry: Retry, selection: Selection) -> None:
        self._records = records
        self._metrics = metrics
        self._retry = retry
        self._probation = selection.probation_share
        self._leaving: set[asyncio.Future[Ended | None]] = set()

    async def whole(self, order: Order) -> Answer:
        """Return a whole answer that passed its check, or the best that could be had.

        Raises
        ------
        Refused
            nobody could answer, or the answer is that the request is wrong.
        """
        trial = _Trial(self, order)
        doubtful: Answer | None = None
        while (attempt := trial.next()) is not None:
            try:
                async with asyncio.timeout(trial.left_s):
                    answer = await self._ask(order, attempt, trial)
            except asyncio.CancelledError:
                await attempt.cancel()
                raise
            except (PocketError, TimeoutError) as error:
                trial.note(error, attempt.failed(error))
                self.leave(attempt, error)
                continue
            judgement = _judge(order, answer)
            attempt.settle(judgement.verdict)
            if judgement.final:
                return answer
            trial.note_judgement(judgement, answer)
            if judgement is Judgement.UNSURE:
                doubtful = doubtful or answer
        if doubtful is not None:
            return doubtful
        raise trial.refusal()

    async def stream(self, order: Order) -> Stream:
        """Return an answer whose first part is here; up to that point another supplier may have been asked.

        Raises
        ------
        Refused
            as `whole`.
        """
        trial = _Trial(self, order)
        while (attempt := trial.next()) is not None:
            try:
                async with asyncio.timeout(trial.left_s):
                    first = await attempt.begin(order.head, order.body, order.hold, order.most)
                    assert attempt.reply is not None
                    head = decode_answer(attempt.reply.head)
            except asyncio.CancelledError:
                await attempt.cancel()
                raise
            except (PocketError, TimeoutError) as error:
                trial.note(error, attempt.failed(error))
                self.leave(attempt, error)
                continue
            judgement = judge_status(head.status)
            if judgement is None or judgement is Judgement.REFUSED:
                return Stream(head, first, attempt, trial.attempts)
            await _abandon(attempt, judgement.verdict)
            trial.note_judgement(judgement, None)
        raise trial.refusal()

    def leave(self, attempt: Attempt, error: BaseException) -> None:
        """Tell a supplier that we wait no longer; nobody waits for what it says to that."""
        if isinstance(error, TimeoutError) and attempt.reply is not None:
            leaving = asyncio.ensure_future(attempt.reply.cancel())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _ask(self, order: Order, attempt: Attempt, trial: _Trial) -> Answer:
        part = await attempt.begin(order.head, order.body, order.hold, order.most)
        reply = attempt.reply
        assert reply is not None
        body = part or b""
        if part is not None and (more := await reply.read()) is not None:
            parts = [body, more]
            while (more := await reply.read()) is not None:
                parts.append(more)
            body = b"".join(parts)
        return Answer(decode_answer(reply.head), body, attempt, trial.attempts)


class _Trial:
    """The attempts of one order."""

    __slots__ = ("_last", "_order", "_relaying", "_seat", "_started_s", "_tried", "active", "attempts", "left_s")

    def __init__(self, relaying: Relaying, order: Order) -> None:
        self._relaying = relaying
        self._order = order
        self._started_s = time.monotonic()
        self._tried = order.tried
        self._last: Refused | None = None
        self._seat: Seat | None = None
        self.attempts = 0
        self.active = order.current()
        self.left_s = self.active.service.spec.timeout_s

    def next(self) -> Attempt | None:
        """Return the next attempt, or None where trying is over."""
        retry = self._relaying._retry
        if self.attempts:
            passed_s = time.monotonic() - self._started_s
            over = passed_s >= retry.deadline_s or not self._order.repeatable
            if over or self.attempts >= retry.attempts or (self._last and self._last.reason is INVALID):
                return None
            self.active = self._order.current()
        seat = self._seat = self._choose()
        if seat is None:
            return None
        order = self._order
        attempt = Attempt(self.active, seat, order.kind, order.most, self._relaying._records, self._relaying._metrics)
        if not attempt.reserve():
            self._last = Refused(NO_SUPPLIER, "the application's grant for this session is used up", retry_after_s=5)
            return None
        self.attempts += 1
        return attempt

    def note(self, error: PocketError | TimeoutError, verdict: Verdict) -> None:
        """Remember why an attempt failed."""
        log.info(
            "attempt failed",
            service=self.active.service.name,
            supplier=self._seat.supplier_hex if self._seat else "",
            verdict=verdict.name.lower(),
            error=str(error) or type(error).__name__,
        )
        self._last = _refusal_of(error)

    def note_judgement(self, judgement: Judgement, answer: Answer | None) -> None:
        """Remember that an answer was no good."""
        detail = answer.body[:200].decode("utf-8", "replace") if answer is not None else ""
        log.info(
            "answer not taken",
            service=self.active.service.name,
            supplier=self._seat.supplier_hex if self._seat else "",
            judgement=judgement.name.lower(),
            answer=detail,
        )
        self._last = Refused(NO_SUPPLIER, "no supplier gave a sound answer", retry_after_s=1)

    def refusal(self) -> Refused:
        """Return why there is no answer."""
        if self._last is None or self._last.reason is not INVALID:
            self._relaying._metrics.refused(self.active.service.name)
        return self._last or Refused(NO_SUPPLIER, "no supplier can be reached now", retry_after_s=1)

    def _choose(self) -> Seat | None:
        active = self.active
        if (only := self._order.only) is not None:
            pinned = active.seats.get(only)
            return pinned if pinned is not None and pinned.open() else None
        ranking = active.ranking(self._order.kind, time.time())
        tried = self._tried
        probation = self._relaying._probation if self._order.repeatable else 0.0
        while True:
            operator = pick(ranking, active.load, random.random, probation, tried)
            if operator is None:
                return None
            seat = active.seats[operator]
            tried.append(operator)
            if seat.open():
                return seat
            active.forget_ranking()


def _judge(order: Order, answer: Answer) -> Judgement:
    by_status = judge_status(answer.head.status)
    if by_status is not None:
        return by_status
    reply = answer.attempt.reply
    ended = reply.ended if reply is not None else None
    units = ended.signed.response.units if ended is not None else 0
    return order.check(answer.head.status, answer.body, units)


async def _abandon(attempt: Attempt, verdict: Verdict) -> None:
    if attempt.reply is not None:
        await attempt.reply.cancel()
    attempt.settle(verdict)


def _refusal_of(error: PocketError | TimeoutError) -> Refused:
    if isinstance(error, TimeoutError):
        return Refused(TIMED_OUT, "no supplier answered in time", retry_after_s=1)
    if isinstance(error, RelayFailed):
        fault = error.fault
        if fault.kind is FaultClass.BAD_REQUEST:
            return Refused(INVALID, fault.message)
        return Refused(NO_SUPPLIER, f"no supplier could answer: {fault.kind}", max(0.1, fault.retry_after_ms / 1000))
    return Refused(NO_SUPPLIER, "no supplier could answer", retry_after_s=1)
