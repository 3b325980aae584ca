"""What a backend is given and gives back. The lane's relay satisfies `Exchange` as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Exchange(Protocol):
    """One request and the way its answer goes out."""

    @property
    def head(self) -> bytes:
        """The request's head (rule 2.1)."""

    @property
    def body(self) -> bytes: ...
    @property
    def hold(self) -> int:
        """Units that it may cost as things stand."""

    async def start(self, head: bytes) -> None:
        """Send the answer's head (rule 2.2)."""

    async def write(self, data: bytes) -> None:
        """Send a part of the answer's body."""

    async def produced(self, units: int) -> None:
        """Say how many units the answer has cost so far; waits while that reaches the hold."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How an exchange ended well: what it cost, and the 32-byte identity of who answered."""

    units: int
    backend: bytes


class Backend(Protocol):
    """One server that answers."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> bytes:
        """32 bytes that change when the engine or the model behind this name does."""

    @property
    def facts(self) -> dict[str, Any]:
        """What it was recognised as, for people."""

    async def answer(self, exchange: Exchange) -> int:
        """Answer one request and return its units. Cancelling it stops the server's work at once.

        Raises
        ------
        BackendFailed
            the server did not answer; says whether another one may be asked.
        RelayFailed
            `bad-request`: nobody could answer it.
        """

    async def check(self) -> None:
        """Make the server do a small piece of its real work.

        Raises
        ------
        BackendFailed
            it did not.
        """

    async def load(self) -> int | None:
        """Return how many requests the server has, of whomever; None where it does not tell."""
