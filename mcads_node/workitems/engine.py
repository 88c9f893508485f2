"""The database connection: how a transaction begins, and what its errors mean to the node.

SQLite (WAL, ``synchronous=FULL``): a commit is on the disk when it returns. A transaction that writes takes
the write lock at its start (BEGIN IMMEDIATE): one that began by reading could find at its first write that
another writer was quicker, and would have to begin anew. Within one process writers take turns on a lock,
because SQLite's own waiting is by polling and lets a thread starve. PostgreSQL: READ COMMITTED for writes,
with row locks where an order matters; one snapshot (REPEATABLE READ) for reads. Nothing waits for ever: not
for a lock, not for a statement, not for a server that is gone, and a process that stands still in the middle
of a transaction is cut off, so that what it has locked is free again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mcads_node.errors import ConfigError, NodeError, PermanentError, Problem, StorageFull, TransientError

_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: PostgreSQL classes of SQLSTATE after which the same may succeed: connection, cut off for standing still,
#: rollback, resources, not in the prerequisite state (locks), operator intervention, system error
_POSTGRES_TRANSIENT = ("08", "25P03", "40", "53", "55", "57", "58")
#: class of those by which the server undid one transaction in favour of another: serialization, deadlock
_POSTGRES_UNDONE = "40"
#: how long a client waits for a server of which nothing is heard; libpq's names and units
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


class Undone(TransientError):
    """The database undid this transaction in favour of another; the same may be done again at once."""


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One transaction, and the moment it speaks of."""

    connection: Connection
    #: UTC; the same for everything written in it
    now: datetime


class Database:
    """One SQL database, shared by all threads of the process."""

    def __init__(self, url_or_path: str | Path, busy_seconds: float) -> None:
        self.url = _url_of(url_or_path)
        #: as an administrator may see it, without a password
        self.name = self.url.database if self.is_sqlite and self.url.database else self.url.render_as_string()
        self._busy_seconds = busy_seconds
        self._turn = threading.Lock() if self.is_sqlite else None
        self._engine = self._sqlite() if self.is_sqlite else self._server()
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        isolation = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = self._engine.execution_options(begin="BEGIN", **isolation)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Begin a transaction that writes; committed at the end of the block, undone by an exception.

        Raises
        ------
        StorageFull
            The disk or the database cannot take more.
        TransientError
            Another process holds the database for longer than the busy timeout, or it cannot be reached.
        PermanentError
            A constraint forbids what was to be written.
        """
        with self._in_turn(), translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Begin a transaction that reads one consistent state and never waits for writers."""
        with translated(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Give a server's connection for oneself, without transactions, for as long as the block runs.

        Raises
        ------
        TransientError
            It cannot be had, or broke.
        """
        with translated(), ExitStack() as undo:
            connection = undo.enter_context(self._engine.connect())
            connection.execution_options(isolation_level="AUTOCOMMIT")
            # it would be missing in the pool, and is nobody else's when it comes back
            connection.detach()
            yield connection

    @contextmanager
    def listening(self, *channels: str) -> Iterator[Any]:
        """Give a driver's connection that hears notices on these channels; see `session`."""
        with self.session() as connection, translated_of_driver():
            for channel in channels:
                connection.exec_driver_sql(f"LISTEN {channel}")
            yield connection.connection.dbapi_connection

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite's, and not a server's."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=self._busy_seconds):
            raise TransientError(f"the database {self.name} was busy for {self._busy_seconds:g} s")
        try:
            yield
        finally:
            self._turn.release()

    def _sqlite(self) -> Engine:
        path = Path(self.url.database or "")
        _make_private(path)
        # one connection a thread at most: a writer that has its turn never waits for a reader's connection
        engine = create_engine(self.url, hide_parameters=True, pool_size=8, max_overflow=-1)

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            # transactions are begun by us, below; the driver's own rules would begin them late and deferred
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {round(self._busy_seconds * 1000)}")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            cursor.close()
            if mode != "wal":
                raise _wrong(
                    str(path), f"expected a file system on which SQLite can use WAL, got mode {mode!r}"
                )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

        return engine

    def _server(self) -> Engine:
        # not left to the server's own settings: a lock that is never given back must not hang a receiver, and
        # a commit that returned must be on the disk
        busy = round(self._busy_seconds * 1000)
        settings = {
            "lock_timeout": busy,
            "statement_timeout": 2 * busy,
            "idle_in_transaction_session_timeout": 2 * busy,
            "synchronous_commit": "on",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        try:
            return create_engine(
                self.url.update_query_dict({**_PATIENCE, **self.url.query, "options": options}),
                hide_parameters=True,
                pool_pre_ping=True,
                pool_size=8,
                max_overflow=24,
                pool_timeout=self._busy_seconds,
            )
        except ModuleNotFoundError as error:
            what = "PostgreSQL needs its driver: pip install 'mcads-node[postgres]'"
            raise _wrong(self.url.render_as_string(), what) from error


def _url_of(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).absolute()))
    try:
        url = make_url(url_or_path)
    except ArgumentError:
        raise _wrong("", "expected null or postgresql+psycopg://user@host/name") from None
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    raise _wrong(url.render_as_string(), "expected null, a file, or postgresql+psycopg://user@host/name")


