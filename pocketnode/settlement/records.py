"""The relay records of a gateway by session, for the part of it that serves requests."""

from __future__ import annotations

from collections.abc import Iterable

from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.session import pot_id
from pocketnode.protocol.types import Session
from pocketnode.store.pots import Pot, PotStore
from pocketnode.store.records import RecordLog


class SessionRecords:
    """Appends records to the pots of one gateway, and notes each pot before its first record.

    So that a statement can be made after a restart: from the records alone one cannot tell whose session they are of.
    """

    def __init__(self, log: RecordLog, pots: PotStore, gateway: bytes) -> None:
        self._log, self._pots, self._gateway = log, pots, gateway
        self._known: dict[bytes, bytes] = {}

    def append(self, session: Session, record: RelayRecord) -> None:
        """Add one attempt. Takes 3 us, and a few milliseconds the first time in a session."""
        pot = self._known.get(session.id)
        if pot is None:
            pot = self._open(session)
        self._log.append(pot, record)

    def read(self, session: Session) -> Iterable[RelayRecord]:
        """Return what was recorded in a session, also before a restart."""
        return self._log.read(pot_id(session.id, self._gateway))

    def _open(self, session: Session) -> bytes:
        pot = Pot(session.application, session.service, session.number, session.id, self._gateway)
        self._pots.open(pot)
        self._known = {known: of for known, of in self._known.items() if len(self._known) < 10_000}
        self._known[session.id] = pot.id
        return pot.id
