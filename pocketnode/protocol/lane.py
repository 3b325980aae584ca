"""What one lane owes, seen from both ends. Pure: the transport sends, the daemons store."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pocketnode.errors import LocalError, RemoteError
from pocketnode.protocol.types import ZERO32, Receipt


@dataclass(frozen=True, slots=True)
class SupplierLane:
    """A lane as its supplier knows it.

    Parameters
    ----------
    seq : of the newest request or bare Receipt.
    total : units the gateway has acknowledged.
    served : units answered for; never below `total` while the gateway is honest.
    held : sum of the holds of relays in flight.
    """

    seq: int = 0
    total: int = 0
    served: int = 0
    held: int = 0

    @property
    def unacknowledged(self) -> int:
        """Units at risk: served and not acknowledged, and held."""
        return max(0, self.served - self.total) + self.held


def check_order(lane: SupplierLane, receipt: Receipt) -> None:
    """Refuse a Receipt that goes back. Costs no signature check.

    Raises
    ------
    RemoteError
        rule 3.4.
    """
    if receipt.seq <= lane.seq or receipt.total < lane.total:
        raise RemoteError("3.4", f"receipt {receipt.seq}/{receipt.total} after {lane.seq}/{lane.total}")


def accept(lane: SupplierLane, receipt: Receipt) -> SupplierLane:
    """Return the lane after a Receipt with a valid signature: a request, or a bare Receipt.

    Raises
    ------
    RemoteError
        rule 3.4: the sequence or the total goes back.
    """
    check_order(lane, receipt)
    return SupplierLane(receipt.seq, receipt.total, lane.served, lane.held + receipt.hold)


def raise_hold(lane: SupplierLane, held: Receipt, receipt: Receipt) -> SupplierLane:
    """Return the lane after the hold of an in-flight relay is raised from `held` to `receipt` (rule 3.11).

    Raises
    ------
    RemoteError
        rule 3.11: the hold does not rise, the total falls, or it is of another request.
    """
    if receipt.request != held.request or receipt.hold <= held.hold or receipt.total < lane.total:
        raise RemoteError("3.11", f"hold {receipt.hold}/{receipt.total} after {held.hold}/{lane.total}")
    return replace(lane, total=receipt.total, held=lane.held + receipt.hold - held.hold)


def answered(lane: SupplierLane, hold: int, units: int) -> SupplierLane:
    """Return the lane after a relay that held `hold` was answered for `units`.

    Raises
    ------
    LocalError
        rule 3.9: more units than held.
    """
    if not 0 <= units <= hold <= lane.held:
        raise LocalError("3.9", f"{units} units on a hold of {hold}, {lane.held} held in all")
    return SupplierLane(lane.seq, lane.total, lane.served + units, lane.held - hold)


@dataclass(frozen=True, slots=True)
class GatewayLane:
    """A lane as its gateway knows it: what it signs next.

    Parameters
    ----------
    session, supplier, lane : the fields that all Receipts of this lane share.
    seq : of the last Receipt signed with a new seq.
    total : units of all relays accepted.
    signed_total : the total that the newest Receipt told the supplier.
    """

    session: bytes
    supplier: bytes
    lane: bytes
    seq: int = 0
    total: int = 0
    signed_total: int = 0

    @property
    def unsigned(self) -> int:
        """Units accepted and not yet told to the supplier."""
        return self.total - self.signed_total


def request_receipt(lane: GatewayLane, request: bytes, hold: int) -> tuple[GatewayLane, Receipt]:
    """Return the lane and the Receipt for its next request (rule 3.2)."""
    receipt = Receipt(lane.session, lane.supplier, lane.lane, lane.seq + 1, lane.total, hold, request)
    # Not `replace`, which takes twice as long: this is done for every relay.
    return GatewayLane(lane.session, lane.supplier, lane.lane, receipt.seq, lane.total, lane.total), receipt


def bare_receipt(lane: GatewayLane) -> tuple[GatewayLane, Receipt]:
    """Return the lane and a Receipt that only acknowledges (rule 3.13)."""
    return request_receipt(lane, ZERO32, 0)


def raised_receipt(lane: GatewayLane, held: Receipt, hold: int) -> tuple[GatewayLane, Receipt]:
    """Return the lane and the Receipt that raises the hold of the relay of `held` (rule 3.11).

    Raises
    ------
    LocalError
        rule 3.11: the hold does not rise.
    """
    if hold <= held.hold:
        raise LocalError("3.11", f"hold {hold} after {held.hold}")
    return replace(lane, signed_total=lane.total), replace(held, total=lane.total, hold=hold)


def accepted(lane: GatewayLane, units: int) -> GatewayLane:
    """Return the lane after a relay whose Response verified (rule 3.10)."""
    return GatewayLane(lane.session, lane.supplier, lane.lane, lane.seq, lane.total + units, lane.signed_total)
