"""Relay records survive kill -9 and a torn write, and any of them can be proven."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketnode.crypto import merkle
from pocketnode.errors import NotFound, Unavailable
from pocketnode.protocol.record import RECORD_BYTES, RelayRecord, encode
from pocketnode.store.records import RecordLog
from pocketnode.store.tree import BLOCK_RECORDS, BlockTree

POT = b"p" * 32


def record(number: int) -> RelayRecord:
    return RelayRecord(number.to_bytes(32, "big"), b"r" * 32, number % 3, 100, 5, 6, 0)


def filled(directory: Path, count: int) -> RecordLog:
    log = RecordLog(directory)
    for number in range(count):
        log.append(POT, record(number))
    return log


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 3 * BLOCK_RECORDS), data=st.data())
def test_a_tree_of_blocks_is_the_tree_of_its_records(count: int, data: st.DataObject) -> None:
    raw = [number.to_bytes(4, "big") for number in range(count)]
    tree = BlockTree()
    for one in raw:
        tree.append(one)
    assert tree.root() == merkle.root(raw)
    index = data.draw(st.integers(0, count - 1))
    first = index - index % BLOCK_RECORDS
    leaves = [merkle.leaf_hash(one) for one in raw[first : first + BLOCK_RECORDS]]
    assert merkle.verify(raw[index], index, count, tree.proof(index, leaves), tree.root())


def test_records_come_back_in_order_and_prove(tmp_path: Path) -> None:
    count = BLOCK_RECORDS + 10
    log = filled(tmp_path, count)
    assert list(log.read(POT)) == [record(number) for number in range(count)]
    for index in (0, BLOCK_RECORDS - 1, BLOCK_RECORDS, count - 1):
        assert merkle.verify(encode(record(index)), index, count, log.proof(POT, index), log.root(POT))
    with pytest.raises(NotFound):
        log.proof(POT, count)


@pytest.mark.parametrize("torn_bytes", [0, 1, RECORD_BYTES - 1])
@pytest.mark.parametrize("count", [1, BLOCK_RECORDS, BLOCK_RECORDS + 1])
def test_a_torn_end_is_cut_off(tmp_path: Path, torn_bytes: int, count: int) -> None:
    log = filled(tmp_path, count)
    root = log.root(POT)
    log.close()
    with (tmp_path / f"{POT.hex()}.records").open("ab") as file:
        file.write(b"\xff" * torn_bytes)
    again = RecordLog(tmp_path)
    assert (again.size(POT), again.root(POT)) == (count, root)
    again.append(POT, record(count))
    assert list(again.read(POT))[-1] == record(count)


def test_lost_block_hashes_are_made_again(tmp_path: Path) -> None:
    log = filled(tmp_path, 2 * BLOCK_RECORDS)
    root = log.root(POT)
    log.close()
    (tmp_path / f"{POT.hex()}.blocks").write_bytes(b"short")
    assert RecordLog(tmp_path).root(POT) == root


def test_a_killed_writer_leaves_a_prefix_of_what_it_appended(tmp_path: Path) -> None:
    script = (
        "import sys, itertools; from pathlib import Path\n"
        "from pocketnode.protocol.record import RelayRecord; from pocketnode.store.records import RecordLog\n"
        "log = RecordLog(Path(sys.argv[1]))\n"
        "for n in itertools.count():\n"
        "    log.append(b'p' * 32, RelayRecord(n.to_bytes(32, 'big'), b'r' * 32, n % 3, 100, 5, 6, 0))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) as writer:
        path = tmp_path / f"{POT.hex()}.records"
        deadline_s = time.monotonic() + 20
        while not (path.exists() and path.stat().st_size > 1_000_000) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
    log = RecordLog(tmp_path)
    found = list(log.read(POT))
    assert found == [record(number) for number in range(len(found))]
    assert len(found) > 10_000
    assert log.root(POT) == merkle.root([encode(one) for one in found])


def test_a_dropped_pot_is_gone(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    assert log.pots() == [POT]
    log.drop(POT)
    assert log.pots() == []
    assert list(log.read(POT)) == []
    assert log.root(POT) == merkle.EMPTY_ROOT
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        blocked = tmp_path / "file"
        blocked.write_text("")
        with pytest.raises(Unavailable, match="file"):
            RecordLog(blocked / "records")
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(Unavailable):
            RecordLog(tmp_path / "records")
