"""Limits that several processes count against together, exact to the unit, and kept over restarts and kills.

Each worker has a column of its own for what it has set aside: when it dies, the next one clears the column, so that
what was in flight is neither lost to the limit for good nor counted as used. Writes are ordered so that a kill between
two of them counts too much, never too little.

A slot's payload is `stamp u64, held u64, until u64, set aside u64 x COLUMNS`; `held` is what is used and set aside
together, `until` the Unix second from which on the slot may be given to another limit.
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pocketnode.store.slots import ID_BYTES, Slots

WORKERS_MOST: Final = 32
COLUMNS: Final = WORKERS_MOST + 1  # column 0 is that of a gateway of one process
FOR_LIFE: Final = 1  # the stamp of a limit that never begins anew
_HEAD: Final = struct.Struct("<QQQ")
_ONE: Final = struct.Struct("<Q")
_COLUMNS_AT: Final = _HEAD.size
PAYLOAD_BYTES: Final = _HEAD.size + 8 * COLUMNS
MOST: Final = 2**64 - 1
IDS_MOST: Final = 4096  # that are remembered


@lru_cache(maxsize=IDS_MOST)  # each relay looks up what its client was shown: 3 us of hashing
def slot_id(*parts: bytes | str) -> bytes:
    """Return the 16 bytes by which processes find a slot together."""
    digest = hashlib.blake2b(digest_size=ID_BYTES)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.digest()


@dataclass(slots=True)
class Counted:
    """One limit as it is counted now.

    Parameters
    ----------
    stamp : number of the window, at least 1; a new one begins at zero. `FOR_LIFE` for one that never does.
    until_s : Unix second from which on nobody needs the window any more.
    most : what may be held in the window, below 2^64.
    wanted : what is to be set aside.
    """

    id: bytes
    stamp: int
    until_s: int
    most: int
    wanted: int


class Counters:
    """All counted limits.

    Parameters
    ----------
    path : None counts in this process alone.
    column : of this worker, in [0, COLUMNS).
    """

    def __init__(self, path: Path | None = None, column: int = 0) -> None:
        self._slots = Slots(path, PAYLOAD_BYTES, _idle)
        self._column_at = _COLUMNS_AT + 8 * column

    def close(self) -> None:
        """Let go of the file."""
        self._slots.close()

    def reserve(self, limits: Sequence[Counted]) -> int:
        """Set aside what is wanted of every limit; return -1, or the place of the first that it would exceed.

        Nothing is set aside then. One turn of the lock: about 4 us for one limit.
        """
        slots = self._slots
        slots.lock()
        try:
            found: list[tuple[int, int]] = []
            for place, limit in enumerate(limits):
                at = slots.place(limit.id)
                stamp, held, _ = _HEAD.unpack_from(slots.data, at)
                if stamp > limit.stamp:  # another worker is in the next window already
                    limit.stamp = stamp
                elif stamp < limit.stamp:
                    held = 0
                    slots.data[at : at + PAYLOAD_BYTES] = _fresh(limit.stamp, 0, limit.until_s)
                if held + limit.wanted > limit.most:
                    return place
                found.append((at, held))
            data = slots.data
            for limit, (at, held) in zip(limits, found, strict=True):
                _HEAD.pack_into(data, at, limit.stamp, held + limit.wanted, limit.until_s)
                own_at = at + self._column_at
                _ONE.pack_into(data, own_at, _ONE.unpack_from(data, own_at)[0] + limit.wanted)
        finally:
            slots.unlock()
        return -1

    def settle(self, limits: Sequence[Counted], used: Sequence[int]) -> None:
        """Give back what was set aside and count what was used; in a window that is over nothing is changed."""
        slots = self._slots
        slots.lock()
        try:
            for limit, spent in zip(limits, used, strict=True):
                at = slots.find(limit.id)
                if at is None:
                    continue
                stamp, held, until_s = _HEAD.unpack_from(slots.data, at)
                if stamp == limit.stamp:
                    own_at = at + self._column_at
                    (own,) = _ONE.unpack_from(slots.data, own_at)
                    _ONE.pack_into(slots.data, own_at, max(0, own - limit.wanted))
                    _HEAD.pack_into(slots.data, at, stamp, min(MOST, max(0, held - limit.wanted + spent)), until_s)
        finally:
            slots.unlock()

    def held(self, identity: bytes, stamp: int) -> int:
        """Return what is used and set aside in a window. Reads without the lock: for what is shown."""
        at = self._slots.find(identity)
        if at is None:
            return 0
        found, held, _ = _HEAD.unpack_from(self._slots.data, at)
        return held if found == stamp else 0

    def begin(self, identity: bytes, used: int) -> None:
        """Begin a limit for life with what was used before it was first seen; one that is known stays as it is."""
        slots = self._slots
        slots.lock()
        try:
            at = slots.place(identity)
            (stamp,) = _ONE.unpack_from(slots.data, at)
            if stamp != FOR_LIFE:
                slots.data[at : at + PAYLOAD_BYTES] = _fresh(FOR_LIFE, min(MOST, used), MOST)
        finally:
            slots.unlock()

    def sweep(self, columns: Collection[int]) -> None:
        """Give back what workers that are dead had set aside."""
        slots = self._slots
        slots.lock()
        try:
            for at in slots.payloads():
                for column in columns:
                    own_at = at + _COLUMNS_AT + 8 * column
                    (own,) = _ONE.unpack_from(slots.data, own_at)
                    if own:
                        stamp, held, until_s = _HEAD.unpack_from(slots.data, at)
                        _ONE.pack_into(slots.data, own_at, 0)
                        _HEAD.pack_into(slots.data, at, stamp, max(0, held - own), until_s)
        finally:
            slots.unlock()


def _fresh(stamp: int, held: int, until_s: int) -> bytes:
    return _HEAD.pack(stamp, held, until_s) + bytes(8 * COLUMNS)


def _idle(slots: Slots, at: int) -> bool:
    until_s: int = _HEAD.unpack_from(slots.data, at)[2]
    return until_s < time.time()
