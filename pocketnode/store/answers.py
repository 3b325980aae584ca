"""Signed answers that a supplier could still gain by signing anew (rule 5.19), in a file beside the pot's records.

Each process of a gateway writes a file of its own as a whole, some KiB, and replaces it; whoever follows claims reads
those of all. They go when the pot is final, at the latest together with its records.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pocketnode.errors import Unavailable
from pocketnode.store.receipt_log import ENTRY_BYTES, decode, encode
from pocketnode.store.receipts import KeptReceipt

SUFFIX: Final = ".answers"


class AnswerFiles:
    """Answers by pot, in the folder of a `RecordLog` and those of its workers below. Call it from a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, pot: bytes, kept: Iterable[KeptReceipt]) -> None:
        """Replace what this folder has of a pot.

        Raises
        ------
        Unavailable
            the disk does not take it now.
        """
        path = self._directory / f"{pot.hex()}{SUFFIX}"
        fresh = path.with_suffix(".answers-new")
        try:
            fresh.write_bytes(b"".join(map(encode, kept)))
            fresh.replace(path)
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}: answers cannot be kept", 1.0) from error

    def own(self, pot: bytes) -> list[KeptReceipt]:
        """Return what this folder has of a pot, without the workers'."""
        return _read(self._directory / f"{pot.hex()}{SUFFIX}")

    def read(self, pot: bytes) -> list[KeptReceipt]:
        """Return what this folder and all below it have of a pot; a torn end is left out."""
        return [*self.own(pot), *(kept for path in self._below(f"{pot.hex()}{SUFFIX}") for kept in _read(path))]

    def pots(self) -> list[bytes]:
        """Return the pots that anything is kept of."""
        found = [*self._directory.glob(f"*{SUFFIX}"), *self._below(f"*{SUFFIX}")]
        return sorted({bytes.fromhex(path.stem) for path in found})

    def drop(self, pot: bytes) -> None:
        """Forget a pot: nothing can be claimed of it any more."""
        name = f"{pot.hex()}{SUFFIX}"
        for path in (self._directory / name, *self._below(name)):
            path.unlink(missing_ok=True)

    def _below(self, pattern: str) -> list[Path]:
        return sorted(self._directory.glob(f"*/{pattern}"))


def _read(path: Path) -> list[KeptReceipt]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}: answers cannot be read", 1.0) from error
    return [decode(raw[at : at + ENTRY_BYTES]) for at in range(0, len(raw) - ENTRY_BYTES + 1, ENTRY_BYTES)]
