"""A session's records are given up for stating when the last of them is written, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketnode.errors import Unavailable
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.session import pot_id, session_id
from pocketnode.protocol.types import Session
from pocketnode.settlement.records import SessionRecords
from pocketnode.store.engine import open_store
from pocketnode.store.gathering import Gathering, worker_folder
from pocketnode.store.pots import PotStore
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import ServingLocks

GATEWAY, APPLICATION, SERVICE = b"\x01" * 20, b"\x02" * 20, b"eth".ljust(32, b"\0")
SESSION = Session(session_id(APPLICATION, SERVICE, 7), APPLICATION, SERVICE, 7, 1, 20, True, ())
POT = pot_id(SESSION.id, GATEWAY)
RECORD = RelayRecord(b"a" * 32, b"b" * 32, 0, 10, 1, 2, 0)


def worker(folder: Path, number: int) -> SessionRecords:
    log = RecordLog(worker_folder(folder, number))
    return SessionRecords(log, PotStore(open_store("sqlite://"), GATEWAY), GATEWAY, ServingLocks(folder))


async def test_a_pot_is_whole_once_every_worker_let_go(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    gathering = Gathering(log, ServingLocks(tmp_path))
    one, other = worker(tmp_path, 1), worker(tmp_path, 2)
    for records in (one, other):
        records.begin(SESSION)
        records.append(SESSION, RECORD)
    one.end(SESSION)
    await one.let_go()
    assert not gathering.whole(POT)
    other.end(SESSION)
    other.begin(SESSION)  # it failed to begin the session, and tried again at once
    await other.let_go()
    assert not gathering.whole(POT)
    other.end(SESSION)
    await other.let_go()
    assert gathering.whole(POT)
    assert list(log.read(POT)) == [RECORD] * 2
    with pytest.raises(Unavailable, match="stated"):
        worker(tmp_path, 3).begin(SESSION)


async def test_a_session_without_relays_leaves_nothing(tmp_path: Path) -> None:
    records = worker(tmp_path, 1)
    records.begin(SESSION)
    records.end(SESSION)
    await records.let_go()
    assert files_in(tmp_path) == []


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
