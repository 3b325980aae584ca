"""The values that everything speaks of. Frozen; bytes stay bytes; words are those of the glossary."""

from __future__ import annotations

from dataclasses import dataclass

ZERO32 = b"\x00" * 32


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a gateway signs for each relay (rule 3.2).

    Parameters
    ----------
    session : 32 bytes, rule 1.5.
    supplier : 20 bytes, the operator's address.
    lane : 32 bytes, rule 3.1.
    seq : rises by at least one with each request, >= 1.
    total : units of all relays of this lane accepted so far.
    hold : most units that this request may cost; 0 in a bare receipt.
    request : 32 bytes, hash of the request payload; zero in a bare receipt.
    """

    session: bytes
    supplier: bytes
    lane: bytes
    seq: int
    total: int
    hold: int
    request: bytes = ZERO32


@dataclass(frozen=True, slots=True)
class Response:
    """What a supplier signs for each answer (rule 3.9).

    Parameters
    ----------
    receipt : 32 bytes, digest of the newest Receipt of this seq.
    payload : 32 bytes, hash of the answer payload.
    units : what it cost, at most the hold.
    first_byte_ms, done_ms : since the request was complete at the supplier.
    backend : 32 bytes, who answered.
    """

    receipt: bytes
    payload: bytes
    units: int
    first_byte_ms: int
    done_ms: int
    backend: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """A gateway's account of a whole session (section 5). `entries` are packed by rule 5.3."""

    application: bytes
    service: bytes
    session: int
    entries: bytes
    relays_root: bytes


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    receipt: Receipt
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedResponse:
    response: Response
    signature: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One supplier's line of a statement: `quality` is w in ten-thousandths."""

    index: int
    units: int
    quality: int


@dataclass(frozen=True, slots=True)
class SessionSupplier:
    """A supplier as a session lists it.

    Parameters
    ----------
    index : place among the service's registrations (rule 4.3); what statements name.
    registration : the registration's permanent id.
    operator : 20 bytes, who signs Responses.
    price : base units per million units.
    endpoint : `host:port` of its gRPC listener.
    fingerprint : 32 bytes, SHA-256 of its TLS certificate; zero for plain text.
    """

    index: int
    registration: int
    operator: bytes
    price: int
    endpoint: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """Application x service x number, with the suppliers in rank order (rule 4.4)."""

    id: bytes
    application: bytes
    service: bytes
    number: int
    start: int
    end: int
    covered: bool
    suppliers: tuple[SessionSupplier, ...]

    def supplier(self, operator: bytes) -> SessionSupplier | None:
        """Return the supplier whose operator key this is, if the session lists it."""
        return next((s for s in self.suppliers if s.operator == operator), None)


@dataclass(frozen=True, slots=True)
class Grant:
    """An application's permission for a gateway and service.

    `cap` is base units a session; `expiry` is the last session it holds in.
    """

    cap: int
    expiry: int


@dataclass(frozen=True, slots=True)
class Params:
    """Protocol parameters as they hold in one session (section 7). Shares are ten-thousandths, spans are blocks."""

    anchor: int
    length: int
    suppliers: int
    grace: int
    statement_window: int
    claim_window: int
    thaw: int
    fee: int
    quality_share: int
    w_min: int