def _wrong(database: str, message: str) -> ConfigError:
    return ConfigError([Problem(file=database, line=None, key="node.database", message=message)])


def _make_private(path: Path) -> None:
    """Make the file before SQLite does: its journals take its mode, and patients' headers are in them."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _wrong(str(path), f"cannot be opened for writing: {error.strerror}") from error


@contextmanager
def translated() -> Iterator[None]:
    """Map whatever SQLAlchemy and the drivers raise to the node's errors."""
    try:
        yield
    except (IntegrityError, DataError) as error:
        # not chained: a driver may quote the whole row, and a header with it
        raise as_node_error(error) from None
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise as_node_error(error) from error


@contextmanager
def translated_of_driver() -> Iterator[None]:
    """Map what a server's driver raises where it is spoken to directly."""
    try:
        yield
    except NodeError:
        raise
    except Exception as error:
        # every driver's errors are of this name (PEP 249), whichever is installed
        if any(kind.__name__ == "OperationalError" for kind in type(error).__mro__):
            raise TransientError(f"the database cannot be reached: {error}") from error
        raise


def as_node_error(error: SQLAlchemyError | sqlite3.Error) -> NodeError:
    """Say what a database error means; the text holds no values of the statement."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause)
    if isinstance(cause, PoolTimeout):
        return TransientError("every connection to the database is in use")
    state = getattr(cause, "sqlstate", None)
    if isinstance(error, DBAPIError) and (state is not None or error.connection_invalidated):
        return _of_postgres(cause, state or "08000")
    if isinstance(error, DBAPIError) and type(cause).__name__ == "OperationalError":
        return TransientError(f"the database cannot be reached: {cause}")
    return PermanentError(f"the database statement failed: {type(cause).__name__}")


def _of_sqlite(error: sqlite3.Error) -> NodeError:
    # the low byte is the primary code, the rest says more of the same
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"the database cannot grow: {error}")
    if code in _SQLITE_BUSY:
        return TransientError(f"another process holds the database: {error}")
    if code in _SQLITE_BROKEN:
        return PermanentError(f"the database file is damaged, restore a backup: {error}")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return TransientError(f"the database file cannot be used: {error}")
    return PermanentError(f"the database refused: {error}")


def _of_postgres(cause: BaseException | None, state: str) -> NodeError:
    diagnosis = getattr(cause, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or type(cause).__name__
    if state == "53100":
        return StorageFull(f"the database cannot grow: {said}")
    if state.startswith(_POSTGRES_UNDONE):
        return Undone(f"the database undid the transaction: {said}")
    if state.startswith(_POSTGRES_TRANSIENT):
        return TransientError(f"the database cannot serve now: {said}")
    return PermanentError(f"the database refused: {said}")
