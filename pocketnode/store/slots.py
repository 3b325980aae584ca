"""A table that processes share: a mapped file of fixed slots, each found by a 16-byte id, guarded by `flock`.

What is written is there for every other process at once, and stays when a process is killed; the kernel frees a dead
process's lock. It survives everything but a power cut, after which it may be some seconds old.

```
header, 64 bytes: magic 8, payload bytes u64, slots in use u64, reuses u64
slot: id 16, payload
```
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pocketnode.errors import Unavailable

MAGIC: Final = b"pnslots1"
HEADER_BYTES: Final = 64
ID_BYTES: Final = 16
SLOTS_FIRST: Final = 256
_HEADER: Final = struct.Struct("<8sQQQ")
_COUNTS: Final = struct.Struct("<QQ")
_COUNTS_AT: Final = 16


class Slots:
    """One table. Not for several threads of one process.

    Parameters
    ----------
    path : made if missing, begun anew where another version wrote it; None for a table of this process alone.
    payload_bytes : of each slot.
    idle : whether the slot whose payload begins at an offset may be given to another id.

    Raises
    ------
    Unavailable
        the file cannot be made or mapped.
    """

    def __init__(self, path: Path | None, payload_bytes: int, idle: Callable[[Slots, int], bool]) -> None:
        self._size = ID_BYTES + payload_bytes
        self._idle = idle
        self._places: dict[bytes, int] = {}  # payload offsets by id
        self._seen = self._reuses = 0
        self._cursor = 0
        self._fd = -1
        self._path = path
        if path is None:
            self.data = mmap.mmap(-1, self._bytes(SLOTS_FIRST))
            self._begin()
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self.lock()
            self._open()
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}: what workers share cannot be kept", 1.0) from error
        self.unlock()

    def close(self) -> None:
        """Let go of the file."""
        self.data.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def lock(self) -> None:
        """Keep other processes out; `unlock` must follow at once."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def unlock(self) -> None:
        """Let other processes in."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def find(self, identity: bytes) -> int | None:
        """Return where the payload of an id begins, or None if there is none."""
        at = self._places.get(identity)
        if at is not None and self.data[at - ID_BYTES : at] == identity:
            return at
        self._look()
        return self._places.get(identity)

    def place(self, identity: bytes) -> int:
        """Return where the payload of an id begins; a new one is all zeros. Only while locked."""
        at = self.find(identity)
        if at is not None:
            return at
        count, reuses = _COUNTS.unpack_from(self.data, _COUNTS_AT)
        if self._bytes(count + 1) > len(self.data):
            old = self._spare(count)
            if old is not None:
                self._take(old, identity)
                _COUNTS.pack_into(self.data, _COUNTS_AT, count, reuses + 1)
                self._reuses = reuses + 1
                return old
            self._grow(2 * count)
        at = self._bytes(count) + ID_BYTES
        self._take(at, identity)
        _COUNTS.pack_into(self.data, _COUNTS_AT, count + 1, reuses)
        return at

    def payloads(self) -> Iterator[int]:
        """Yield where each payload begins. Only while locked."""
        self._look()
        yield from list(self._places.values())

    # ---- inside

    def _bytes(self, slots: int) -> int:
        return HEADER_BYTES + slots * self._size

    def _open(self) -> None:
        wanted = (MAGIC, self._size - ID_BYTES)
        length = os.fstat(self._fd).st_size
        if length >= HEADER_BYTES and _HEADER.unpack(os.pread(self._fd, _HEADER.size, 0))[:2] == wanted:
            self.data = mmap.mmap(self._fd, length)
            return
        os.ftruncate(self._fd, 0)
        os.ftruncate(self._fd, self._bytes(SLOTS_FIRST))
        self.data = mmap.mmap(self._fd, self._bytes(SLOTS_FIRST))
        self._begin()

    def _begin(self) -> None:
        _HEADER.pack_into(self.data, 0, MAGIC, self._size - ID_BYTES, 0, 0)

    def _look(self) -> None:
        """Learn of the slots that others made since."""
        count, reuses = _COUNTS.unpack_from(self.data, _COUNTS_AT)
        if count == self._seen and reuses == self._reuses:
            return
        if self._bytes(count) > len(self.data):
            self._map(os.fstat(self._fd).st_size)
        if reuses != self._reuses:
            self._places.clear()
            self._seen = 0
        for number in range(self._seen, count):
            at = self._bytes(number)
            self._places[self.data[at : at + ID_BYTES]] = at + ID_BYTES
        self._seen, self._reuses = count, reuses

    def _take(self, at: int, identity: bytes) -> None:
        """Give a slot to an id: its payload is cleared first, so that a kill between leaves it with the old one."""
        payload = self._size - ID_BYTES
        self._places.pop(self.data[at - ID_BYTES : at], None)
        self.data[at : at + payload] = bytes(payload)
        self.data[at - ID_BYTES : at] = identity
        self._places[identity] = at

    def _spare(self, count: int) -> int | None:
        """Return a slot that nobody needs any more."""
        for step in range(count):
            at = self._bytes((self._cursor + step) % count) + ID_BYTES
            if self._idle(self, at):
                self._cursor = (self._cursor + step + 1) % count
                return at
        return None

    def _grow(self, slots: int) -> None:
        if self._fd >= 0:
            try:
                os.ftruncate(self._fd, self._bytes(slots))
            except OSError as error:
                raise Unavailable(f"{self._path}: {error.strerror}: what workers share cannot be kept", 1.0) from error
            self._map(self._bytes(slots))
            return
        larger = mmap.mmap(-1, self._bytes(slots))
        larger[: len(self.data)] = self.data[:]
        self.data = larger

    def _map(self, length: int) -> None:
        self.data.close()
        self.data = mmap.mmap(self._fd, length)
