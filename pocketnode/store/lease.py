"""Which of the processes that share a store does what must be done once: sending transactions, following the chain.

PostgreSQL gives the lease to one connection and takes it back when that is gone, so a process that dies or loses its
network hands over by itself. A SQLite file belongs to one process: the lease is a lock on a file beside it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DatabaseError

from pocketnode.errors import Unavailable
from pocketnode.store.engine import errors_of

_LEASE: Final = 0x706F6C73  # any number that only we lock in PostgreSQL


class Lease:
    """Held by one process at a time. Synchronous: call it from a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._file: int | None = None
        database = engine.url.database if engine.dialect.name == "sqlite" else None
        self._path = Path(f"{database}.lock") if database and database != ":memory:" else None

    def take(self) -> bool:
        """Return whether this process has the lease now; another one may have it.

        Raises
        ------
        Unavailable
            the database cannot be reached.
        """
        if self._engine.dialect.name == "postgresql":
            return self._connection is not None or self._take_connection()
        return self._path is None or self._file is not None or self._take_file(self._path)

    def confirm(self) -> None:
        """Make sure that it is still held.

        Raises
        ------
        Unavailable
            it is lost, and another process may have it by now.
        """
        if self._connection is None:
            return
        try:
            self._connection.execute(text("select 1"))
        except DatabaseError as error:
            self.drop()
            raise Unavailable("the connection that held the store's lease is gone", 1.0) from error

    def drop(self) -> None:
        """Let another process have it."""
        if self._connection is not None:
            with suppress(DatabaseError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take_connection(self) -> bool:
        with errors_of(self._engine):
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            taken = connection.execute(text("select pg_try_advisory_lock(:lease)"), {"lease": _LEASE}).scalar_one()
        if not taken:
            connection.close()
            return False
        self._connection = connection
        return True

    def _take_file(self, path: Path) -> bool:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}", 1.0) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True
