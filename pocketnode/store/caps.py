"""A session's cap shared by workers: each leases parts of it, spends them unasked, and gives back what it spares.

What all have leased never exceeds the cap, so neither does what they spend; and what a killed worker had leased stays
leased to the one that follows it, which knows from its records how much of it is spent.

A slot's payload is `touched u64` (Unix seconds), then for each column the lease: u128, in `units * price`.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Final

from pocketnode.store.counters import COLUMNS
from pocketnode.store.slots import Slots

_ONE: Final = struct.Struct("<Q")
LEASE_BYTES: Final = 16
PAYLOAD_BYTES: Final = _ONE.size + LEASE_BYTES * COLUMNS
KEPT_S: Final = 7 * 86_400  # of sessions that no worker came to close


class Leases:
    """All sessions' caps.

    Parameters
    ----------
    path : None leases within this process alone.
    column : of this worker, in [0, COLUMNS).
    """

    def __init__(self, path: Path | None = None, column: int = 0) -> None:
        self._slots = Slots(path, PAYLOAD_BYTES, _idle)
        self._column = column

    def close(self) -> None:
        """Let go of the file."""
        self._slots.close()

    def take(self, identity: bytes, cap: int, least: int, wish: int) -> int:
        """Lease more of a cap, as near to `wish` as it allows; return how much: 0 where it is less than `least`."""
        slots = self._slots
        slots.lock()
        try:
            at = slots.place(identity)
            left = cap - sum(self._all(at))
            more = min(max(least, wish), left)
            if more < least or more <= 0:
                return 0
            self._write(at, self._own(at) + more)
            return more
        finally:
            slots.unlock()

    def set(self, identity: bytes, lease: int) -> None:
        """Say what this worker keeps of its lease; 0 at the session's end."""
        slots = self._slots
        slots.lock()
        try:
            if lease or slots.find(identity) is not None:
                self._write(slots.place(identity), lease)
        finally:
            slots.unlock()

    def own(self, identity: bytes) -> int:
        """Return what this worker has leased, also before it was started again."""
        at = self._slots.find(identity)
        return 0 if at is None else self._own(at)

    def leased(self, identity: bytes) -> int:
        """Return what all have leased. Reads without the lock: for what can be asked again."""
        at = self._slots.find(identity)
        return 0 if at is None else sum(self._all(at))

    def _all(self, at: int) -> list[int]:
        raw = self._slots.data[at + _ONE.size : at + PAYLOAD_BYTES]
        return [int.from_bytes(raw[n : n + LEASE_BYTES], "little") for n in range(0, len(raw), LEASE_BYTES)]

    def _own(self, at: int) -> int:
        own_at = at + _ONE.size + LEASE_BYTES * self._column
        return int.from_bytes(self._slots.data[own_at : own_at + LEASE_BYTES], "little")

    def _write(self, at: int, lease: int) -> None:
        own_at = at + _ONE.size + LEASE_BYTES * self._column
        data = self._slots.data
        _ONE.pack_into(data, at, int(time.time()))
        data[own_at : own_at + LEASE_BYTES] = lease.to_bytes(LEASE_BYTES, "little")


def _idle(slots: Slots, at: int) -> bool:
    """Whether a session's cap is nobody's any more: all gave back, or it is long over."""
    if _ONE.unpack_from(slots.data, at)[0] < time.time() - KEPT_S:
        return True
    return not any(slots.data[at + _ONE.size : at + PAYLOAD_BYTES])
