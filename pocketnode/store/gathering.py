"""Brings the records of all workers of a pot into one file, once: the one whose root is stated (rule 5.5).

Safe to be killed at any step: the next run ends with the same file, byte for byte. What stands in a pot's file
already is moved aside to `.base` first, the whole is written to `.merging` from it and from the workers' files in the
order of their names, and `.merged` says that it is done, so that only what is left over is deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pocketnode.errors import Unavailable
from pocketnode.protocol.record import RECORD_BYTES
from pocketnode.store.power import sync_folder
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import ServingLocks

WORKER_PREFIX: Final = "worker-"
PIECE_BYTES: Final = RECORD_BYTES * 8192


def worker_folder(records: Path, worker: int) -> Path:
    """Return where worker `worker`, counted from 1, keeps its records."""
    return records / f"{WORKER_PREFIX}{worker}"


def worker_files(records: Path, pot: bytes) -> list[Path]:
    """Return the workers' files of a pot that are not in the whole yet, in the order in which they come into it."""
    found = records.glob(f"{WORKER_PREFIX}*/{pot.hex()}.records")
    return sorted(found, key=lambda path: (len(path.parent.name), path.parent.name))


class Gathering:
    """Seals pots and gathers their records. Synchronous: call it from a thread.

    Parameters
    ----------
    log : of the whole; its directory has the workers' in it.
    """

    def __init__(self, log: RecordLog, locks: ServingLocks) -> None:
        self._log, self._locks = log, locks

    def whole(self, pot: bytes) -> bool:
        """Return whether a pot's records are complete and in one file; False while a worker still serves it.

        Raises
        ------
        Unavailable
            the disk does not take it now.
        """
        if not self._locks.seal(pot):
            return False
        base, merged = self._path(pot, "base"), self._path(pot, "merged")
        sources = worker_files(self._log.directory, pot)
        try:
            if (sources or base.exists()) and not merged.exists():
                self._log.close_pot(pot)
                self._merge(pot, base, sources)
                sync_folder(self._log.directory)
                merged.touch()
                sync_folder(self._log.directory)
                self._log.close_pot(pot)  # whoever asked for a proof meanwhile opened the file that is aside now
            if merged.exists():
                self._tidy(base, merged, sources)
        except OSError as error:
            raise Unavailable(f"records of pot 0x{pot.hex()} cannot be gathered: {error}", 1.0) from error
        return True

    def _merge(self, pot: bytes, base: Path, sources: list[Path]) -> None:
        whole = self._path(pot, "records")
        if not base.exists():
            if whole.exists():
                whole.rename(base)
            else:
                base.touch()
        whole.with_suffix(".blocks").unlink(missing_ok=True)  # the tree is made again over the whole
        merging = self._path(pot, "merging")
        with merging.open("wb") as file:
            for path in (base, *sources):
                file.writelines(_records(path))
            file.flush()
            os.fsync(file.fileno())
        merging.replace(whole)

    def _tidy(self, base: Path, merged: Path, sources: list[Path]) -> None:
        for path in (base, *sources):
            _remove(path)
        merged.unlink(missing_ok=True)

    def _path(self, pot: bytes, suffix: str) -> Path:
        return self._log.directory / f"{pot.hex()}.{suffix}"


def _records(path: Path) -> Iterator[bytes]:
    """Yield a file's whole records; a last one that a kill tore is left out, as it was never acknowledged."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size // RECORD_BYTES * RECORD_BYTES
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


def _remove(path: Path) -> None:
    if path.suffix == ".records":
        path.with_suffix(".blocks").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
