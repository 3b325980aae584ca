"""Tells whether the machine went down while relay records were written: the newest of them may be lost then.

Records are in the file before the Receipts that acknowledge them are sent, so a kill loses none. They are brought to
the disk each second, since a relay cannot wait for it: a power cut may take the last one. A statement without what was
acknowledged costs the gateway its bond (rule 5.15); no statement costs it nothing but its say on quality.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from pocketnode.errors import Unavailable

log = structlog.get_logger(__name__)

NAME: Final = ".boot"
_LINUX: Final = Path("/proc/sys/kernel/random/boot_id")
_MACOS: Final = ("sysctl", "-n", "kern.bootsessionuuid")


def boot_id() -> str:
    """Return what names this run of the machine's kernel; empty where it cannot be told."""
    with suppress(OSError):
        return _LINUX.read_text().strip()
    with suppress(OSError):
        return subprocess.run(_MACOS, capture_output=True, text=True, check=False).stdout.strip()
    return ""


class PowerMark:
    """A file in the folder of records: there while a gateway runs, and what boot it runs in.

    Parameters
    ----------
    lost : the gateway did not end by itself, and the machine has been started anew since.
    """

    def __init__(self, directory: Path, boot: str | None = None) -> None:
        self._path = directory / NAME
        self._boot = boot_id() if boot is None else boot
        self.lost = False

    def begin(self) -> None:
        """Look at what the gateway before has left, and leave a mark of this one.

        Raises
        ------
        Unavailable
            the disk is full or read-only.
        """
        with suppress(FileNotFoundError):
            self.lost = bool(self._boot) and self._path.read_text() != self._boot
        if not self.lost:
            self._write()

    def trust(self) -> None:
        """Say that no session that may lack records is left to state."""
        self.lost = False
        self._write()

    def end(self) -> None:
        """Say that the gateway ended by itself, with its records on disk. What was lost before stays lost."""
        if not self.lost:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        try:
            with new.open("w") as file:
                file.write(self._boot)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}: relay records cannot be kept", 1.0) from error


def sync_folder(directory: Path) -> None:
    """Make files made or renamed in a folder survive a power cut, where the file system can be asked to."""
    with suppress(OSError):
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
