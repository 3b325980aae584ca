"""Opens the database and turns its errors into ours.

SQLite by default, PostgreSQL by URL. The schema is brought up to date on opening; several processes may do so at once.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool

from pocketnode.errors import ConfigError, Corrupt, Unavailable

LOCK_WAIT_MS: Final = 10_000
_MIGRATION_LOCK: Final = 0x706F636B  # any number that only we lock in PostgreSQL
_LOCK_POLL_S: Final = 0.02
# Few rows change over and over: a log of 100 pages (400 kB) costs no speed; the usual one is 4 MB beside each store.
_SHORT_LOG: Final = ("wal_autocheckpoint=100", "journal_size_limit=262144")
_migrating = threading.Lock()  # alembic keeps what it works on in its modules


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{path.absolute()}"


def open_store(url: str, lock_wait_ms: int = LOCK_WAIT_MS, apart: bool = False) -> Engine:
    """Return the database at `url` with its schema up to date.

    Parameters
    ----------
    url : of SQLAlchemy, such as `sqlite:////var/lib/pocketnode/state.db` or `postgresql+psycopg://user@host/name`;
        `sqlite://` is one in memory, for commands that do one thing after the other.
    lock_wait_ms : how long a writer waits for another one (SQLite).
    apart : bring the schema up to date, if that is needed, in a process of its own. For daemons: alembic takes 10 MiB
        that they would keep for years.

    Raises
    ------
    ConfigError
        the URL is malformed, its driver is not installed, or a newer version of this program wrote the database.
    Unavailable
        the database cannot be reached, is locked, or its disk is full or read-only.
    Corrupt
        the file is not a database or is damaged.
    """
    try:
        engine = _engine(make_url(url))
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ConfigError(f"store {url.split('@')[-1]!r}: {error}") from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, lock_wait_ms)
    with _migrating, _folder_locked(engine, lock_wait_ms / 1000):
        if _is_current(engine):
            return engine
        if not apart:
            migrate(engine)
            return engine
    engine.dispose()
    # What it fails for is found out here once more, as an error of ours.
    subprocess.run([sys.executable, "-m", __name__], input=url.encode(), capture_output=True, check=False)
    return open_store(url, lock_wait_ms)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Run one short transaction: all of it happens, or nothing.

    Raises
    ------
    Unavailable
        locked for too long, disk full or read-only, connection lost: it may pass.
    Corrupt
        the database is damaged: nothing in it may be believed.
    """
    with errors_of(engine), engine.begin() as tx:
        yield tx


@contextmanager
def errors_of(engine: Engine) -> Iterator[None]:
    """Turn the database's errors into ours."""
    where = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except OperationalError as error:
        raise Unavailable(f"store {where}: {error.orig}", retry_after_s=1.0) from error
    except DatabaseError as error:
        raise Corrupt(f"store {where}: {error.orig}") from error


def revisions() -> set[str]:
    """Return the newest revision of each line of migrations by file names: `r0006_audits.py` comes after r0005.

    Alembic says the same, but takes 0.1 s and 10 MiB to be imported.
    """
    names = sorted(file.name[:5] for file in files("pocketnode.store.migrations.versions").iterdir())
    newest = {name[0]: name for name in names if name[1:].isdigit()}
    return set(newest.values())


def _is_current(engine: Engine) -> bool:
    with errors_of(engine), engine.begin() as tx:
        if not inspect(tx).has_table("alembic_version"):
            return False
        return set(tx.execute(text("select version_num from alembic_version")).scalars()) == revisions()


def migrate(engine: Engine) -> None:
    """Bring the schema up to the newest revision. One thread of a process at a time."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "pocketnode.store:migrations")
    with transaction(engine) as tx:
        if engine.dialect.name == "postgresql":
            tx.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        config.attributes["connection"] = tx
        try:
            command.upgrade(config, "heads")
        except CommandError as error:
            raise ConfigError(f"store: written by a newer version of pocketnode ({error}): upgrade this one") from error


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if url.database in (None, "", ":memory:"):  # one connection taken in turns: each would be a database of its own
        one: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
        return create_engine(url, connect_args={"check_same_thread": False}, **one)
    Path(url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    return create_engine(url)


@contextmanager
def _folder_locked(engine: Engine, wait_s: float) -> Iterator[None]:
    """Keep other processes from opening a SQLite store meanwhile: who turns it to WAL does not wait for its lock."""
    if engine.dialect.name != "sqlite" or engine.url.database in (None, "", ":memory:"):
        yield
        return
    folder = Path(engine.url.database or "").absolute().parent
    opened = os.open(folder, os.O_RDONLY)
    try:
        _lock(opened, folder, time.monotonic() + wait_s)
        yield
    finally:
        os.close(opened)


def _lock(opened: int, folder: Path, deadline_s: float) -> None:
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline_s:
                raise Unavailable(f"store {folder}: another process keeps opening it", 1.0) from error
            time.sleep(_LOCK_POLL_S)
        except OSError:
            return  # a file system without locks: the database's own have to do
        else:
            return


def _prepare_sqlite(engine: Engine, lock_wait_ms: int) -> None:
    """Make transactions whole (the driver's own begin too late) and durable (an answer to a Receipt is money)."""

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={lock_wait_ms}")  # first: the others may have to wait, too
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", *_SHORT_LOG):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for another writer: it fails at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


if __name__ == "__main__":  # `apart`: the URL, which may hold a password, comes by stdin
    open_store(sys.stdin.read()).dispose()
