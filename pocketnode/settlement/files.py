"""Where the relay records of finished sessions lie, for whoever serves them to suppliers (rule 5.18)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pocketnode.errors import NotFound
from pocketnode.store.pots import PotStage, PotStore


class RecordFiles:
    """The files of one gateway. Reads them only, so that any process of it may have one.

    Parameters
    ----------
    directory : of the `RecordLog` that holds the whole sessions.
    """

    def __init__(self, directory: Path, pots: PotStore) -> None:
        self._directory, self._pots = directory, pots

    async def of(self, pot: bytes) -> Path:
        """Return the file with a pot's records, which nothing is added to any more.

        Raises
        ------
        NotFound
            the pot is unknown, its session is not stated yet, or its records were dropped.
        """
        known = await asyncio.to_thread(self._pots.get, pot)
        if known is None:
            raise NotFound(f"no records of pot 0x{pot.hex()}: those of old sessions are dropped")
        if known.stage is PotStage.OPEN:
            raise NotFound(f"session {known.number} is not stated yet: ask again when it is")
        path = self._directory / f"{pot.hex()}.records"
        if not await asyncio.to_thread(path.is_file):
            raise NotFound(f"no records of pot 0x{pot.hex()} are kept")
        return path
