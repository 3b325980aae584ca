"""What the two ends of a lane need from the daemons around them, and give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pocketnode.protocol.session import session_id
from pocketnode.protocol.types import SignedReceipt, SignedResponse


@dataclass(frozen=True, slots=True)
class Opening:
    """What all Receipts of a lane share, and how its session id came about.

    Parameters
    ----------
    application, supplier, gateway : 20-byte addresses.
    service : 32 bytes.
    number : the session's.
    lane : 32 bytes, chosen by the gateway.
    records : address where the gateway gives its relay records (rule 5.18); empty for none.
    """

    application: bytes
    service: bytes
    number: int
    supplier: bytes
    gateway: bytes
    lane: bytes
    records: str = ""

    @property
    def session(self) -> bytes:
        """The 32-byte session id (rule 1.5)."""
        return session_id(self.application, self.service, self.number)


@dataclass(frozen=True, slots=True)
class LaneTerms:
    """Limits of a lane, told to the gateway when it opens.

    Parameters
    ----------
    credit_limit : units that may be unacknowledged or held at once, over all lanes of the gateway (rule 3.6).
    max_in_flight : relays at once on this lane.
    max_request : bytes of a request payload.
    """

    credit_limit: int
    max_in_flight: int = 256
    max_request: int = 32 * 1024 * 1024


# ---- the supplier's end


class Account(Protocol):
    """One gateway's account with this supplier in one session, over all its lanes.

    Synchronous, since it is on the hot path.
    """

    @property
    def terms(self) -> LaneTerms: ...

    def hold(self, units: int) -> None:
        """Set `units` aside for a relay in flight.

        Raises
        ------
        RelayFailed
            `out-of-budget` by rules 3.6 and 3.8, `not-in-session` once the grace blocks are over.
        """

    def release(self, held: int, served: int) -> None:
        """Undo a `hold` of `held` units; `served` of them were answered for."""

    def acknowledge(self, receipt: SignedReceipt, gained: int) -> None:
        """Keep the newest Receipt of its lane; it acknowledges `gained` units more than the one before."""

    def responded(self, receipt: SignedReceipt, response: SignedResponse) -> None:
        """Keep our own Response to the newest Receipt of a lane: it adds to a claim (rule 5.7)."""

    def lane_closed(self, lane: bytes) -> None:
        """The stream of `lane` has ended."""


class Relay(Protocol):
    """A request on its way through the supplier, as whoever answers it sees it."""

    @property
    def opening(self) -> Opening: ...
    @property
    def head(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    @property
    def hold(self) -> int:
        """The hold as it stands now: it may be raised while the relay runs (rule 3.11)."""

    async def start(self, head: bytes) -> None:
        """Send the answer's head (rule 2.2)."""

    async def write(self, data: bytes) -> None:
        """Send a part of the answer's body; waits while the gateway does not take it."""

    async def produced(self, units: int) -> None:
        """Say how many units the answer has cost so far; waits while that reaches the hold."""


@dataclass(frozen=True, slots=True)
class Served:
    """How a relay ended well: `units` (cut to the hold by the transport) and the 32-byte identity of the backend."""

    units: int
    backend: bytes


class Answerer(Protocol):
    """The supplier daemon behind the transport."""

    async def admit(self, opening: Opening) -> Account:
        """Return the account that a lane runs on.

        Raises
        ------
        RemoteError
            rule 3.5 (no grant) or 3.7 (no such session, or it does not list this supplier).
        Unavailable
            the daemon drains or cannot read the chain.
        """

    async def answer(self, relay: Relay) -> Served:
        """Answer one relay through `relay.start`, `write` and `produced`.

        Cancelled when the gateway cancels or goes away: the backend's work must stop at once.

        Raises
        ------
        RelayFailed
            becomes a signed error (rule 3.12).
        """


# ---- the gateway's end


@dataclass(frozen=True, slots=True)
class Ended:
    """A verified end of an answer: what a relay record is made of.

    Parameters
    ----------
    receipt, response : the 32-byte digests.
    signed : the supplier's Response and signature.
    receipt_signed : the Receipt it answers, as signed by us.
    """

    receipt: bytes
    response: bytes
    signed: SignedResponse
    receipt_signed: SignedReceipt


class Reply(Protocol):
    """An answer on its way through the gateway."""

    @property
    def head(self) -> bytes:
        """The answer's head (rule 2.2); empty before `begun` has returned."""

    async def begun(self, within_s: float | None = None) -> None:
        """Wait for the head; raises what `read` raises, and TimeoutError if it is not here within so many seconds."""

    async def read(self) -> bytes | None:
        """Return the next part of the body, or None at its end.

        Raises
        ------
        RelayFailed
            the supplier ended it with a signed error.
        RemoteError
            rule 3.10: the Response does not verify.
        Unavailable
            the lane broke.
        """

    @property
    def receipt(self) -> bytes:
        """The 32-byte digest of the newest Receipt of this relay, as signed by us."""

    @property
    def refused(self) -> Ended | None:
        """The verified end of a signed error (rule 3.12), once that was raised; it is never accepted."""

    @property
    def ended(self) -> Ended | None:
        """Set once `read` has returned None."""

    def accept(self) -> int:
        """Add the units of the ended relay to the lane's total (rule 3.10) and return them; once only."""

    async def cancel(self) -> Ended | None:
        """Stop the answer (rule 3.14); waits a short while for the signed end of what was sent."""


class LaneClient(Protocol):
    """An open lane of this gateway worker to one supplier."""

    @property
    def opening(self) -> Opening: ...
    @property
    def terms(self) -> LaneTerms: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def total(self) -> int:
        """Units accepted on this lane so far."""

    @property
    def broken(self) -> bool:
        """Whether the lane has ended; the next one must be opened."""

    async def relay(self, head: bytes, body: bytes, hold: int, most: int | None = None) -> Reply:
        """Send one request and return when its answer begins.

        Parameters
        ----------
        hold : units this request may cost to begin with.
        most : units up to which the hold is raised as the answer advances (rule 3.11); `hold` if None.

        Raises
        ------
        RelayFailed, RemoteError, Unavailable : as `Reply.read`.
        """

    async def send(self, head: bytes, body: bytes, hold: int, most: int | None = None) -> Reply:
        """Send one request and return at once: for who must be able to cancel before the answer begins."""

    async def close(self) -> None:
        """Acknowledge what is accepted with a bare Receipt (rule 3.13) and end the stream."""
