"""Writes down what running sessions say that an audit needs later: where records are given, how much was served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from sqlalchemy import Engine

from pocketnode.errors import Unavailable
from pocketnode.store.audits import AuditRow, AuditStore

log = structlog.get_logger(__name__)

NOTE_EVERY_S: Final = 1.0
Heard = tuple[bytes, AuditRow]  # the supplier's operator address, and one of its sessions with a gateway


class Hearing:
    """`run` is a job of each process that serves: of those that share a store, another one may do the audits.

    Parameters
    ----------
    heard : asked every second for the sessions that are not over.
    """

    def __init__(self, engine: Engine, heard: Callable[[], Iterable[Heard]]) -> None:
        self._engine, self._heard = engine, heard
        self._noted: dict[tuple[bytes, bytes], AuditRow] = {}

    async def run(self) -> None:
        """Note what changed until cancelled, and a last time then."""
        try:
            while True:
                await asyncio.sleep(NOTE_EVERY_S)
                try:
                    await asyncio.to_thread(self.note)
                except Unavailable as error:
                    log.warning("heard_not_noted", error=str(error))
        finally:
            self.note()

    def note(self) -> None:
        """Note what changed since the last time. Waits for the database: call it from a thread.

        Raises
        ------
        Unavailable
            it is locked or its disk is full; noted the next time.
        """
        known = {(operator, row.pot): row for operator, row in self._heard()}
        for (operator, pot), row in known.items():
            if self._noted.get((operator, pot)) != row:
                AuditStore(self._engine, operator).note(row)
        self._noted = known
