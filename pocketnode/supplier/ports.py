"""What the supplier needs from the chain and the disk: the real ones by the command line, fakes by tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from pocketnode.protocol.types import Grant, Params, Session
from pocketnode.store.receipts import KeptReceipt


class Clock(Protocol):
    """The chain's own time."""

    @property
    def number(self) -> int:
        """Number of the newest block known here."""


class Market(Protocol):
    """What the chain says of sessions. Cached by whoever implements it."""

    def number_now(self) -> int:
        """Return the number of the running session."""

    async def params(self, number: int) -> Params:
        """Return the parameters as they hold in a session."""

    async def session(self, application: bytes, service: bytes, number: int) -> Session:
        """Return a session.

        Raises
        ------
        Unavailable
            the chain has not come to it yet, or no RPC answers.
        """

    async def grant(self, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant | None:
        """Return a gateway's permission in a session, or None where it has none."""


class Receipts(Protocol):
    """The newest Receipt of each lane, on disk. Synchronous: called from a thread."""

    def keep(self, newest: Iterable[KeptReceipt]) -> None:
        """Keep of each lane the Receipt that proves most.

        Raises
        ------
        Unavailable
            the store is locked or its disk is full.
        """


class Experience(Protocol):
    """What became of the sessions of each gateway."""

    @property
    def multipliers(self) -> Mapping[bytes, float]:
        """Gateway -> pay over what equal quality would have paid; only of gateways with enough sessions."""
