"""The relay records of a gateway by session, for the part of it that serves requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

import structlog

from pocketnode.errors import Unavailable
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.session import pot_id
from pocketnode.protocol.types import Session
from pocketnode.store.pots import Pot, PotStore
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import ServingLocks

log = structlog.get_logger(__name__)

NOTE_EVERY_S: Final = 0.1
KNOWN_MOST: Final = 10_000


class SessionRecords:
    """Appends records to the pots of one gateway, and notes each new pot. `run` is a job of its daemon.

    From the records alone one cannot tell whose session they are of, so that a statement can be made after a restart.
    A pot is noted within a tenth of a second, off the event loop: the database may be locked, and requests go on. Of
    one whose gateway was killed before that nothing is stated, and its suppliers claim.

    Parameters
    ----------
    locks : say which sessions are still served, to whoever states them; None where nobody does.
    """

    def __init__(self, log: RecordLog, pots: PotStore, gateway: bytes, locks: ServingLocks | None = None) -> None:
        self._log, self._pots, self._gateway, self._locks = log, pots, gateway, locks
        self._ending: dict[bytes, bool] = {}  # pots that nothing is added to any more, in order
        self._known: dict[bytes, bytes] = {}
        self._new: deque[Pot] = deque()

    def begin(self, session: Session) -> None:
        """Say that records will be appended to a session: it is not stated before `end`.

        Raises
        ------
        Unavailable
            it is stated already.
        """
        pot = pot_id(session.id, self._gateway)
        if self._locks is not None:
            self._locks.hold(pot)
        self._ending.pop(pot, None)

    def end(self, session: Session) -> None:
        """Say that no record will be appended to a session any more; it holds once all of them are in the file."""
        self._ending[pot_id(session.id, self._gateway)] = True

    def append(self, session: Session, record: RelayRecord) -> None:
        """Add one attempt. Takes 5 us."""
        pot = self._known.get(session.id)
        if pot is None:
            pot = self._open(session)
        self._log.append(pot, record)

    def read(self, session: Session) -> Iterable[RelayRecord]:
        """Return what was recorded in a session, also before a restart."""
        return self._log.read(pot_id(session.id, self._gateway))

    def note(self) -> None:
        """Note the pots that are new. Waits while the database is locked: call it from a thread.

        Raises
        ------
        Unavailable
            it stays locked, or its disk is full; they are noted the next time.
        """
        while self._new:
            self._pots.open(self._new[0])
            self._new.popleft()

    async def let_go(self) -> None:
        """Let go of the pots that ended, once their records are in the file.

        Raises
        ------
        Unavailable
            the disk does not take them now; it is tried again.
        """
        ended = list(self._ending)
        for pot in ended:
            await asyncio.to_thread(self._log.close_pot, pot)
        for pot in ended:
            if self._ending.pop(pot, False) and self._locks is not None:  # nobody began it again meanwhile
                self._locks.release(pot, unused=not self._log.has(pot))

    async def run(self) -> None:
        """Note new pots until cancelled, and then what is left."""
        try:
            while True:
                await asyncio.sleep(NOTE_EVERY_S)
                try:
                    await asyncio.to_thread(self.note)
                    await self.let_go()
                except Unavailable as error:
                    log.error("pots_not_noted", error=str(error))
        finally:
            self.note()

    def _open(self, session: Session) -> bytes:
        pot = Pot(session.application, session.service, session.number, session.id, self._gateway)
        self._new.append(pot)
        if len(self._known) >= KNOWN_MOST:
            self._known.clear()  # a pot that is noted twice stays as it is
        self._known[session.id] = pot.id
        return pot.id
