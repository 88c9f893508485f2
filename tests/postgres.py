"""A PostgreSQL server of the tests' own: Debian's programs, a temporary folder, a socket, no network."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from mcads_node.workitems import open_store
from tests.programs import require_program

#: what makes it quick: nothing of it has to survive, and the machine may be busy with other tests
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "deadlock_timeout": "100ms",
    # a zone of its own: nothing of ours may depend on the server's
    "timezone": "Asia/Kathmandu",
    "log_min_messages": "fatal",
}
_TEMPLATE = "migrated"


@dataclass
class PostgresServer:
    """A server, and databases in it."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        """What ``node.database`` says of one of its databases."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the server's owner."""
        where = f"host={self.folder} user=postgres dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def pg_ctl(self, verb: str, *arguments: str) -> None:
        """Start, stop or restart the server, and wait for it."""
        _as_postgres(
            "pg_ctl", verb, "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", *arguments
        )

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """Make a database, with the node's empty tables in it or without; gives its URL, and removes it."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if migrated else 'template0'}")
        try:
            yield self.url(name)
        finally:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; without PostgreSQL, skip the test at home and fail it in CI."""
    # not in pytest's folder, which postgres cannot enter; short, for the name of a socket
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = PostgresServer(folder)
    try:
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres") if _program("initdb") else None
            assert owner is not None
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        _as_postgres(
            "initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"
        )
        lines = [f"{name} = '{value}'" for name, value in _SETTINGS.items()]
        lines.append(f"unix_socket_directories = '{folder}'")
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write("\n".join(lines) + "\n")
        server.pg_ctl("start")
        try:
            server.sql(f"CREATE DATABASE {_TEMPLATE}")
            open_store(server.url(_TEMPLATE)).close()
            yield server
        finally:
            server.pg_ctl("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    """Find a program of the newest version; Debian keeps them out of the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which(name, path=str(versions[-1])) if versions else None
    return found or require_program(name)


def _as_postgres(program: str, *arguments: str) -> None:
    # the server refuses to run as root
    user = {"user": "postgres", "group": "postgres", "extra_groups": ()} if os.getuid() == 0 else {}
    done = subprocess.run(
        [_program(program), *arguments],
        cwd="/",
        stdin=subprocess.DEVNULL,
        # a pipe would stay open for as long as the server runs
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
        **user,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{program} {arguments[0]} ended with {done.returncode}"
