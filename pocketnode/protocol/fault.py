"""Errors that travel as signed answers (rules 2.3 and 3.12)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pocketnode.errors import PocketError, RemoteError


class FaultClass(StrEnum):
    """Whose fault it is that a relay has no answer."""

    BACKEND = "backend"
    BUSY = "busy"
    BAD_REQUEST = "bad-request"
    NOT_IN_SESSION = "not-in-session"
    OUT_OF_BUDGET = "out-of-budget"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Fault:
    """One error answer; `retry_after_ms` says when this supplier may be asked again, 0 for at once or never."""

    kind: FaultClass
    message: str
    retry_after_ms: int = 0


class RelayFailed(PocketError):
    """A relay ended in a fault: raised by backends, signed by the transport, raised again at the gateway."""

    def __init__(self, kind: FaultClass, message: str, retry_after_ms: int = 0) -> None:
        super().__init__(f"{kind}: {message}")
        self.fault = Fault(kind, message, retry_after_ms)


def encode(fault: Fault) -> tuple[bytes, bytes]:
    """Return head and body of the error payload (rule 2.3).

    >>> encode(Fault(FaultClass.BUSY, "queue is full", 250))
    (b'!busy 250\\n\\n', b'queue is full')
    """
    return f"!{fault.kind} {fault.retry_after_ms}\n\n".encode(), fault.message.encode()


def is_fault(head: bytes) -> bool:
    """Return whether an answer head is that of an error payload."""
    return head.startswith(b"!")


def decode(head: bytes, body: bytes) -> Fault:
    """Return the fault in an error payload.

    Raises
    ------
    RemoteError
        rule 2.3: the head line is malformed or the class unknown.
    """
    try:
        kind, _, delay = head[1:].decode("ascii").strip().partition(" ")
        return Fault(FaultClass(kind), body.decode("utf-8", "replace"), int(delay))
    except ValueError as error:
        raise RemoteError("2.3", f"malformed error head {head[:80]!r}") from error
