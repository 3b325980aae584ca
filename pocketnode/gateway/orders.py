"""What is asked of suppliers, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pocketnode.gateway.active import ActiveSession
from pocketnode.gateway.attempt import Attempt
from pocketnode.gateway.judging import Check, Judgement, judge_status
from pocketnode.protocol.payload import AnswerHead


@dataclass(slots=True)
class Order:
    """What is asked for.

    Parameters
    ----------
    current : returns the session to ask in; a retry may come after its end.
    kind : class of the relay: a model, or a pace of methods.
    hold, most : units at first and at most.
    repeatable : whether a second supplier may be asked when the first may have acted on it.
    hedge : a second supplier may be asked while the first is late.
    prefix : requests with the same one go to the same supplier where that can be; empty for none.
    trail : every attempt that is made, in order; for who asked to tell what happened.
    recount : looks once more at an answer that passed its check, off the loop where that takes long; False is wrong.
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
    hedge: bool = False
    prefix: bytes = b""
    trail: list[Attempt] = field(default_factory=list)
    recount: Callable[[Answer], Awaitable[bool]] | None = None


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


async def judged(order: Order, answer: Answer) -> Judgement:
    """Return what a whole answer is worth."""
    judgement = _at_sight(order, answer)
    if judgement is Judgement.TAKE and order.recount is not None and not await order.recount(answer):
        return Judgement.WRONG
    return judgement


def _at_sight(order: Order, answer: Answer) -> Judgement:
    by_status = judge_status(answer.head.status)
    if by_status is not None:
        return by_status
    reply = answer.attempt.reply
    ended = reply.ended if reply is not None else None
    units = ended.signed.response.units if ended is not None else 0
    return order.check(answer.head.status, answer.body, units)
