"""What a developer does with a network besides using it: what goes wrong is one line, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.network import pocketnode, running

pytestmark = pytest.mark.e2e


def pids(folder: Path) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in json.loads((folder / "state.json").read_text())["processes"]}


def running_now(pid: int) -> bool:
    """Return whether a process runs; one that ended and that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_gone(gone: list[int], within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while any(map(running_now, gone)):
        assert time.monotonic() < deadline_s, f"still there: {[pid for pid in gone if running_now(pid)]}"
        time.sleep(0.05)


def test_a_taken_port_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = pocketnode("localnet", "up", "--dir", tmp_path / "net", "--gateway-port", str(port))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"port {port}" in done.stderr
    assert "--gateway-port" in done.stderr


def test_commands_without_a_network_say_how_to_start_one(tmp_path: Path) -> None:
    for command in ("status", "payouts", "traffic", "down"):
        done = pocketnode("localnet", command, "--dir", tmp_path / "none")
        assert done.returncode == 5, done.stderr
        assert "pocketnode localnet up" in done.stderr


def test_a_detached_network_goes_on_where_it_was_and_a_dead_child_ends_it_all(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    up = ("localnet", "up", "--detach", "--gateway-port", "0", "--dir", folder)
    started = pocketnode(*up)
    assert started.returncode == 0, started.stdout + started.stderr
    first = pids(folder)
    assert len(first) == 7
    key = (folder / "keys" / "api-key").read_text()

    second = pocketnode(*up)
    assert second.returncode == 2
    assert "already" in second.stderr

    down = pocketnode("localnet", "down", "--dir", folder)
    assert (down.returncode, down.stderr) == (0, "stopped\n")
    wait_gone(list(first.values()), within_s=0.5)

    started = pocketnode(*up)
    assert started.returncode == 0, started.stdout + started.stderr
    assert (folder / "keys" / "api-key").read_text() == key
    again = pids(folder)
    os.kill(again["supplier-2"], signal.SIGKILL)
    wait_gone(list(again.values()), within_s=8)
    assert json.loads((folder / "state.json").read_text())["phase"] == "stopped"  # the chain is whole: it can go on
    last = (folder / "supervisor.log").read_text().strip().splitlines()[-1]
    assert last.startswith("error: supplier-2 exited with -9")
    assert "supplier-2.log" in last

    assert pocketnode("localnet", "reset", "--yes", "--dir", folder).returncode == 0
    assert not folder.exists()


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "net") as supervisor:
        children = list(pids(tmp_path / "net").values())
        supervisor.kill()
        supervisor.wait()
        wait_gone(children, within_s=3)


def test_ctrl_c_stops_everything_within_five_seconds(tmp_path: Path) -> None:
    with running(tmp_path / "net") as supervisor:
        children = list(pids(tmp_path / "net").values())
        started = time.monotonic()
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(10) == 0
        assert time.monotonic() - started < 5
        wait_gone(children, within_s=0.5)
