"""Keeps a worker's scores in the store and reads what others measured, so that they survive restarts and add up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from pocketnode.errors import Unavailable
from pocketnode.gateway.scoreboard import HALF_LIFE_S, Score, Scoreboard, ScoreKey
from pocketnode.store.scores import ScoreRow, ScoreStore

KEPT_S: Final = 10 * HALF_LIFE_S
ALONE_EVERY_S: Final = 10.0
TOGETHER_EVERY_S: Final = 1.5

log = structlog.get_logger("gateway")


class ScoreKeeping:
    """`run` is a job of the daemon.

    Parameters
    ----------
    every_s : how often scores are written and others' read.
    """

    def __init__(
        self, board: Scoreboard, store: ScoreStore, every_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._board, self._store, self._every_s, self._clock = board, store, every_s, clock

    async def restore(self) -> None:
        """Take back what was measured before a restart, and learn what others have."""
        self._board.restore(_scores(await asyncio.to_thread(self._store.own)))
        self._board.take_others(_scores(await asyncio.to_thread(self._store.others)))

    async def run(self) -> None:
        """Write and read now and then until cancelled; write once more at the end."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.turn()
        finally:
            await self._write()

    async def turn(self) -> None:
        """Write the own scores and read the others'."""
        await self._write()
        try:
            self._board.take_others(_scores(await asyncio.to_thread(self._store.others)))
        except Unavailable as error:
            log.warning("others' scores are not read", error=str(error))

    async def _write(self) -> None:
        rows = [
            ScoreRow(*key, score.passes, score.tries, score.traffic, score.latency_ms, score.at_s)
            for key, score in self._board.items()
        ]
        try:
            await asyncio.to_thread(self._store.keep, rows, self._clock() - KEPT_S)
        except Unavailable as error:
            log.warning("scores are not kept", error=str(error))


def _scores(rows: list[ScoreRow]) -> list[tuple[ScoreKey, Score]]:
    return [
        ((row.service, row.kind, row.operator), Score(row.passes, row.tries, row.traffic, row.latency_ms, row.at_s))
        for row in rows
    ]
