"""Processes of a local network: started when ready, missed when dead, and gone when stopped, whatever they do."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pocketnode.localnet.children import Child, ChildFailed, Children, last_words

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"
BROKEN = "import sys; print('first', flush=True); sys.exit('the disk is full')"


def child(name: str, code: str, folder: Path, ready_when: str = "up") -> Child:
    log = folder / f"{name}.log"

    async def ready() -> bool:
        return log.exists() and ready_when in log.read_text()

    return Child(name, [sys.executable, "-c", code], log, ready)


async def test_a_child_that_is_ready_runs_until_it_is_stopped(tmp_path: Path) -> None:
    children = Children()
    await children.start(child("obedient", OBEDIENT, tmp_path))
    pid = children.pids["obedient"]
    assert psutil.pid_exists(pid)
    assert await children.stop() == []
    assert not psutil.pid_exists(pid)


async def test_a_child_that_ignores_the_signal_is_ended_within_five_seconds(tmp_path: Path) -> None:
    children = Children()
    for name in ("one", "two", "three"):
        await children.start(child(name, STUBBORN, tmp_path))
    pids = list(children.pids.values())
    started = time.monotonic()
    assert await children.stop() == ["one", "two", "three"]
    assert time.monotonic() - started < 5
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_child_that_dies_at_once_is_named_with_its_last_words_and_its_log(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"broken exited with 1: the disk is full \(its log: .*broken\.log\)"):
        await Children().start(child("broken", BROKEN, tmp_path))


async def test_a_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    children = Children()
    with pytest.raises(ChildFailed, match="was not ready"):
        await children.start(child("slow", OBEDIENT, tmp_path, ready_when="never"), timeout_s=0.3)
    await children.stop()


async def test_watching_ends_with_the_first_child_that_dies(tmp_path: Path) -> None:
    children = Children()
    for name in ("one", "two"):
        await children.start(child(name, OBEDIENT, tmp_path))
    watching = asyncio.create_task(children.watch())
    await asyncio.sleep(0)
    psutil.Process(children.pids["two"]).send_signal(signal.SIGKILL)
    with pytest.raises(ChildFailed, match="two exited with -9"):
        await asyncio.wait_for(watching, 5)
    assert await children.stop() == ["two"]


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def ready() -> bool:
        return False

    with pytest.raises(ChildFailed, match=r"absent cannot be started, /no/such/program: No such file"):
        await Children().start(Child("absent", ["/no/such/program"], tmp_path / "absent.log", ready))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
def test_no_child_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.localnet.test_children import STUBBORN, child
from pocketnode.localnet.children import Children

async def main():
    children = Children()
    await children.start(child("stubborn", STUBBORN, Path({str(tmp_path)!r})))
    print(children.pids["stubborn"], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        pid = int(supervisor.stdout.readline())
        assert psutil.pid_exists(pid)
        supervisor.kill()
    deadline_s = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not psutil.pid_exists(pid)


def test_last_words_are_the_last_line_that_says_something(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("first\nlast \n\n")
    assert last_words(tmp_path / "log") == "last"
    assert last_words(tmp_path / "none") == ""
