"""Receipts that are on their way to the database: written at once, so that a killed supplier has lost none.

The database takes Receipts in batches, since each of its commits waits for the disk. Until then they stand here, in two
files by turns: what comes while a batch is written goes to the other file, and a file is emptied when the batch that
has all of it is committed. A Receipt that stands here and in the database alike changes nothing when it is kept again.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pocketnode.errors import Unavailable
from pocketnode.protocol.types import Receipt, Response, SignedReceipt, SignedResponse
from pocketnode.store.receipts import KeptReceipt

_LANE: Final = struct.Struct(">20s32sQ20s32s20s32sQ16s16s32s65s")
_ANSWER: Final = struct.Struct(">?32s32s16sII32s65s")
_SUM: Final = struct.Struct(">I")
ENTRY_BYTES: Final = _LANE.size + _ANSWER.size + _SUM.size
_NO_ANSWER: Final = bytes(_ANSWER.size)


class ReceiptLog:
    """The two files `PATH.a` and `PATH.b`. One process writes them; `replay` first.

    Raises
    ------
    Unavailable
        they cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [path.with_name(f"{path.name}.{name}") for name in "ab"]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files = [os.open(p, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600) for p in self._paths]
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}: receipts cannot be kept", 1.0) from error
        self._current = 0

    def note(self, kept: KeptReceipt) -> None:
        """Write a Receipt. Takes 5 us; where the disk is full nothing is written, and a kill may lose it."""
        entry = encode(kept)
        with suppress(OSError):
            written = os.write(self._files[self._current], entry)
            if written < ENTRY_BYTES:
                size = os.fstat(self._files[self._current]).st_size
                os.ftruncate(self._files[self._current], size - written)

    def turn(self) -> None:
        """Let what comes from now on go to the other file: all that was noted before is in the batch just taken."""
        self._current ^= 1

    def committed(self) -> None:
        """Forget what was noted before the last `turn`."""
        with suppress(OSError):
            os.ftruncate(self._files[self._current ^ 1], 0)

    def replay(self) -> Iterator[KeptReceipt]:
        """Yield what a former run noted, the older file's or the newer's first.

        A torn end is left out, and what a power cut left as zeros or as other bytes: a Receipt that proves more than
        was signed would displace a good one, and a claim with it would be refused.
        """
        for path in self._paths:
            raw = path.read_bytes()
            for at in range(0, len(raw) - ENTRY_BYTES + 1, ENTRY_BYTES):
                if is_sound(entry := raw[at : at + ENTRY_BYTES]):
                    yield decode(entry)

    def clear(self) -> None:
        """Forget everything, once it has been kept."""
        for file in self._files:
            os.ftruncate(file, 0)

    def close(self) -> None:
        """Close both files."""
        for file in self._files:
            os.close(file)


def encode(kept: KeptReceipt) -> bytes:
    """Return an entry of `ENTRY_BYTES` bytes, a checksum at its end."""
    entry = _facts(kept)
    return entry + _SUM.pack(zlib.crc32(entry))


def is_sound(entry: bytes) -> bool:
    """Return whether an entry is as it was written."""
    return entry[-_SUM.size :] == _SUM.pack(zlib.crc32(entry[: -_SUM.size]))


def _facts(kept: KeptReceipt) -> bytes:
    receipt = kept.receipt.receipt
    lane = _LANE.pack(
        kept.application,
        kept.service,
        kept.number,
        kept.gateway,
        receipt.session,
        receipt.supplier,
        receipt.lane,
        receipt.seq,
        receipt.total.to_bytes(16, "big"),
        receipt.hold.to_bytes(16, "big"),
        receipt.request,
        kept.receipt.signature,
    )
    if kept.response is None:
        return lane + _NO_ANSWER
    answer = kept.response.response
    return lane + _ANSWER.pack(
        True,
        answer.receipt,
        answer.payload,
        answer.units.to_bytes(16, "big"),
        answer.first_byte_ms,
        answer.done_ms,
        answer.backend,
        kept.response.signature,
    )


def decode(entry: bytes) -> KeptReceipt:
    """Return what an entry says."""
    application, service, number, gateway, session, supplier, lane, seq, total, hold, request, signature = (
        _LANE.unpack_from(entry)
    )
    receipt = Receipt(session, supplier, lane, seq, int.from_bytes(total, "big"), int.from_bytes(hold, "big"), request)
    answered, digest, payload, units, first_ms, done_ms, backend, answer_signature = _ANSWER.unpack_from(
        entry, _LANE.size
    )
    answer: SignedResponse | None = None
    if answered:
        response = Response(digest, payload, int.from_bytes(units, "big"), first_ms, done_ms, backend)
        answer = SignedResponse(response, answer_signature)
    return KeptReceipt(application, service, number, gateway, SignedReceipt(receipt, signature), answer)
