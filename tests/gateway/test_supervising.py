"""Worker processes are begun again when they die or hang, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from pocketnode.errors import ConfigError, Unavailable
from pocketnode.gateway.port import held, listen_of
from pocketnode.gateway.workers import Workers
from tests.gateway.conftest import until

SLEEPS = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def workers_of(script: str, folder: Path, count: int = 2, silent_most_s: float = 60.0) -> Workers:
    return Workers(lambda _number, _socket: [sys.executable, "-c", script], folder, count, "token", silent_most_s)


@asynccontextmanager
async def running(workers: Workers) -> AsyncIterator[None]:
    task = asyncio.create_task(workers.run())
    await until(lambda: all(worker.running for worker in workers.all))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def pid_of(workers: Workers, place: int) -> int:
    process = workers.all[place].process
    assert process is not None
    return process.pid


async def test_a_worker_that_dies_is_begun_again_and_all_end_together(tmp_path: Path) -> None:
    workers = workers_of(SLEEPS, tmp_path)
    async with running(workers):
        first, second = pid_of(workers, 0), pid_of(workers, 1)
        os.kill(first, signal.SIGKILL)
        await until(lambda: workers.all[0].restarts == 1 and workers.all[0].running and pid_of(workers, 0) != first)
        assert pid_of(workers, 1) == second
        last = [pid_of(workers, 0), second]
    assert not any(psutil.pid_exists(pid) for pid in [first, *last])


async def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    workers = workers_of(STUBBORN, tmp_path, count=1, silent_most_s=0.3)
    async with running(workers):
        hung = pid_of(workers, 0)
        with pytest.raises(Unavailable, match="worker 1"):
            await workers.ask(workers.all[0], "/healthz")
        workers.kill_silent()
        assert workers.all[0].restarts == 0  # it has just begun
        await asyncio.sleep(0.4)
        workers.kill_silent()
        await until(lambda: workers.all[0].restarts == 1 and workers.all[0].running)
        assert not psutil.pid_exists(hung)
        os.kill(pid_of(workers, 0), signal.SIGKILL)


async def test_a_worker_that_cannot_begin_is_tried_ever_more_rarely(tmp_path: Path) -> None:
    workers = workers_of("raise SystemExit(2)", tmp_path, count=1)
    task = asyncio.create_task(workers.run())
    await asyncio.sleep(2.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert 1 <= workers.all[0].restarts <= 4


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    worker = (
        "import asyncio\nfrom pocketnode.gateway.workers import end_with_parent\n"
        "async def main():\n"
        "    stop = asyncio.Event(); end_with_parent(stop, 5.0); print('up', flush=True)\n"
        "    await stop.wait(); print('ended in order', flush=True)\n"
        "asyncio.run(main())"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {worker!r}], stdin=subprocess.PIPE)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.kill()
        assert process.stdout.readline() == "ended in order\n"


def test_a_port_is_held_for_all_workers_and_for_no_other_gateway() -> None:
    with held("127.0.0.1:0") as bound:
        listen = listen_of("127.0.0.1:0", bound)
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(bound.getsockname())
            worker.listen()
            with pytest.raises(ConfigError, match="listener"):
                held(listen)
            with socket.create_connection(bound.getsockname(), timeout=5):
                worker.accept()[0].close()
