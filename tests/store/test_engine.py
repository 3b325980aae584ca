"""The schema and its revisions agree, a store opens twice at once, and a bad one gives a clear error."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pkgutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

import pocketnode.store
from pocketnode.errors import ConfigError, Corrupt, Unavailable
from pocketnode.store.engine import open_store, revisions, sqlite_url, transaction
from pocketnode.store.journal import Intent, Journal
from pocketnode.store.tables import metadata


def test_the_revisions_make_the_tables_that_the_code_reads(url: str) -> None:
    for module in pkgutil.iter_modules(pocketnode.store.__path__, "pocketnode.store."):
        import_module(module.name)  # each registers its tables
    with open_store(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_revisions_are_told_by_their_files() -> None:
    config = Config()
    config.set_main_option("script_location", "pocketnode.store:migrations")
    assert revisions() == set(ScriptDirectory.from_config(config).get_heads())


def test_a_store_made_apart_needs_no_alembic(tmp_path: Path) -> None:
    code = "import sys; from pocketnode.store.engine import open_store; open_store(sys.argv[1], apart=True)"
    code += "; print([name for name in sys.modules if 'alembic' in name])"
    for _ in range(2):
        url = sqlite_url(tmp_path / "state.db")
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
    with transaction(open_store(sqlite_url(tmp_path / "state.db"))) as tx:
        assert tx.execute(text("select count(*) from followed_blocks")).scalar() == 0


def test_a_store_that_cannot_be_made_apart_says_why(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match=r"state\.db"):
        open_store(sqlite_url(tmp_path / "state.db"), apart=True)


def test_many_threads_may_open_a_store_at_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for engine in pool.map(open_store, [url] * 24):
            engine.dispose()


def test_many_processes_may_open_a_store_at_once(url: str) -> None:
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(opened_at, [url] * 4, [time.time() + 2] * 4)) == [True] * 4


def opened_at(url: str, at_s: float) -> bool:
    """Open a store at a moment, in a process of its own; return whether it has its tables."""
    time.sleep(max(0.0, at_s - time.time()))
    engine = open_store(url)
    with transaction(engine) as tx:
        tx.execute(text("select count(*) from followed_blocks"))
    engine.dispose()
    return True


def test_a_store_that_is_being_opened_for_too_long_is_unavailable(tmp_path: Path) -> None:
    opened = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    try:
        with pytest.raises(Unavailable, match="opening"):
            open_store(sqlite_url(tmp_path / "state.db"), lock_wait_ms=50)
    finally:
        os.close(opened)


def test_a_store_of_a_newer_version_is_refused(url: str) -> None:
    with open_store(url).begin() as tx:
        tx.execute(text("update alembic_version set version_num = 'r9999' where version_num like 'r%'"))
    with pytest.raises(ConfigError, match="newer version"):
        open_store(url)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match=r"state\.db"):
        open_store(sqlite_url(tmp_path / "state.db"))


def test_a_truncated_database_is_never_believed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    engine = open_store(sqlite_url(path))
    Journal(engine, b"k" * 20).add(Intent("deposit", None, bytes(50_000)))
    engine.dispose()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((Corrupt, Unavailable)):
        Journal(open_store(sqlite_url(path)), b"k" * 20).get("deposit")


def test_a_locked_database_is_unavailable(tmp_path: Path) -> None:
    engine = open_store(sqlite_url(tmp_path / "state.db"), lock_wait_ms=50)
    holder = sqlite3.connect(tmp_path / "state.db")
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(Unavailable, match="locked"), transaction(engine):
            pass
    finally:
        holder.close()


def test_an_unknown_kind_of_database_is_refused() -> None:
    with pytest.raises(ConfigError, match="store"):
        open_store("oracular://nowhere")


def test_a_transaction_happens_whole_or_not(engine: Engine) -> None:
    def fail_half_way() -> None:
        with transaction(engine) as tx:
            tx.execute(text("insert into followed_blocks (number, hash) values (1, '00')"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    with transaction(engine) as tx:
        assert tx.execute(text("select count(*) from followed_blocks")).scalar() == 0


def test_the_log_of_a_store_that_keeps_changing_stays_short(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    engine = open_store(sqlite_url(path))
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE changing (id INTEGER PRIMARY KEY, value BLOB)"))
        connection.execute(text("INSERT INTO changing VALUES (1, randomblob(30000))"))
    for _ in range(60):
        with transaction(engine) as connection:
            connection.execute(text("UPDATE changing SET value = randomblob(30000)"))
    assert path.with_name("store.db-wal").stat().st_size < 600_000  # 60 x 32 kB were written
    engine.dispose()


def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        open_store("postgresql+psycopg://nobody@127.0.0.1:1/none")
