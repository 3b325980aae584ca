"""The account of relays that an operator sends to its own daemon: they pay nothing and prove nothing.

Only the operator key can sign their Receipts, so a stranger who opens such a lane gets no further.
"""

from __future__ import annotations

from typing import Final

from pocketnode.protocol.types import SignedReceipt, SignedResponse
from pocketnode.transport.ports import LaneTerms

SELF_TERMS: Final = LaneTerms(credit_limit=1_000_000, max_in_flight=4, max_request=1024 * 1024)


class SelfAccount:
    """Implements `transport.ports.Account` without a session or a grant; nothing of it is kept."""

    terms = SELF_TERMS

    def hold(self, units: int) -> None:
        """Hold nothing: the operator pays itself."""

    def release(self, held: int, served: int) -> None:
        """Release nothing."""

    def acknowledge(self, receipt: SignedReceipt, gained: int) -> None:
        """Keep nothing."""

    def responded(self, receipt: SignedReceipt, response: SignedResponse) -> None:
        """Keep nothing."""

    def lane_closed(self, lane: bytes) -> None:
        """Nothing to close."""
