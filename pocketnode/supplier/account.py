"""What one gateway may cost this supplier in one session (rules 3.6 to 3.8). On the hot path: plain integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.statement import UNITS_PER_PRICE, amount_down
from pocketnode.protocol.types import Grant, Session, SessionSupplier, SignedReceipt, SignedResponse
from pocketnode.supplier.ports import Clock
from pocketnode.transport.ports import LaneTerms

UNSAVED_RETRY_MS = 100


@dataclass(slots=True)
class Credit:
    """What a gateway may leave unpaid to a supplier in a service, over all sessions; `at_risk` is how much it does."""

    limit: int
    at_risk: int = 0


@dataclass(frozen=True, slots=True)
class Pot:
    """Whose account it is: a session, and the gateway that owes (rule 5.1)."""

    session: Session
    gateway: bytes
    us: SessionSupplier
    grant: Grant

    @property
    def guarantee(self) -> int:
        """Units that escrow guarantees us at our price (rule 5.14); no limit where the price is zero."""
        if not self.us.price:
            return 2**63
        return self.grant.cap * UNITS_PER_PRICE // (len(self.session.suppliers) * self.us.price)


class Kept(Protocol):
    """Takes what must reach the disk."""

    def acknowledged(self, account: GatewayAccount, receipt: SignedReceipt) -> None: ...
    def responded(self, account: GatewayAccount, receipt: SignedReceipt, response: SignedResponse) -> None: ...


class GatewayAccount:
    """Implements `transport.ports.Account`."""

    def __init__(self, pot: Pot, credit: Credit, terms: LaneTerms, kept: Kept, clock: Clock, last_block: int) -> None:
        self.pot = pot
        self.terms = terms
        self.lanes = 0
        self.held = 0
        self.elsewhere = 0
        self.acknowledged = 0
        self.unacknowledged = 0
        self.late = 0  # units answered after the session's last block: no statement need name them (rule 5.4)
        self.unsaved = 0
        self.most_owed = pot.guarantee
        self.records = ""  # address where the gateway gives its relay records
        self._credit = credit
        self._kept = kept
        self._clock = clock
        self._last_block = last_block

    @property
    def over(self) -> bool:
        """Whether the grace blocks have passed."""
        return self._clock.number > self._last_block

    @property
    def owed_units(self) -> int:
        """Acknowledged, served and held units of the session, those before a restart and of replicas among them."""
        return self.elsewhere + self.acknowledged + self.unacknowledged + self.held

    @property
    def statable_units(self) -> int:
        """What an honest statement names at least: of what was answered after the end only what is acknowledged."""
        return self.acknowledged + max(0, self.unacknowledged - self.late)

    @property
    def acknowledged_amount(self) -> int:
        """What the Receipts prove, in base units at our price."""
        return amount_down(self.elsewhere + self.acknowledged, self.pot.us.price)

    def count_elsewhere(self, kept: int) -> None:
        """Take in that the store's Receipts prove `kept` units of this account, ours that are saved among them."""
        self.elsewhere = max(0, kept - (self.acknowledged - self.unsaved))

    def hold(self, units: int) -> None:
        """Set `units` aside, or refuse the relay by the first rule that it breaks."""
        credit = self._credit
        if self.over:
            raise RelayFailed(FaultClass.NOT_IN_SESSION, f"session {self.pot.session.number} is over (rule 3.7)")
        if credit.at_risk + units > credit.limit:
            told = f"{credit.at_risk} units unpaid, {units} more asked, {credit.limit} allowed (rule 3.6)"
            raise RelayFailed(FaultClass.OUT_OF_BUDGET, told)
        if self.unsaved > credit.limit:
            raise RelayFailed(FaultClass.BUSY, "receipts are not on disk yet", UNSAVED_RETRY_MS)
        if self.owed_units + units > self.most_owed:
            told = f"{self.owed_units} units owed, escrow guarantees {self.most_owed} (rule 3.8)"
            raise RelayFailed(FaultClass.OUT_OF_BUDGET, told)
        self.held += units
        credit.at_risk += units

    def release(self, held: int, served: int) -> None:
        """Undo a hold; what was served stays at risk until it is acknowledged."""
        self.held -= held
        self.unacknowledged += served
        if self._clock.number > self.pot.session.end:
            self.late += served
        self._credit.at_risk += served - held

    def acknowledge(self, receipt: SignedReceipt, gained: int) -> None:
        """Count what the Receipt acknowledges, and have it kept."""
        if gained:
            settled = min(gained, self.unacknowledged)
            self.acknowledged += gained
            self.unsaved += gained
            self.unacknowledged -= settled
            self._credit.at_risk -= settled
        self._kept.acknowledged(self, receipt)

    def responded(self, receipt: SignedReceipt, response: SignedResponse) -> None:
        """Have our Response kept: with its Receipt it proves units that nobody has acknowledged yet."""
        self._kept.responded(self, receipt, response)

    def lane_closed(self, lane: bytes) -> None:
        """Count the lane off; what it left unacknowledged stays at risk until the session is over."""
        self.lanes -= 1

    def forget(self) -> None:
        """Take what is left of this account off the gateway's credit: the session is over, claims decide."""
        self._credit.at_risk -= self.unacknowledged + self.held
        self.unacknowledged = self.held = 0
