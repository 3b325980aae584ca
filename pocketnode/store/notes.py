"""Small facts that workers tell each other: the head a client was shown, who keeps a filter. Forgotten when not used.

A slot's payload is `noted u64` (Unix seconds), then 32 bytes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pocketnode.store.slots import Slots

_ONE: Final = struct.Struct("<Q")
NOTE_BYTES: Final = 32
PAYLOAD_BYTES: Final = _ONE.size + NOTE_BYTES


class Notes:
    """All notes.

    Parameters
    ----------
    path : None keeps them in this process alone.
    kept_s : how long a note that nobody renews is known.
    """

    def __init__(
        self, path: Path | None = None, kept_s: float = 3600.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._kept_s, self._clock = kept_s, clock
        self._slots = Slots(path, PAYLOAD_BYTES, self._idle)

    def close(self) -> None:
        """Let go of the file."""
        self._slots.close()

    def get(self, identity: bytes) -> bytes | None:
        """Return the 32 bytes noted, or None. Reads without the lock: about 1 us."""
        at = self._slots.find(identity)
        if at is None or self._idle(self._slots, at):
            return None
        return self._slots.data[at + _ONE.size : at + PAYLOAD_BYTES]

    def put(self, identity: bytes, note: bytes) -> None:
        """Note up to 32 bytes in place of what was noted before."""
        self._change(identity, note.ljust(NOTE_BYTES, b"\0"))

    def raise_to(self, identity: bytes, number: int) -> int:
        """Note a number if it is higher than the one noted; return the higher one."""
        noted = self.number(identity)
        if noted < number:
            noted = self._change(identity, number.to_bytes(NOTE_BYTES, "big"), highest=True)
        return max(noted, number)

    def number(self, identity: bytes) -> int:
        """Return the number noted; 0 for none."""
        return int.from_bytes(self.get(identity) or b"", "big")

    def _change(self, identity: bytes, note: bytes, highest: bool = False) -> int:
        slots = self._slots
        slots.lock()
        try:
            at = slots.place(identity)
            if highest and not self._idle(slots, at):
                note = max(note, slots.data[at + _ONE.size : at + PAYLOAD_BYTES])
            slots.data[at + _ONE.size : at + PAYLOAD_BYTES] = note
            _ONE.pack_into(slots.data, at, int(self._clock()))
        finally:
            slots.unlock()
        return int.from_bytes(note, "big")

    def _idle(self, slots: Slots, at: int) -> bool:
        noted_s: int = _ONE.unpack_from(slots.data, at)[0]
        return noted_s < self._clock() - self._kept_s
