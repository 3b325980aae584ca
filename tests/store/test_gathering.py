"""Workers' records become one file, the same whatever was killed when; a pot that somebody serves is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pocketnode.crypto import merkle
from pocketnode.errors import Unavailable
from pocketnode.protocol.record import RelayRecord, encode
from pocketnode.store.gathering import Gathering, worker_files, worker_folder
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import OneGateway, ServingLocks

POT = b"p" * 32


def record(number: int) -> RelayRecord:
    return RelayRecord(number.to_bytes(32, "big"), b"r" * 32, number % 3, 100, 5, 6, 0)


def written(folder: Path, numbers: range) -> None:
    log = RecordLog(folder)
    for number in numbers:
        log.append(POT, record(number))
    log.close()


def three_workers(folder: Path) -> list[RelayRecord]:
    """Records of a gateway of one process that was changed to one of ten workers; return them in order."""
    written(folder, range(5))
    for worker, numbers in ((1, range(5, 9)), (2, range(9, 5000)), (10, range(5000, 5003))):
        written(worker_folder(folder, worker), numbers)
    return [record(number) for number in range(5003)]


def gathering(folder: Path) -> tuple[Gathering, RecordLog]:
    log = RecordLog(folder)
    return Gathering(log, ServingLocks(folder)), log


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_records_come_into_one_file_once(tmp_path: Path) -> None:
    expected = three_workers(tmp_path)
    gather, log = gathering(tmp_path)
    for _ in range(3):
        assert gather.whole(POT)
        assert list(log.read(POT)) == expected
    assert log.root(POT) == merkle.root([encode(one) for one in expected])
    assert merkle.verify(encode(expected[4999]), 4999, len(expected), log.proof(POT, 4999), log.root(POT))
    log.close()
    assert left(tmp_path) == [f"{POT.hex()}.{end}" for end in ("blocks", "records", "serving")]
    log.drop(POT)
    assert left(tmp_path) == []


def test_the_records_of_one_process_stay_as_they_are(tmp_path: Path) -> None:
    written(tmp_path, range(7))
    gather, log = gathering(tmp_path)
    assert gather.whole(POT)
    assert list(log.read(POT)) == [record(number) for number in range(7)]


def test_a_torn_end_is_left_out(tmp_path: Path) -> None:
    expected = three_workers(tmp_path)
    with worker_files(tmp_path, POT)[1].open("ab") as file:
        file.write(b"torn")
    gather, log = gathering(tmp_path)
    assert gather.whole(POT)
    assert list(log.read(POT)) == expected


SCRIPT = """
import os, signal, sys
from pathlib import Path
from pocketnode.store.gathering import Gathering
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import ServingLocks

folder, step = Path(sys.argv[1]), int(sys.argv[2])
EVENTS = {"os.rename", "os.remove", "open", "os.truncate", "os.listdir", "os.scandir"}
seen = [0, False]

def die(event, args):
    if seen[1] and event in EVENTS:
        seen[0] += 1
        if seen[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
gather = Gathering(RecordLog(folder), ServingLocks(folder))
seen[1] = True
gather.whole(bytes.fromhex(sys.argv[3]))
"""


def test_killed_at_any_step_it_ends_with_the_same_file(tmp_path: Path) -> None:
    """The process is killed just before each of its calls on files in turn; a second one, too, before the third."""
    killed = 0
    for step in range(1, 60):
        folder = tmp_path / str(step)
        expected = three_workers(folder)
        ends = []
        for again in (step, max(1, step // 2)):
            command = [sys.executable, "-c", SCRIPT, str(folder), str(again), POT.hex()]
            ends.append(subprocess.run(command, check=False).returncode)
        gather, log = gathering(folder)
        assert gather.whole(POT)
        assert list(log.read(POT)) == expected, f"killed before call {step}"
        log.close()
        assert left(folder) == [f"{POT.hex()}.{end}" for end in ("blocks", "records", "serving")]
        if ends[0] == 0:
            break
        assert ends[0] == -signal.SIGKILL
        killed += 1
    else:
        pytest.fail("it never came to its end")
    assert killed >= 8


def test_a_pot_that_a_worker_serves_is_not_gathered(tmp_path: Path) -> None:
    three_workers(tmp_path)
    gather, _ = gathering(tmp_path)
    script = (
        "import sys, time; from pathlib import Path; from pocketnode.store.serving import ServingLocks\n"
        "locks = ServingLocks(Path(sys.argv[1])); locks.hold(b'p' * 32); print('held', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        other = ServingLocks(tmp_path)
        other.hold(POT)
        assert not gather.whole(POT)
        other.release(POT)
        assert not gather.whole(POT)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert gather.whole(POT)
    with pytest.raises(Unavailable, match="stated"):
        ServingLocks(tmp_path).hold(POT)


def test_one_gateway_at_a_time_has_the_records(tmp_path: Path) -> None:
    one, other = OneGateway(tmp_path), OneGateway(tmp_path)
    assert one.taken()
    assert not other.taken()
    one.close()
    assert other.taken()


def test_nothing_is_left_of_a_pot_that_nobody_used(tmp_path: Path) -> None:
    one, other = ServingLocks(tmp_path), ServingLocks(tmp_path)
    one.hold(POT)
    other.hold(POT)
    one.release(POT, unused=True)
    assert left(tmp_path) == [f"{POT.hex()}.serving"]
    assert not gathering(tmp_path)[0].whole(POT)
    other.release(POT, unused=True)
    assert left(tmp_path) == []
    other.hold(POT)
    assert not gathering(tmp_path)[0].whole(POT)
