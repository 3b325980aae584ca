"""The folder of a local network, and the processes that are, or no longer are, the ones it names."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pocketnode.errors import NotFound
from pocketnode.localnet import state
from pocketnode.localnet.state import Layout, Process, State


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = State("ready", [Process("supervisor", 1, 2.5)], "all well")
    state.write(Layout(tmp_path), written)
    assert state.read(Layout(tmp_path)) == written


def test_where_there_never_was_a_network_there_is_no_state(tmp_path: Path) -> None:
    assert state.read(Layout(tmp_path)) is None
    with pytest.raises(NotFound, match="localnet up"):
        state.need_running(Layout(tmp_path))


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    me = Process.of("me", os.getpid())
    assert me.alive()
    assert not Process("earlier", me.pid, me.started - 60).alive()


def test_a_process_that_ended_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        seen = Process.of("child", child.pid)
        assert seen.alive()
        child.kill()
    assert not seen.alive()
    assert not State("ready", [seen]).running()


def test_keys_are_closed_to_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "net")
    layout.make()
    assert stat.S_IMODE(layout.root.stat().st_mode) == 0o700
