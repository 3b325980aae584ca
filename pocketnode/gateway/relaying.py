"""Gets an answer: chooses a supplier, asks, judges, and asks another where that can help, inside a deadline.

Where an answer is later than nearly all others were, a second supplier is asked as well: the first sound answer is
given, and the other is waited for by nobody but the record of its attempt.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from pocketnode.errors import PocketError
from pocketnode.gateway.attempt import Attempt
from pocketnode.gateway.config import Retry, Selection
from pocketnode.gateway.hedging import Hedging
from pocketnode.gateway.judging import Judgement, judge_status
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.orders import Answer, Order, Stream, judged
from pocketnode.gateway.ports import Records
from pocketnode.gateway.trial import Means, Trial
from pocketnode.protocol.payload import decode_answer
from pocketnode.protocol.quality import Verdict


class Relaying:
    """Asks suppliers. One for the daemon."""

    def __init__(self, records: Records, metrics: Metrics, retry: Retry, selection: Selection) -> None:
        self.hedging = Hedging()
        self._means = Means(records, metrics, retry, selection.probation_share)
        self._leaving: set[asyncio.Future[Any]] = set()

    def adopt(self, retry: Retry, selection: Selection) -> None:
        """Try requests that come from now on by other rules."""
        self._means = replace(self._means, retry=retry, probation_share=selection.probation_share)

    async def whole(self, order: Order) -> Answer:
        """Return a whole answer that passed its check, or the best that could be had.

        Raises
        ------
        Refused
            nobody could answer, or the answer is that the request is wrong.
        """
        trial = Trial(self._means, order)
        while (attempt := await trial.next()) is not None:
            after_s = self.hedging.after_s(trial.active.service.name, order.kind) if order.hedge else None
            if after_s is None or await self._comes_within(attempt, order, after_s):
                answer = await self._settled(order, attempt, trial)
            else:
                answer = await self._hedged(order, attempt, trial)
            if answer is not None:
                return answer
        if trial.doubtful is not None:
            return trial.doubtful
        raise trial.refusal()

    async def stream(self, order: Order) -> Stream:
        """Return an answer whose first part is here; up to that point another supplier may have been asked.

        Raises
        ------
        Refused
            as `whole`.
        """
        trial = Trial(self._means, order)
        while (attempt := await trial.next()) is not None:
            try:
                async with asyncio.timeout(trial.left_s):
                    first = await attempt.begin(order.head, order.body, order.hold, order.most)
                    assert attempt.reply is not None
                    head = decode_answer(attempt.reply.head)
            except asyncio.CancelledError:
                await attempt.cancel()
                raise
            except (PocketError, TimeoutError) as error:
                trial.note(attempt, error, attempt.failed(error))
                self.leave(attempt, error)
                continue
            judgement = judge_status(head.status)
            if judgement is None or judgement is Judgement.REFUSED:
                return Stream(head, first, attempt, trial.attempts)
            await _abandon(attempt, judgement.verdict)
            trial.note_judgement(attempt, judgement, None)
        raise trial.refusal()

    def leave(self, attempt: Attempt, error: BaseException) -> None:
        """Tell a supplier that we wait no longer; nobody waits for what it says to that."""
        if isinstance(error, TimeoutError) and attempt.reply is not None:
            self._let_go(asyncio.ensure_future(attempt.reply.cancel()))

    # ---- one attempt

    async def _settled(self, order: Order, attempt: Attempt, trial: Trial) -> Answer | None:
        """Wait for an attempt to its end; return its answer, or None if another supplier should be asked."""
        try:
            body = await self._body(order, attempt, trial)
            assert attempt.reply is not None
            answer = Answer(decode_answer(attempt.reply.head), body, attempt, trial.attempts)
            judgement = await judged(order, answer)
        except asyncio.CancelledError:
            await attempt.cancel()
            raise
        except (PocketError, TimeoutError) as error:
            trial.note(attempt, error, attempt.failed(error))
            self.leave(attempt, error)
            return None
        attempt.settle(judgement.verdict)
        if judgement is Judgement.TAKE and order.hedge:
            self.hedging.observe(trial.active.service.name, order.kind, attempt.waited_s)
        if judgement.final:
            return answer
        trial.note_judgement(attempt, judgement, answer)
        return None

    async def _body(self, order: Order, attempt: Attempt, trial: Trial) -> bytes:
        if attempt.arrived:  # most answers come in one frame: a timer for them is 2 % of the gateway's time
            return await attempt.whole(order.head, order.body, order.hold, order.most)
        async with asyncio.timeout(trial.left_s):
            return await attempt.whole(order.head, order.body, order.hold, order.most)

    # ---- two at once

    async def _comes_within(self, attempt: Attempt, order: Order, seconds: float) -> bool:
        """Wait a moment for an answer to begin; whether it failed is found out by who waits next."""
        try:
            await attempt.ask(order.head, order.body, order.hold, order.most, seconds)
        except asyncio.CancelledError:
            await attempt.cancel()
            raise
        except TimeoutError:
            return not self.hedging.spend()
        except PocketError:
            return True
        return True

    async def _hedged(self, order: Order, first: Attempt, trial: Trial) -> Answer | None:
        """Ask a second supplier while the first is still waited for; return the first sound answer."""
        running = {asyncio.ensure_future(self._settled(order, first, trial))}
        second = await trial.next()
        if second is not None:
            running.add(asyncio.ensure_future(self._settled(order, second, trial)))
        try:
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (answer := task.result()) is not None:
                        for other in running:
                            self._let_go(other)
                        return answer
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            raise
        return None

    def _let_go(self, work: asyncio.Future[Any]) -> None:
        self._leaving.add(work)
        work.add_done_callback(self._leaving.discard)


async def _abandon(attempt: Attempt, verdict: Verdict) -> None:
    if attempt.reply is not None:
        await attempt.reply.cancel()
    attempt.settle(verdict)
