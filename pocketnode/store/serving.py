"""Who still serves a session: a lock file for each pot, held by workers while records may be added, sealed to state it.

The kernel frees the locks of a worker that was killed. Sealing takes the lock away from everybody for good, so that no
worker that lags behind the chain adds a record to a pot that is stated (rule 5.15).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from pocketnode.errors import Unavailable

SEALED: Final = b"sealed"


class ServingLocks:
    """The pots' locks in one directory, beside the records.

    Parameters
    ----------
    directory : made if missing; one for all workers of a gateway.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[bytes, int] = {}

    def hold(self, pot: bytes) -> None:
        """Say that records may be added to a pot from now on.

        Raises
        ------
        Unavailable
            it is sealed, or its lock cannot be had.
        """
        while pot not in self._held:
            fd = self._open(pot)
            if not _locked(fd, fcntl.LOCK_SH) or os.pread(fd, len(SEALED), 0) == SEALED:
                os.close(fd)
                raise Unavailable("the session is over, and is stated by its records up to now", 1.0)
            if self._is(pot, fd):
                self._held[pot] = fd
            else:  # another worker deleted it meanwhile
                os.close(fd)

    def release(self, pot: bytes, unused: bool = False) -> None:
        """Say that no record will be added to a pot any more.

        Parameters
        ----------
        unused : none was ever added here; where nobody else serves the pot either, nothing is left of it.
        """
        fd = self._held.pop(pot, None)
        if fd is None:
            return
        if unused and _locked(fd, fcntl.LOCK_EX) and os.pread(fd, len(SEALED), 0) != SEALED:
            self._path(pot).unlink(missing_ok=True)
        os.close(fd)

    def close(self) -> None:
        """Release every pot."""
        for pot in list(self._held):
            self.release(pot)

    def seal(self, pot: bytes) -> bool:
        """Close a pot to every worker, for good; False while one still serves it."""
        fd = self._open(pot)
        try:
            if not _locked(fd, fcntl.LOCK_EX):
                return False
            os.pwrite(fd, SEALED, 0)
            os.fsync(fd)
            return True
        except OSError as error:
            raise Unavailable(f"{self._path(pot)}: {error.strerror}: the session cannot be sealed", 1.0) from error
        finally:
            os.close(fd)

    def _path(self, pot: bytes) -> Path:
        return self._directory / f"{pot.hex()}.serving"

    def _is(self, pot: bytes, fd: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path(pot)), os.fstat(fd))
        except FileNotFoundError:
            return False

    def _open(self, pot: bytes) -> int:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            return os.open(self._path(pot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unavailable(f"{self._path(pot)}: {error.strerror}: the session cannot be served", 1.0) from error


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class OneGateway:
    """Keeps a second gateway, or a second worker of the same number, away from a directory of records."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / ".lock"
        self._fd = -1

    def taken(self) -> bool:
        """Take the directory; False while another process has it."""
        if self._fd < 0:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise Unavailable(f"{self._path}: {error.strerror}: relay records cannot be kept", 1.0) from error
        return _locked(self._fd, fcntl.LOCK_EX)

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
