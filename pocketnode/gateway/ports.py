"""What the gateway needs from the chain, the wire and the disk: the real ones by the command line, fakes by tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.types import Grant, Params, Session
from pocketnode.transport.ports import LaneClient, Opening


class Market(Protocol):
    """What the chain says of sessions; cached by whoever implements it."""

    @property
    def head(self) -> int:
        """Number of the newest block; 0 before the first was read."""

    def number_now(self) -> int:
        """Return the number of the running session (rule 4.1)."""

    async def params(self, number: int) -> Params:
        """Return the parameters as they hold in a session."""

    async def session(self, application: bytes, service: bytes, number: int) -> Session:
        """Return a session that has begun.

        Raises
        ------
        Unavailable
            the chain has not come to it yet, or no node answers.
        """

    async def grant(self, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant | None:
        """Return a gateway's permission in a session, or None where it has none."""

    async def owner(self, registration: int) -> bytes:
        """Return the 20-byte address that owns a registration.

        Raises
        ------
        PocketError
            there is none, or no node answers.
        """


class LaneOpener(Protocol):
    """Opens lanes as this gateway; the key stays with who implements it."""

    async def open(self, opening: Opening, endpoint: str, fingerprint: bytes) -> LaneClient:
        """Return an open lane.

        Raises
        ------
        Unavailable
            refused connection, or the supplier drains.
        RemoteError
            the supplier closed it and named the rule.
        """


class Records(Protocol):
    """The relay records of all sessions, on disk, in the order of their appending (rule 5.5)."""

    def begin(self, session: Session) -> None:
        """Say that records will be appended to a session: it is not stated before `end`.

        Raises
        ------
        Unavailable
            it is stated already: this process lags behind the chain.
        """

    def end(self, session: Session) -> None:
        """Say that no record will be appended to a session any more."""

    def append(self, session: Session, record: RelayRecord) -> None:
        """Add one attempt. Synchronous and quick: it is on the hot path."""

    def read(self, session: Session) -> Iterable[RelayRecord]:
        """Return what was recorded in a session, also before a restart."""


class RecordFiles(Protocol):
    """Where whole sessions' records lie."""

    async def of(self, pot: bytes) -> Path:
        """Return the file with a pot's records, which nothing is added to any more.

        Raises
        ------
        NotFound
            none is kept, or the session is not stated yet.
        """


class Proofs(Protocol):
    """Shows that a relay is among the records of its session."""

    async def proven(self, digest: bytes) -> dict[str, Any]:
        """Return the record of the relay with this receipt digest and the path to its root, as JSON values.

        Raises
        ------
        NotFound
            none is kept.
        """
