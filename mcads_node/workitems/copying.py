"""A copy of the whole database at one moment, made while others write to it; and the way back.

SQLite: the backup API, from a connection that is in a reading transaction. So it copies one snapshot: without
the transaction it would begin anew whenever another connection writes, and on a busy node never end.
PostgreSQL: ``pg_dump`` on the snapshot that the transaction exports, so that the paths that are read in the
transaction are those that the dump speaks of.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Table, delete, inspect, select, text, update

from mcads_node.errors import NodeError, PermanentError, TransientError
from mcads_node.workitems.engine import Database, Transaction
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.records import InstanceState
from mcads_node.workitems.retention import kept_in_results, kept_in_spool
from mcads_node.workitems.schema import (
    analyses,
    destination_holders,
    destinations,
    installation,
    instances,
    results,
)

#: pages of a step of SQLite's backup (4 KiB each), and how long it rests after one
_STEP_PAGES = 1024
_REST_SECONDS = 0.005
_BUSY_SECONDS = 30.0
#: a program of PostgreSQL's is ended after so long, and how often it is looked whether it is to end early
_PATIENCE_SECONDS = 12 * 3600.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a copy of the database speaks of."""

    #: ``sqlite`` (the copy is a database file), or ``postgresql`` (it is a dump)
    kind: str
    #: of the tables, as Alembic numbers them
    revision: str
    #: files that the rows say are there, relative to the folder of received objects
    spool: frozenset[str]
    #: the same, relative to the folder of results
    results: frozenset[str]
    #: bytes of received objects by path, and SHA-256 (hex) of results by path, as they were written
    sizes: Mapping[str, int]
    digests: Mapping[str, str]


def copy(tx: Transaction, database: Database, target: Path, progress: Callable[[int, int], None]) -> Snapshot:
    """Write the database, as the transaction sees it, to a file that only its owner may read."""
    snapshot = Snapshot(
        kind="sqlite" if database.is_sqlite else "postgresql",
        revision=tx.connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one(),
        spool=frozenset(kept_in_spool(tx)),
        results=frozenset(kept_in_results(tx)),
        sizes=_written(tx, instances, instances.c.size),
        digests=_written(tx, results, results.c.digest),
    )
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    if database.is_sqlite:
        _copy_sqlite(tx, target, progress)
    else:
        _dump(tx, database, target, progress)
    return snapshot


def _written(tx: Transaction, table: Table, column: Column[Any]) -> dict[str, Any]:
    query = select(table.c.path, column).where(table.c.file_deleted_at.is_(None))
    return {row[0]: row[1] for row in tx.connection.execute(query)}


def load_dump(url: str, dump: Path) -> None:
    """Read a dump into an empty database of PostgreSQL, in one transaction.

    Raises
    ------
    NodeError
        ``pg_restore`` is not there, or failed; nothing was written then.
    """
    arguments = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
    with closing(Database(url, _BUSY_SECONDS)) as database:
        _run("pg_restore", database, [*arguments, str(dump)])


def database_is_empty(url: str) -> bool:
    """Whether a database of PostgreSQL has no tables yet."""
    with closing(Database(url, _BUSY_SECONDS)) as database, database.read() as connection:
        return not inspect(connection).get_table_names()


def record_restored(tx: Transaction, gone: Collection[str], who: str, why: str) -> None:
    """Note a restoration; of settled studies, files that were let go while the backup was made are gone.

    What was known against destinations, and who served them, is forgotten: it is of another time, and maybe
    of another machine. And it is another installation: what the one before did since the backup is not known
    here, and what is made again is made at another time, so it must not have the same UIDs.
    """
    for table in (destinations, destination_holders):
        tx.connection.execute(delete(table))
    tx.connection.execute(update(installation).values(uuid=str(uuid.uuid4())))
    for table in (instances, results):
        statement = update(table).where(table.c.path.in_(gone), table.c.file_deleted_at.is_(None))
        if table is instances:
            statement = statement.where(table.c.state.in_((InstanceState.ANALYSED, InstanceState.DECLINED)))
        tx.connection.execute(statement.values(file_deleted_at=tx.now))
    tx.connection.execute(update(analyses).where(analyses.c.thumbnail.in_(gone)).values(thumbnail=None))
    record(tx, Happening(who=who, what="restored", subject="database", why=why))


def _copy_sqlite(tx: Transaction, target: Path, progress: Callable[[int, int], None]) -> None:
    source = tx.connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)  # noqa: S101 - what SQLAlchemy's driver is
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copied:
            source.backup(
                copied,
                pages=_STEP_PAGES,
                progress=lambda _status, left, total: progress(total - left, total),
                sleep=_REST_SECONDS,
            )
            # one file: the copy says that it is in WAL mode, as the database is
            copied.execute("PRAGMA journal_mode = DELETE")
            (verdict,) = copied.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        raise TransientError(f"the database cannot be copied to {target}: {error}") from error
    if verdict != "ok":
        raise PermanentError("the database file is damaged (PRAGMA quick_check): restore an earlier backup")


def _dump(tx: Transaction, database: Database, target: Path, progress: Callable[[int, int], None]) -> None:
    progress(0, 1)
    # this transaction only has to live until pg_dump has joined it, and it stands still meanwhile
    tx.connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    exported = tx.connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
    arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={exported}"]
    _run("pg_dump", database, [*arguments, f"--file={target}"], lambda: progress(0, 1))
    progress(1, 1)


def _run(
    program: str, database: Database, arguments: list[str], go_on: Callable[[], None] = lambda: None
) -> None:
    """Run a program of PostgreSQL's; `go_on` is called all the while, and ends it by raising."""
    found = shutil.which(program)
    if found is None:
        raise NodeError(f"{program} is not in the PATH: it comes with PostgreSQL's client programs")
    url = database.url.set(drivername="postgresql", password=None)
    environment = dict(os.environ)
    if database.url.password is not None:
        # not an argument: every user of the machine can read those
        environment["PGPASSWORD"] = str(database.url.password)
    with subprocess.Popen(  # noqa: S603 - a program of PostgreSQL's, and no shell
        [found, *arguments, f"--dbname={url.render_as_string(hide_password=False)}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            said = _wait(process, program, go_on)
        finally:
            process.kill()
    if process.returncode:
        # the first line says what is wrong; those after it may quote a row
        first = said.decode(errors="replace").strip().splitlines()[:1]
        raise TransientError(f"{program} failed: {first[0] if first else f'exit code {process.returncode}'}")


def _wait(process: subprocess.Popen[bytes], program: str, go_on: Callable[[], None]) -> bytes:
    """Give what the program said on its standard error, once it has ended."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return process.communicate(timeout=_LOOK_SECONDS)[1]
        except subprocess.TimeoutExpired:
            go_on()
            if time.monotonic() > end:
                raise TransientError(f"{program} took more than {_PATIENCE_SECONDS / 3600:g} h") from None
