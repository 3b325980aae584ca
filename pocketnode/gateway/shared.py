"""What the workers of a gateway share, and what a gateway of one process keeps over restarts: limits, caps, notes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from pocketnode.store.caps import Caps
from pocketnode.store.counters import Counters
from pocketnode.store.notes import Notes

FOLDER: Final = "shared"


@dataclass(frozen=True, slots=True)
class Shared:
    """Tables that are this process's own unless they are opened in a folder.

    Parameters
    ----------
    worker : 0 in a gateway of one process, else counted from 1.
    workers : how many share the tables.
    """

    counters: Counters = field(default_factory=Counters)
    caps: Caps = field(default_factory=Caps)
    notes: Notes = field(default_factory=Notes)
    worker: int = 0
    workers: int = 1

    @classmethod
    def opened(cls, records: Path, worker: int = 0, workers: int = 1) -> Self:
        """Open the tables beside the records, and give back what this worker had set aside when it was killed.

        Raises
        ------
        Unavailable
            the disk does not take them.
        """
        folder = records / FOLDER
        shared = cls(
            Counters(folder / "limits", worker),
            Caps(folder / "caps", worker),
            Notes(folder / "notes"),
            worker,
            workers,
        )
        shared.counters.sweep([worker])
        return shared

    def clear(self, columns: Collection[int]) -> None:
        """Give back what workers that no longer run had set aside."""
        self.counters.sweep(columns)

    def close(self) -> None:
        """Let go of the files."""
        self.counters.close()
        self.caps.close()
        self.notes.close()
