"""Reads one supplier's part out of a file of records (rule 5.20)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Final

from pocketnode.errors import Unavailable
from pocketnode.protocol.part import write_part
from pocketnode.protocol.record import RECORD_BYTES

READ_BYTES: Final = 512 * RECORD_BYTES
ITEMS: Final = 1024  # in one piece: at most 86 KiB


def part_of(path: Path, index: int) -> Iterator[bytes]:
    """Yield the part of the supplier at `index` in pieces. Call `next` from a thread: it reads and hashes.

    It rests as long as it works, so that relays are answered meanwhile.

    Raises
    ------
    Unavailable
        the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            items = write_part(_records(file), index)
            while piece := b"".join(islice(items, ITEMS)):
                yield piece
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}: records cannot be read", 1.0) from error


def _records(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(READ_BYTES):
        begun_s = time.monotonic()
        for at in range(0, len(block) - RECORD_BYTES + 1, RECORD_BYTES):
            yield block[at : at + RECORD_BYTES]
        time.sleep(time.monotonic() - begun_s)
