"""A disk that is full or read-only, a database that is locked or torn: a clear word, no wrong number, no crash loop."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import structlog

from pocketnode.cli.logs import log_to_stderr
from pocketnode.errors import Corrupt, Unavailable
from pocketnode.localnet.children import ChildFailed
from pocketnode.localnet.plan import GATEWAY, SUPPLIERS
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.record import RECORD_BYTES, RelayRecord
from pocketnode.protocol.types import Session
from pocketnode.settlement.records import SessionRecords
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.pots import PotStore
from pocketnode.store.records import RecordLog
from tests.faults import books
from tests.faults.world import DAEMONS, UNITS, World, until

POT = b"\x05" * 32
CALLS = 60
AT_ONCE = 4
VICTIM = SUPPLIERS[0]
e2e = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def record(units: int) -> RelayRecord:
    return RelayRecord(b"\x01" * 32, b"\x02" * 32, 1, units, 5, 6, Verdict.GOOD)


def file_of(log: RecordLog) -> Path:
    return log.directory / f"{POT.hex()}.records"


@contextmanager
def limited(most_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_record_is_in_the_file_before_anything_else_happens(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    for count in range(1, 4):
        log.append(POT, record(count))
        assert file_of(log).stat().st_size == count * RECORD_BYTES
    log.close()


def test_a_full_disk_loses_no_record_and_tears_none(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    log.append(POT, record(0))
    with limited(RECORD_BYTES * 2 + 17):
        for units in range(1, 10):
            log.append(POT, record(units))
        with pytest.raises(Unavailable, match="cannot be kept"):
            log.flush()
    log.append(POT, record(10))
    assert [found.units for found in log.read(POT)] == list(range(11))
    root = log.root(POT)
    log.close()
    again = RecordLog(tmp_path)
    assert [found.units for found in again.read(POT)] == list(range(11))
    assert again.root(POT) == root
    again.close()


def test_a_log_that_cannot_be_written_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        with limited(10):
            log_to_stderr("info", as_json=True)
            for _ in range(1000):
                structlog.get_logger().info("a line", that="is longer than ten bytes")
    assert (tmp_path / "log").stat().st_size >= 10


@pytest.mark.usefixtures("capsys")  # what is logged goes to memory here, not to a file
async def test_a_full_disk_does_not_end_the_job_that_writes_records(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    log.append(POT, record(0))
    job = asyncio.create_task(log.run())
    with limited(RECORD_BYTES):
        log.append(POT, record(1))
        await asyncio.sleep(0.4)
        assert not job.done()
    await asyncio.sleep(1.4)
    assert file_of(log).stat().st_size == 2 * RECORD_BYTES
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)


def test_a_torn_record_is_cut_off(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    for units in range(5):
        log.append(POT, record(units))
    log.close()
    with file_of(log).open("ab") as file:
        file.write(b"\x07" * 40)
    again = RecordLog(tmp_path)
    assert [found.units for found in again.read(POT)] == list(range(5))
    again.append(POT, record(5))
    assert [found.units for found in again.read(POT)] == list(range(6))
    again.close()


@pytest.mark.parametrize("size", [100, 5000, 20000])
def test_a_truncated_database_is_told_as_corrupt(tmp_path: Path, size: int) -> None:
    path = tmp_path / "state.db"
    engine = open_store(sqlite_url(path))
    engine.dispose()
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)
    whole = path.read_bytes()
    assert len(whole) > size
    path.write_bytes(whole[:size])
    with pytest.raises(Corrupt, match=r"state\.db"):
        open_store(sqlite_url(path)).dispose()
    assert path.read_bytes() == whole[:size]


def test_a_locked_database_does_not_hold_requests_up(tmp_path: Path) -> None:
    """A session's first record comes while somebody else holds the database: its pot is noted when it is free."""
    path = tmp_path / "state.db"
    engine = open_store(sqlite_url(path))
    pots = PotStore(engine, b"\x01" * 20)
    log = RecordLog(tmp_path / "records")
    records = SessionRecords(log, pots, b"\x01" * 20)
    session = Session(b"\x02" * 32, b"\x03" * 20, b"\x04" * 32, 7, 1, 20, True, ())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begun_s = time.monotonic()
        for units in range(100):
            records.append(session, record(units))
        assert time.monotonic() - begun_s < 1
        other.execute("ROLLBACK")
    records.note()
    assert [pot.number for pot in pots.all()] == [7]
    assert len(list(records.read(session))) == 100
    log.close()
    engine.dispose()


@contextmanager
def full_disk(world: World, name: str) -> Iterator[None]:
    """Let a daemon's files grow no more. Its log is a file too: what it would say is lost, but for what is short."""
    pid = world.children.pids[name]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    biggest = max(path.stat().st_size for path in world.layout.data(name).rglob("*") if path.is_file())
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (max(4096, biggest // 2), hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


async def check_books(world: World, number: int) -> None:
    pot, accepted = await books.settled(world, number)
    for name, units in pot.units.items():
        assert accepted.get(name, 0) <= units <= accepted.get(name, 0) + AT_ONCE * UNITS, (name, accepted, pot)


@pytest.mark.e2e
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("victim", [GATEWAY, pytest.param(VICTIM, marks=pytest.mark.audit)])
async def test_a_daemon_outlives_a_full_disk(world: World, victim: str) -> None:
    await world.withhold(False)
    number = await world.new_session()
    assert await world.load(CALLS, AT_ONCE) == CALLS
    with full_disk(world, victim):
        await world.load(CALLS, AT_ONCE)
        await asyncio.sleep(3)
        assert world.alive(victim), world.log(victim)[-2000:]

    async def answers() -> bool:
        return bool(await world.ask())

    await until(answers, 20, "nobody answers once there is room again", 0.5)
    await asyncio.sleep(1.5)
    await world.settle(number)
    await check_books(world, number)
    assert all(world.alive(name) for name in DAEMONS)


@pytest.mark.e2e
@pytest.mark.audit
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("victim", [GATEWAY, VICTIM])
async def test_a_daemon_outlives_a_locked_database(world: World, victim: str) -> None:
    """Somebody, a backup perhaps, holds the database for longer than writers are willing to wait."""
    await world.withhold(False)
    number = await world.new_session()
    with closing(sqlite3.connect(world.layout.data(victim) / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        await world.load(CALLS, AT_ONCE)
        await asyncio.sleep(13)
        assert world.alive(victim), world.log(victim)[-2000:]
        other.execute("ROLLBACK")
    await asyncio.sleep(2)
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(1)
    await world.settle(number)
    await check_books(world, number)


@pytest.mark.e2e
@pytest.mark.audit
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("victim", [VICTIM, GATEWAY])
async def test_a_torn_database_is_told_and_left_alone(world: World, victim: str) -> None:
    await world.stop(victim)
    path = world.layout.data(victim) / "state.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    before = world.log(victim)
    with pytest.raises(ChildFailed, match="exited with 7"):
        await world.start(victim)
    said = world.log(victim).removeprefix(before)
    assert "state.db" in said
    assert "Traceback" not in said
    path.write_bytes(whole)
    await world.start(victim)
