"""What the gateway needs from the chain, the wire and the disk: the real ones by the command line, fakes by tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.types import Grant, Params, Session
from pocketnode.transport.ports import LaneClient, Opening


class Market(Protocol):
    """What the chain says of sessions. Cached by whoever implements it: asked once a block at most."""

    async def head(self) -> int:
        """Return the newest block's number.

        Raises
        ------
        Unavailable
            no RPC answers.
        """

    async def params(self) -> Params:
        """Return the parameters as they hold now."""

    async def session(self, application: bytes, service: bytes, number: int) -> Session:
        """Return a session that has begun.

        Raises
        ------
        Unavailable
            the chain has not come to it yet, or no RPC answers.
        """

    async def grant(self, application: bytes, service: bytes, number: int) -> Grant | None:
        """Return this gateway's permission in a session, or None where it has none."""


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

    def append(self, session: Session, record: RelayRecord) -> None:
        """Add one attempt. Synchronous and quick: it is on the hot path."""

    def read(self, session: Session) -> Iterable[RelayRecord]:
        """Return what was recorded in a session, also before a restart."""
