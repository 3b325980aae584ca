"""Keeps answers that suppliers could gain by signing anew, of each session until its claims are over (rule 5.19)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from pocketnode.chain.market import Market
from pocketnode.errors import Unavailable
from pocketnode.protocol.session import pot_id
from pocketnode.store.answers import AnswerFiles
from pocketnode.store.receipts import KeptReceipt
from pocketnode.transport.answers import KeptAnswers
from pocketnode.transport.ports import Opening

log = structlog.get_logger(__name__)

SAVE_EVERY_S: Final = 1.0


@dataclass(slots=True)
class _PotAnswers:
    """What the lanes of one pot keep, and what a former run of this process did."""

    lanes: list[tuple[Opening, KeptAnswers]] = field(default_factory=list)
    former: list[KeptReceipt] | None = None

    @property
    def saved(self) -> bool:
        return all(kept.saved for _, kept in self.lanes)

    def entries(self) -> Iterator[KeptReceipt]:
        yield from self.former or ()
        for opening, kept in self.lanes:
            place = opening.application, opening.service, opening.number, opening.gateway
            for ended in kept.all():
                yield KeptReceipt(*place, ended.receipt_signed, ended.signed)


class Answers:
    """Gives every lane of this process a place for its answers, and writes them down. `run` is a job of the daemon.

    A process that is killed loses those of its last second.
    """

    def __init__(self, market: Market, files: AnswerFiles) -> None:
        self._market, self._files = market, files
        self._pots: dict[bytes, _PotAnswers] = {}

    def lane(self, opening: Opening) -> KeptAnswers:
        """Return where a new lane keeps its answers."""
        kept = KeptAnswers()
        self._pots.setdefault(pot_id(opening.session, opening.gateway), _PotAnswers()).lanes.append((opening, kept))
        return kept

    async def run(self) -> None:
        """Write every second what is new until cancelled, then what is left."""
        try:
            while True:
                await asyncio.sleep(SAVE_EVERY_S)
                try:
                    await asyncio.to_thread(self.save)
                    self._forget()
                except Unavailable as error:
                    log.error("answers_not_written", error=str(error))
        finally:
            self.save()

    def save(self) -> None:
        """Write what is new of every pot. Waits for the disk: call it from a thread.

        Raises
        ------
        Unavailable
            it does not take them now; they are written the next time.
        """
        for pot, answers in list(self._pots.items()):
            if not answers.saved:
                self._save(pot, answers)

    def _save(self, pot: bytes, answers: _PotAnswers) -> None:
        if answers.former is None:
            answers.former = self._files.own(pot)
        unsaved = [kept for _, kept in answers.lanes if not kept.saved]
        for kept in unsaved:
            kept.saved = True  # first, so that what comes meanwhile is written the next time
        try:
            self._files.write(pot, answers.entries())
        except Unavailable:
            for kept in unsaved:
                kept.saved = False
            raise

    def _forget(self) -> None:
        """Let go of sessions that no lane serves any more; their files are for whoever reads claims."""
        windows = self._market.deployment.windows
        for pot, answers in list(self._pots.items()):
            number = answers.lanes[0][0].number
            end = windows.anchor + (number + 1) * windows.length - 1
            if answers.saved and self._market.head > end + windows.statement:
                del self._pots[pot]
