"""The relay records of each pot: an append-only file of 85 bytes a record (rule 5.5).

Appending is on the gateway's hot path: a record is written at once (2 us), and hashed a tenth of a second later. It has
to be written before the Receipt that acknowledges it is sent: a gateway that was killed and forgot what it acknowledged
would state less than its Receipts prove, and lose its bond (rule 5.15). A file is the truth: after kill -9 a torn last
record is cut off, and the tree is built again from the file and from the hashes of whole blocks of records beside it
(`.blocks`).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from pocketnode.crypto import merkle
from pocketnode.errors import NotFound, Unavailable
from pocketnode.protocol.record import RECORD_BYTES, RelayRecord, decode, encode
from pocketnode.store.power import sync_folder
from pocketnode.store.tree import BLOCK_RECORDS, BlockTree

log = structlog.get_logger(__name__)

FLUSH_RECORDS: Final = 1024
FLUSH_INTERVAL_S: Final = 0.1
SYNC_INTERVAL_S: Final = 1.0
READ_BYTES: Final = BLOCK_RECORDS * RECORD_BYTES


class PotFile:
    """The records of one pot. One writer; `flush` makes what was appended readable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()  # statements and proofs are made in threads
        self._buffer = bytearray()  # records that are not hashed yet
        self._written = 0  # bytes of the buffer that are in the file
        self._flushed = 0  # records
        self._keeps_blocks = True
        self._placed = False  # whether the folder, too, was brought to disk since it has this file
        path.parent.mkdir(parents=True, exist_ok=True)
        with _disk_errors(path):
            self._file = path.open("ab", buffering=0)
            self._blocks = path.with_suffix(".blocks").open("ab", buffering=0)
            self._tree = self._recover()

    def append(self, record: bytes) -> None:
        """Add a record of 85 bytes. If the disk does not take it now, `flush` says so and tries again."""
        with self._lock:
            self._buffer += record
            with suppress(OSError):
                self._write()
            if len(self._buffer) >= FLUSH_RECORDS * RECORD_BYTES:
                self.flush()

    def flush(self) -> bool:
        """Write and hash what was appended; return whether there was any.

        Raises
        ------
        Unavailable
            the disk is full or read-only. The records stay in memory and are written by the next flush.
        """
        with self._lock:
            if not self._buffer:
                return False
            with _disk_errors(self.path):
                self._write()
            written = bytes(self._buffer)
            self._flushed += len(written) // RECORD_BYTES
            self._buffer.clear()
            self._written = 0
            self._hash(written)
            return True

    def sync(self) -> None:
        """Make what was flushed survive a power cut."""
        with _disk_errors(self.path):
            os.fsync(self._file.fileno())
        if not self._placed:
            sync_folder(self.path.parent)
            self._placed = True

    def close(self) -> None:
        """Flush, sync and close."""
        self.flush()
        self.sync()
        self._file.close()
        self._blocks.close()

    @property
    def size(self) -> int:
        """How many records were appended."""
        return self._flushed + len(self._buffer) // RECORD_BYTES

    def root(self) -> bytes:
        """Return the Merkle root over all records appended."""
        self.flush()
        return self._tree.root()

    def proof(self, index: int) -> list[bytes]:
        """Return the sibling hashes from record `index` to the root.

        Raises
        ------
        NotFound
            there are fewer records.
        """
        self.flush()
        if not 0 <= index < self._flushed:
            raise NotFound(f"record {index} of {self._flushed}")
        first = index - index % BLOCK_RECORDS
        records = self.read(first, min(self._flushed, first + BLOCK_RECORDS))
        return self._tree.proof(index, [merkle.leaf_hash(encode(record)) for record in records])

    def read(self, start: int = 0, end: int | None = None) -> Iterator[RelayRecord]:
        """Yield records `start` up to, not including, `end` (all of them by default)."""
        self.flush()
        end = self._flushed if end is None else min(end, self._flushed)
        with _disk_errors(self.path), self.path.open("rb") as file:
            file.seek(start * RECORD_BYTES)
            for raw in _records(file.read, end - start):
                yield decode(raw)

    def _write(self) -> None:
        """Write what is not in the file yet; a part that a full disk took stays, and is gone on from."""
        while self._written < len(self._buffer):
            self._written += os.write(self._file.fileno(), memoryview(self._buffer)[self._written :])

    def _hash(self, records: bytes) -> None:
        for at in range(0, len(records), RECORD_BYTES):
            block = self._tree.append(records[at : at + RECORD_BYTES])
            if block is not None and self._keeps_blocks:
                self._keep(block)

    def _keep(self, block: bytes) -> None:
        """Note the hash of a whole block. If it cannot be written the notes end here: the rest is hashed again."""
        try:
            self._keeps_blocks = self._blocks.write(block) == len(block)
        except OSError:
            self._keeps_blocks = False

    def _recover(self) -> BlockTree:
        """Return the tree over the file; blocks whose hash is known are not read."""
        self._flushed = os.path.getsize(self.path) // RECORD_BYTES
        os.truncate(self.path, self._flushed * RECORD_BYTES)
        hashes = self.path.with_suffix(".blocks")
        known = min(os.path.getsize(hashes) // 32, self._flushed // BLOCK_RECORDS)
        os.truncate(hashes, known * 32)
        raw = hashes.read_bytes()
        self._tree = BlockTree([raw[at : at + 32] for at in range(0, len(raw), 32)])
        with self.path.open("rb") as file:
            file.seek(known * READ_BYTES)
            while piece := file.read(READ_BYTES):
                self._hash(piece)
        return self._tree


class RecordLog:
    """All pots' records in one directory, one file each. One process writes a directory.

    Parameters
    ----------
    directory : made if missing. Several gateway workers take a directory each (`pocketnode.store.gathering`).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[bytes, PotFile] = {}
        with _disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def append(self, pot: bytes, record: RelayRecord) -> None:
        """Add a record to a pot; it is on disk within a tenth of a second while `run` runs."""
        file = self._open.get(pot)
        if file is None:
            file = self._file(pot)
        file.append(encode(record))

    def read(self, pot: bytes) -> Iterator[RelayRecord]:
        """Yield the records of a pot in the order of their appending; none for an unknown pot."""
        if self._exists(pot):
            yield from self._file(pot).read()

    def has(self, pot: bytes) -> bool:
        """Return whether anything was recorded of a pot, without opening its file."""
        return self._exists(pot)

    def size(self, pot: bytes) -> int:
        """Return how many records a pot has."""
        return self._file(pot).size if self._exists(pot) else 0

    def root(self, pot: bytes) -> bytes:
        """Return the Merkle root of a pot (rule 5.5); zero for one without records."""
        return self._file(pot).root() if self._exists(pot) else merkle.EMPTY_ROOT

    def proof(self, pot: bytes, index: int) -> list[bytes]:
        """Return the path that proves record `index` to be under the root of its pot.

        Raises
        ------
        NotFound
            there is no such record.
        """
        if not self._exists(pot):
            raise NotFound(f"no records of pot 0x{pot.hex()}")
        return self._file(pot).proof(index)

    def pots(self) -> list[bytes]:
        """Return all pots that have records."""
        return sorted(bytes.fromhex(path.stem) for path in self.directory.glob("*.records"))

    def flush(self) -> None:
        """Write what was appended to every pot."""
        for file in list(self._open.values()):
            file.flush()

    def close_pot(self, pot: bytes) -> None:
        """Close the file of a pot that is no longer appended to; it opens again by itself."""
        file = self._open.pop(pot, None)
        if file is not None:
            file.close()

    def drop(self, pot: bytes) -> None:
        """Delete a pot's records, once nobody may ask for them any more, and all that stands beside them."""
        self.close_pot(pot)
        for pattern in (f"{pot.hex()}.*", f"*/{pot.hex()}.*"):
            for path in self.directory.glob(pattern):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Flush and close every file."""
        for pot in list(self._open):
            self.close_pot(pot)

    async def run(self) -> None:
        """Flush ten times a second and sync every second, until cancelled; then close. A job of the daemon.

        A disk that is full or read-only is told of and waited for: records stay in memory meanwhile.
        """
        try:
            while True:
                try:
                    await self._flush_and_sync()
                except Unavailable as error:
                    log.error("records_not_written", error=str(error))
                    await asyncio.sleep(SYNC_INTERVAL_S)
        finally:
            self.close()

    async def _flush_and_sync(self) -> None:
        written: set[PotFile] = set()
        for _ in range(round(SYNC_INTERVAL_S / FLUSH_INTERVAL_S)):
            await asyncio.sleep(FLUSH_INTERVAL_S)
            written.update(file for file in list(self._open.values()) if file.flush())
        for file in written & set(self._open.values()):
            await asyncio.to_thread(file.sync)

    def _path(self, pot: bytes) -> Path:
        return self.directory / f"{pot.hex()}.records"

    def _exists(self, pot: bytes) -> bool:
        return pot in self._open or self._path(pot).exists()

    def _file(self, pot: bytes) -> PotFile:
        file = self._open.get(pot)
        if file is None:
            file = self._open[pot] = PotFile(self._path(pot))
        return file


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}: relay records cannot be kept", retry_after_s=1.0) from error


def _records(read: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    """Yield up to `count` records, read in large pieces."""
    while count > 0 and (piece := read(min(count * RECORD_BYTES, READ_BYTES))):
        for at in range(0, len(piece), RECORD_BYTES):
            yield piece[at : at + RECORD_BYTES]
        count -= len(piece) // RECORD_BYTES
