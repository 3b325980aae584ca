"""A session's cap shared by workers: each draws parts of it, spends them unasked, and gives back what it spares.

What all have drawn never exceeds the cap, so neither does what they spend; and what a killed worker had drawn stays
drawn for the one that follows it, which knows from its records how much of it is spent.

A slot's payload is `touched u64` (Unix seconds), then for each column what it has drawn: u128, in `units * price`.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Final

from pocketnode.store.counters import COLUMNS
from pocketnode.store.slots import Slots

_ONE: Final = struct.Struct("<Q")
DRAWN_BYTES: Final = 16
PAYLOAD_BYTES: Final = _ONE.size + DRAWN_BYTES * COLUMNS
KEPT_S: Final = 2 * 86_400  # longer than any session from one draw to the next


class Caps:
    """All sessions' caps.

    Parameters
    ----------
    path : None draws within this process alone.
    column : of this worker, in [0, COLUMNS).
    """

    def __init__(self, path: Path | None = None, column: int = 0) -> None:
        self._slots = Slots(path, PAYLOAD_BYTES, _idle)
        self._column = column

    def close(self) -> None:
        """Let go of the file."""
        self._slots.close()

    def draw(self, identity: bytes, cap: int, least: int, share: int) -> int:
        """Draw more of a cap: one part in `share` of what is left, but at least `least`; 0 where that is not left."""
        slots = self._slots
        slots.lock()
        try:
            at = slots.place(identity)
            left = cap - sum(self._all(at))
            more = max(least, left // share)
            if more > left:
                return 0
            self._write(at, self._own(at) + more)
            return more
        finally:
            slots.unlock()

    def keep(self, identity: bytes, drawn: int) -> None:
        """Say what this worker keeps of what it has drawn."""
        slots = self._slots
        slots.lock()
        try:
            self._write(slots.place(identity), drawn)
        finally:
            slots.unlock()

    def own(self, identity: bytes) -> int:
        """Return what this worker has drawn, also before it was started again."""
        at = self._slots.find(identity)
        return 0 if at is None else self._own(at)

    def drawn(self, identity: bytes) -> int:
        """Return what all have drawn. Reads without the lock: for what can be asked again."""
        at = self._slots.find(identity)
        return 0 if at is None else sum(self._all(at))

    def _all(self, at: int) -> list[int]:
        raw = self._slots.data[at + _ONE.size : at + PAYLOAD_BYTES]
        return [int.from_bytes(raw[n : n + DRAWN_BYTES], "little") for n in range(0, len(raw), DRAWN_BYTES)]

    def _own(self, at: int) -> int:
        own_at = at + _ONE.size + DRAWN_BYTES * self._column
        return int.from_bytes(self._slots.data[own_at : own_at + DRAWN_BYTES], "little")

    def _write(self, at: int, drawn: int) -> None:
        own_at = at + _ONE.size + DRAWN_BYTES * self._column
        data = self._slots.data
        _ONE.pack_into(data, at, int(time.time()))
        data[own_at : own_at + DRAWN_BYTES] = drawn.to_bytes(DRAWN_BYTES, "little")


def _idle(slots: Slots, at: int) -> bool:
    touched_s: int = _ONE.unpack_from(slots.data, at)[0]
    return touched_s < time.time() - KEPT_S
