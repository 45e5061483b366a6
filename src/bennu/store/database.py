"""The SQLite file: one connection a thread, WAL, every write in ``BEGIN IMMEDIATE``, durable when it returns.

Owns opening, migrating and transactions, and no query: those stand with the noun they serve. A database of a newer
bennu is refused, never guessed at. See ``schema`` for the tables.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from bennu.errors import Corrupt, Unavailable, Unsupported
from bennu.store.migrations import MIGRATIONS

BUSY_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 0.005


class Database:
    """Access to the file for all threads of a process. Connections open on first use and close with their thread."""

    def __init__(self, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self._migrations = migrations
        self._local = threading.local()
        self._all: weakref.WeakSet[sqlite3.Connection] = weakref.WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. The object opens again on the next use."""
        for connection in list(self._all):
            connection.close()
        self._all.clear()
        self._local = threading.local()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """The rows of a SELECT."""
        return self._connection().execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first row of a SELECT, or None."""
        row: sqlite3.Row | None = self._connection().execute(sql, parameters).fetchone()
        return row

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed and durable at the end of the block, rolled back if it raises.

        ``durable`` off waits for no disk: a power cut may take it back, and then nothing later than it is left either.
        Inside another one of the same thread it joins it.
        """
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        if durable:
            with self._writing(connection):
                yield connection
            return
        connection.execute("PRAGMA synchronous = NORMAL")
        try:
            with self._writing(connection):
                yield connection
        finally:
            connection.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def _writing(self, connection: sqlite3.Connection) -> Iterator[None]:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"database {str(self.path)!r}: {error}", "another bennu is busy with it; try again"
            ) from error
        try:
            yield
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:  # a full disk has ended it already
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                raise Unavailable(
                    f"database {str(self.path)!r}: the disk is full", "`bennu gc` removes what nothing needs"
                ) from error
            raise

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._open()
            self._local.connection = connection
            self._all.add(connection)
        return connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=_Connection
            )
            connection.row_factory = sqlite3.Row
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(connection)
        except sqlite3.DatabaseError as error:
            raise Corrupt(
                f"database {str(self.path)!r}: {error}", "`bennu doctor` checks the state directory"
            ) from error
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(self._migrations):
            raise Unsupported(
                f"database {str(self.path)!r} has format {version}; this bennu knows {len(self._migrations)}",
                "a newer bennu has used this root: install that one",
            )
        if version == len(self._migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been first
            for number, migration in enumerate(self._migrations[version:], start=version + 1):
                for statement in _statements(migration):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


class _Connection(sqlite3.Connection):
    """A connection that a ``WeakSet`` can hold."""


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL, which a file keeps. SQLite waits for nobody there: where several are first at once, try again."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def _statements(script: str) -> Iterator[str]:
    # executescript() commits the transaction that is open, so the script is cut into statements here
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
