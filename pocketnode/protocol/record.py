"""The relay record: what a gateway keeps of each attempt, 85 bytes (rule 5.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pocketnode.errors import RemoteError

_LAYOUT = struct.Struct(">32s32sIQIIB")
RECORD_BYTES = _LAYOUT.size


@dataclass(frozen=True, slots=True)
class RelayRecord:
    """One attempt.

    Parameters
    ----------
    receipt, response : 32-byte digests; `response` is zero where none verified.
    index : the supplier's index in the session (rule 4.3).
    units : what was accepted; 0 for a failure.
    first_byte_ms, done_ms : measured by the gateway (rule 6.4).
    verdict : a `quality.Verdict`.
    """

    receipt: bytes
    response: bytes
    index: int
    units: int
    first_byte_ms: int
    done_ms: int
    verdict: int


def encode(record: RelayRecord) -> bytes:
    """Return the record as 85 bytes."""
    return _LAYOUT.pack(
        record.receipt,
        record.response,
        record.index,
        record.units,
        record.first_byte_ms,
        record.done_ms,
        record.verdict,
    )


def decode(raw: bytes) -> RelayRecord:
    """Return the record in 85 bytes.

    Raises
    ------
    RemoteError
        rule 5.5: wrong length.
    """
    if len(raw) != RECORD_BYTES:
        raise RemoteError("5.5", f"a relay record has {RECORD_BYTES} bytes, not {len(raw)}")
    return RelayRecord(*_LAYOUT.unpack(raw))
