"""Looks up one relay by its digest, with the path that proves it to be in the session's statement (rule 5.5).

| path | answer |
|---|---|
| /api/relays | `?limit=50`: the newest relays |
| /api/relays/{digest} | one relay: its 85 bytes, the path to the root, what the statement on chain says |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from pocketnode.crypto import merkle
from pocketnode.crypto.keys import checksum
from pocketnode.errors import BadInput, NotFound, Unavailable
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.record import RECORD_BYTES, RelayRecord, decode
from pocketnode.store.gathering import worker_files
from pocketnode.store.pots import Pot, PotStore
from pocketnode.store.records import RecordLog
from pocketnode.web.answers import hex_of, json, number_of
from pocketnode.web.book import PotLine, name_of

POTS_SEARCHED_MOST: Final = 200
NEWEST_MOST: Final = 200


class Relays:
    """A gateway's relay records. `stated` gives what the chain knows of a pot."""

    name = "relays"

    def __init__(self, log: RecordLog, pots: PotStore, stated: Callable[[bytes], PotLine | None]) -> None:
        self._log, self._pots, self._stated = log, pots, stated

    def routes(self) -> list[web.RouteDef]:
        """Return what the dashboard asks."""
        return [web.get("/api/relays", self._newest), web.get("/api/relays/{digest}", self._one)]

    async def about(self) -> dict[str, Any]:
        """Return nothing of its own."""
        return {}

    async def _newest(self, request: web.Request) -> web.Response:
        limit = number_of(request.query.get("limit", "50"), 1, NEWEST_MOST)
        rows: list[dict[str, Any]] = []
        for pot in await asyncio.to_thread(self._recent):
            for path in self._paths(pot):
                found = await asyncio.to_thread(_tail, path, limit)
                rows += [_facts(record, pot) for record in found if any(record.receipt)]
            if len(rows) >= limit:
                break
        return json({"relays": rows[:limit]})

    async def _one(self, request: web.Request) -> web.Response:
        digest = hex_of(request.match_info["digest"], 32)
        if digest is None:
            raise BadInput("a relay's digest is 0x and 64 hex digits: the answer's header x-pocketnode-relay")
        return json(await self.proven(digest))

    async def proven(self, digest: bytes) -> dict[str, Any]:
        """Return one relay's record with the path to its root.

        Raises
        ------
        NotFound
        """
        for pot in (await asyncio.to_thread(self._recent))[:POTS_SEARCHED_MOST]:
            for path in self._paths(pot):
                index = await asyncio.to_thread(_find, path, digest)
                if index is None:
                    continue
                try:
                    return await asyncio.to_thread(self._proven, pot, path, index)
                except FileNotFoundError as error:
                    raise Unavailable("the session's records are being gathered: ask again", 1.0) from error
        raise NotFound("no relay of this digest among the records kept: those of old sessions are dropped")

    def _recent(self) -> list[Pot]:
        return sorted(self._pots.all(), key=lambda pot: -pot.number)

    def _paths(self, pot: Pot) -> list[Path]:
        """Return the file of a pot, and before its session is stated those of the workers that serve it."""
        whole = self._log.directory / f"{pot.id.hex()}.records"
        return [whole, *worker_files(self._log.directory, pot.id)]

    def _proven(self, pot: Pot, path: Path, index: int) -> dict[str, Any]:
        """Return what proves a record; a worker's own file stands for itself, its tree is in no statement yet."""
        with path.open("rb") as file:
            file.seek(index * RECORD_BYTES)
            raw = file.read(RECORD_BYTES)
        tree = _tree(path) if path.parent != self._log.directory else None
        stated = self._stated(pot.id)
        return {
            **_facts(decode(raw), pot),
            "record": f"0x{raw.hex()}",
            "place": index,
            "size": tree.size if tree else self._log.size(pot.id),
            "path": [f"0x{node.hex()}" for node in (tree.proof(index) if tree else self._log.proof(pot.id, index))],
            "root": f"0x{(tree.root() if tree else self._log.root(pot.id)).hex()}",
            "pot": f"0x{pot.id.hex()}",
            "gateway": checksum(pot.gateway),
            "stage": str(pot.stage),
            "stated_root": f"0x{stated.relays_root.hex()}" if stated and stated.stated else None,
            "statement": f"0x{stated.transactions['statement'].hex()}" if stated and stated.stated else None,
            "statement_block": stated.block if stated and stated.stated else None,
        }


@dataclass(frozen=True, slots=True)
class _Tree:
    """The tree over a file that another process appends to, as long as it was when it was read."""

    records: list[bytes]

    @property
    def size(self) -> int:
        return len(self.records)

    def proof(self, index: int) -> list[bytes]:
        return merkle.proof([merkle.leaf_hash(record) for record in self.records], index)

    def root(self) -> bytes:
        return merkle.root(self.records)


def _tree(path: Path) -> _Tree:
    raw = path.read_bytes()
    return _Tree(
        [raw[at : at + RECORD_BYTES] for at in range(0, len(raw) // RECORD_BYTES * RECORD_BYTES, RECORD_BYTES)]
    )


def _find(path: Path, digest: bytes) -> int | None:
    """Return the place of the record whose receipt has this digest."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    at = raw.find(digest)
    while at >= 0:
        if at % RECORD_BYTES == 0:
            return at // RECORD_BYTES
        at = raw.find(digest, at + 1)
    return None


def _tail(path: Path, limit: int) -> list[RelayRecord]:
    """Return the newest records of a file, the newest first."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2) // RECORD_BYTES
            first = max(0, size - limit)
            file.seek(first * RECORD_BYTES)
            raw = file.read((size - first) * RECORD_BYTES)
    except FileNotFoundError:
        return []
    found = [decode(raw[at : at + RECORD_BYTES]) for at in range(0, len(raw), RECORD_BYTES)]
    return found[::-1]


def _facts(record: RelayRecord, pot: Pot) -> dict[str, Any]:
    return {
        "digest": f"0x{record.receipt.hex()}",
        "response": f"0x{record.response.hex()}",
        "application": checksum(pot.application),
        "service": name_of(pot.service),
        "session": pot.number,
        "index": record.index,
        "units": record.units,
        "first_byte_ms": record.first_byte_ms,
        "done_ms": record.done_ms,
        "verdict": Verdict(record.verdict).name.lower(),
    }
