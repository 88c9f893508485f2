"""The database below: what it promises, what it forbids, and what its errors mean."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mcads_node.errors import ConfigError, NodeError, PermanentError, StorageFull, TransientError
from mcads_node.migrations import alembic_config
from mcads_node.workitems import Kind, Workitems, open_store
from mcads_node.workitems.engine import Database, Undone, as_node_error
from mcads_node.workitems.schema import metadata
from tests.workitems_samples import (
    LEASE,
    QUIET,
    START,
    Clock,
    analyse_all,
    claim_one,
    received,
    report,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "node.db"


@pytest.fixture
def store(path: Path) -> Iterator[Workitems]:
    opened = open_store(path, clock=Clock(), busy_seconds=0.2)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database in which every table has a row."""
    path = tmp_path_factory.mktemp("template") / "node.db"
    clock = Clock()
    store = open_store(path, clock=clock)
    store.record_received(received())
    analyse_all(store, heatmaps=1)
    clock.forward(QUIET)
    report(store, "pacs")
    store.record_received(received("2"))
    store.defer_destination("pacs", clock.now, "connection refused")
    store.close()
    return path


@pytest.fixture
def filled(template: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Give a stranger's connection to a copy of it, which knows nothing of our code."""
    shutil.copy(template, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def tables(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index')"
            " AND name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'"
        ).fetchall()
    # SQLite quotes the names that a renaming writes into a definition
    return {name: parts(sql.replace('"', "")) for name, sql in rows}


def parts(sql: str) -> list[str]:
    """Columns and constraints of a definition; the order of constraints is of no meaning."""
    head, body = sql.split("(", 1)
    body, tail = body.rsplit(")", 1)
    found = [" ".join(part.split()) for part in (head, *split(body), tail)]
    # a column that was added later has its foreign key in its own definition
    inline = re.compile(r"(\w+) (\w+) (CONSTRAINT \w+) ((?:REFERENCES|CHECK) .*)")
    for part in list(found):
        if match := inline.fullmatch(part):
            name, kind, constraint, target = match.groups()
            found.remove(part)
            key = f"FOREIGN KEY({name}) " if target.startswith("REFERENCES") else ""
            found += [f"{name} {kind}", f"{constraint} {key}{target}"]
    return sorted(found)


def split(body: str) -> Iterator[str]:
    """Split at the commas that stand in no parentheses."""
    depth, start = 0, 0
    for place, character in enumerate(body):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield body[start:place]
            start = place + 1
    yield body[start:]


def test_the_migrations_make_what_the_schema_says(store: Workitems, path: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(engine)
    engine.dispose()
    migrated, described = tables(path), tables(tmp_path / "direct.db")
    assert migrated.keys() == described.keys()
    for name, definition in described.items():
        assert migrated[name] == definition


def test_opened_again_it_is_the_same(store: Workitems, path: Path) -> None:
    store.record_received(received())
    again = open_store(path)
    assert [line.study_instance_uid for line in again.list_studies()] == ["1.2.3.1"]
    again.close()


def test_many_open_it_at_once(path: Path) -> None:
    opened: list[Workitems] = []
    threads = [threading.Thread(target=lambda: opened.append(open_store(path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    for each in opened:
        each.close()


def test_a_newer_database_is_refused(store: Workitems, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match=r"node\.db: node\.database: .*'9999'.*newer version"):
        open_store(path)


@pytest.mark.parametrize(
    "url",
    ["mysql://host/name", "sqlite://", "://", "sqlite:///:memory:", "postgresql+psycopg2://host/name"],
)
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql"):
        open_store(url)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(TransientError, match="database") as caught:
        open_store("postgresql://someone:secret@127.0.0.1:1/name?connect_timeout=2")
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_store(tmp_path / "file" / "node.db")
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_store(tmp_path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "node.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(PermanentError, match="damaged"):
        open_store(tmp_path / "node.db")


def test_nobody_else_may_read_it(store: Workitems, path: Path) -> None:
    store.record_received(received())
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_connection_is_set_up_to_keep_its_promise(path: Path) -> None:
    database = Database(path, 5.0)
    for begin in (database.read, database.write):
        with begin() as connection:
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert found == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 5000,
            }
    database.close()


FORBIDDEN = [
    "UPDATE events SET why = 'it was not me'",
    "DELETE FROM events",
    "UPDATE workitems SET state = 'DONE'",
    "UPDATE workitems SET state = 'IN PROGRESS' WHERE state = 'SCHEDULED'",
    "UPDATE workitems SET transaction_uid = '2.25.1' WHERE state = 'SCHEDULED'",
    "UPDATE workitems SET state = 'COMPLETED' WHERE state = 'SCHEDULED'",
    "UPDATE workitems SET state = 'CANCELED', ended_at = due_at WHERE state = 'SCHEDULED'",
    "UPDATE workitems SET instance_id = NULL WHERE kind = 'analyse'",
    "UPDATE workitems SET revision = 0 WHERE kind = 'report'",
    "UPDATE workitems SET deaths = 1",
    "UPDATE workitems SET study_id = 99",
    "INSERT INTO workitems (kind, state, study_id, revision, priority, due_at, turn_at, attempts, deaths,"
    " created_at, ended_at) SELECT kind, state, study_id, revision, priority, due_at, turn_at, 0, 0,"
    " created_at, ended_at FROM workitems WHERE kind = 'report'",
    "INSERT INTO workitems (kind, state, study_id, instance_id, purpose, priority, due_at, turn_at, attempts,"
    " deaths, created_at, ended_at) SELECT kind, 'COMPLETED', study_id, instance_id, 'first', priority,"
    " due_at, turn_at, 0, 0, created_at, created_at FROM workitems WHERE purpose = 'first'",
    "UPDATE workitems SET purpose = NULL WHERE kind = 'analyse'",
    "UPDATE workitems SET purpose = 'again' WHERE kind = 'report'",
    "UPDATE workitems SET purpose = 'other' WHERE kind = 'analyse'",
    "UPDATE workitems SET model = 'other' WHERE purpose = 'first'",
    "UPDATE workitems SET rule = 'other' WHERE purpose = 'first'",
    "UPDATE workitems SET held_until = due_at WHERE state = 'SCHEDULED'",
    "UPDATE workitems SET held_until = due_at, schedule = '{}' WHERE state = 'COMPLETED'",
    "UPDATE deliveries SET instance_id = 1",
    "UPDATE deliveries SET result_id = NULL",
    "UPDATE workitems SET latest_at = due_at WHERE kind = 'analyse'",
    "UPDATE instances SET patient_number = NULL WHERE state = 'ANALYSED'",
    "UPDATE instances SET state = 'HELD', reason = 'another patient' WHERE state = 'ANALYSED'",
    "UPDATE instances SET state = 'HELD', patient_number = NULL WHERE state = 'ANALYSED'",
    "UPDATE analyses SET max_wait_seconds = 0",
    "UPDATE instances SET state = 'DECLINED'",
    "UPDATE instances SET reason = 'because' WHERE state = 'ANALYSED'",
    "UPDATE instances SET sop_instance_uid = '1.2.3.1.1'",
    "UPDATE instances SET study_id = NULL",
    "UPDATE instances SET path = 'same'",
    "UPDATE results SET sop_instance_uid = '2.25.1'",
    "UPDATE results SET revision = NULL, analysis_id = NULL",
    "UPDATE deliveries SET state = 'STORED'",
    "UPDATE deliveries SET result_id = 1",
    "UPDATE deliveries SET state = 'REFUSED', ended_at = due_at",
    "DELETE FROM studies",
    "DELETE FROM results",
    "DELETE FROM instances",
    "UPDATE destinations SET failures = 0",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_what_must_never_be_is_forbidden(filled: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        filled.execute(statement)


def test_one_scheduled_report_a_study(filled: sqlite3.Connection) -> None:
    columns = "state, kind, study_id, revision, priority, due_at, turn_at, attempts, deaths, created_at"
    values = "'SCHEDULED', 'report', 1, ?, 0, '2024', '2024', 0, 0, '2024'"
    filled.execute(f"INSERT INTO workitems ({columns}) VALUES ({values})", (5,))
    with pytest.raises(sqlite3.IntegrityError, match="study_id"):
        filled.execute(f"INSERT INTO workitems ({columns}) VALUES ({values})", (6,))


def test_nothing_of_a_patient_but_the_header_and_the_findings(filled: sqlite3.Connection) -> None:
    names = {row[0] for row in filled.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {row[1].lower() for name in names for row in filled.execute(f"PRAGMA table_info({name})")}
    # a digest that can be compared within one study, and which of a study's patients it is
    columns -= {"patient", "patient_number"}
    assert not [name for name in columns if "patient" in name or "birth" in name or "accession" in name]


def test_a_busy_database_is_transient(store: Workitems, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError, match="another process holds the database"):
            store.record_received(received())
        # who reads never waits
        assert store.list_studies() == []
        other.execute("ROLLBACK")
    store.record_received(received())


def test_writers_of_one_process_take_turns(path: Path) -> None:
    database = Database(path, 0.05)
    with database.write():
        caught: list[NodeError] = []

        def second() -> None:
            try:
                with database.write():
                    pass
            except TransientError as error:
                caught.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "busy" in str(caught[0])
    with database.write():
        pass
    database.close()


def test_a_full_database_is_storage_full(path: Path) -> None:
    database = Database(path, 1.0)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (x BLOB)"))
        # holds for this connection, which is the only one as long as there is one thread
        connection.exec_driver_sql("PRAGMA max_page_count = 10")
    with pytest.raises(StorageFull, match="full"), database.write() as connection:
        connection.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))
    with database.write() as connection:
        connection.execute(text("INSERT INTO t VALUES (zeroblob(10))"))
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 1
    database.close()


class PostgresError(Exception):
    """What psycopg raises, as far as the mapping looks at it: an error that carries an SQLSTATE."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("Failing row contains (DOE^JANE)")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("53100", StorageFull),
        ("53300", TransientError),
        ("40001", Undone),
        ("40P01", Undone),
        ("55P03", TransientError),
        ("57P01", TransientError),
        ("08006", TransientError),
        ("23505", PermanentError),
        ("42601", PermanentError),
    ],
)
@pytest.mark.parametrize("wrapper", [IntegrityError, OperationalError])
def test_what_postgresql_says(sqlstate: str, kind: type[NodeError], wrapper: type[DBAPIError]) -> None:
    error = as_node_error(wrapper("INSERT …", None, PostgresError(sqlstate)))
    assert type(error) is kind
    assert "DOE" not in str(error)


def test_every_other_error_is_mapped() -> None:
    assert type(as_node_error(PoolTimeout())) is TransientError
    assert type(as_node_error(StatementError("x", "SELECT", None, ValueError("DOE^JANE")))) is PermanentError
    assert "DOE" not in str(as_node_error(StatementError("x", "SELECT", None, ValueError("DOE^JANE"))))


def test_a_naive_moment_is_refused(store: Workitems) -> None:
    with pytest.raises(PermanentError):
        store.record_received(received(at=START.replace(tzinfo=None)))
    assert store.list_studies() == []


def test_a_claim_reads_the_head_of_the_queue(filled: sqlite3.Connection) -> None:
    """The partial index gives scheduled items in order: no scan of the table, no sorting, whatever waits."""
    plan = " / ".join(
        row[3]
        for row in filled.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM workitems WHERE workitems.state = 'SCHEDULED'"
            " AND workitems.held_until IS NULL"
            " AND (due_at <= ? OR kind = ? AND attempts = ?) AND (kind = ? OR NOT EXISTS (SELECT * FROM"
            " workitems AS other WHERE other.study_id = workitems.study_id AND (other.kind = ? AND"
            " other.state IN (?, ?) OR other.kind = ? AND other.state = ?)))"
            " ORDER BY turn_at, id LIMIT ?",
            tuple("0" * 10),
        )
    )
    assert "ix_workitems_claim" in plan
    assert "ix_workitems_study_id_kind_state" in plan
    assert "TEMP B-TREE" not in plan


def steps_of_a_claim(path: Path, waiting: int) -> int:
    """Count what SQLite's virtual machine does for one claim."""
    clock = Clock()
    store = open_store(path, clock=clock)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO studies (id, study_instance_uid, first_received_at, last_received_at)"
            " VALUES (1, '1.2', '2024-01-01 00:00:00.000000', '2024-01-01 00:00:00.000000')"
        )
        connection.executemany(
            "INSERT INTO instances (id, study_id, sop_class_uid, sop_instance_uid, transfer_syntax_uid,"
            " requestor_ae_title, requestor_address, called_ae_title, received_at, path, size, digest, state,"
            " patient_number) VALUES (?, 1, '1.2', ?, '1.2', 'A', 'A', 'A',"
            " '2024-01-01 00:00:00.000000', ?, 1, ?, 'RECEIVED', 1)",
            [(n, f"1.2.{n}", str(n), f"{n:064x}") for n in range(1, waiting + 1)],
        )
        connection.execute(
            "INSERT INTO workitems (id, kind, state, study_id, instance_id, purpose, priority, due_at,"
            " turn_at, schedule, held_until, attempts, deaths, created_at)"
            " SELECT id, 'analyse', 'SCHEDULED', 1, id, 'first', 0, received_at, received_at, '{}',"
            " CASE WHEN id % 2 THEN received_at END, 0, 0, received_at FROM instances"
        )
    steps = [0]
    database = store._database

    def step() -> None:
        steps[0] += 1

    with database.write() as its_own:
        driver = its_own.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_progress_handler(step, 1)
    assert len(store.claim("w", LEASE)) == 1
    driver.set_progress_handler(None, 1)
    store.close()
    return steps[0]


def test_a_claim_costs_the_same_whatever_waits(tmp_path: Path) -> None:
    few, many = (steps_of_a_claim(tmp_path / f"{n}.db", n) for n in (100, 20_000))
    assert many <= 1.3 * few


RECEIVER = """
    import sys
    from pathlib import Path
    from mcads_node.workitems import open_store
    from tests.workitems_samples import received
    store = open_store(Path(sys.argv[1]))
    for number in range(int(sys.argv[2]), 100_000):
        store.record_received(received(str(number)))
        print(number, flush=True)
"""
IN_MID_TRANSACTION = """
    import sys, time
    from pathlib import Path
    from sqlalchemy import text
    from mcads_node.workitems import open_store
    from tests.workitems_samples import received
    store = open_store(Path(sys.argv[1]))
    store.record_received(received("1"))
    with store._database.write() as connection:
        connection.execute(text("UPDATE workitems SET priority = 99"))
        connection.execute(text("INSERT INTO destinations VALUES ('x', 1, '2024', '2024', 'x')"))
        print("within", flush=True)
        time.sleep(600)
"""


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )


def check(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    acknowledged: list[str] = []
    for after in (1, 7, 23):
        with child(RECEIVER, path, len(acknowledged) + 1000 * after) as process:
            assert process.stdout is not None
            acknowledged += [process.stdout.readline().strip() for _ in range(after)]
            process.send_signal(signal.SIGKILL)
            # it may have acknowledged more before the signal came
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        check(path)
        store = open_store(path)
        kept = {each.sop_instance_uid for each in store.show_study(1).instances}
        store.close()
        assert {f"1.2.3.1.{number}" for number in acknowledged} <= kept
        # one may have been committed and not yet acknowledged, each round
        assert len(kept) <= len(acknowledged) + 3


def test_a_transaction_is_whole_or_not_there(path: Path) -> None:
    with child(IN_MID_TRANSACTION, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "within\n"
        process.send_signal(signal.SIGKILL)
    check(path)
    store = open_store(path)
    assert store.destination_trouble("x") is None
    assert claim_one(store, Kind.ANALYSE).priority == 0
    store.close()


def test_a_killed_worker_gives_way(path: Path) -> None:
    """A process that held a lease is gone; the lease runs out, and another completes the work."""
    clock = Clock()
    store = open_store(path, clock=clock)
    store.record_received(received())
    script = """
        import sys, time
        from datetime import timedelta
        from pathlib import Path
        from mcads_node.workitems import open_store
        from tests.workitems_samples import Clock
        store = open_store(Path(sys.argv[1]), clock=Clock())
        print(store.claim("killed", timedelta(seconds=60))[0].number, flush=True)
        time.sleep(600)
    """
    with child(script, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGKILL)
    assert store.claim("w1", LEASE) == []
    clock.now += timedelta(seconds=61)
    assert [lost.worker for lost in store.expire_leases()] == ["killed"]
    analyse_all(store)
    assert [each.what for each in store.show_study(1).events].count("analysed") == 1
    store.close()


def test_images_of_an_older_version_are_of_their_studys_patient(tmp_path: Path) -> None:
    """The table of instances is made anew, with rows of other tables and of its own that refer to it."""
    path = tmp_path / "node.db"
    database = Database(path, 5.0)
    with database.write() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        at = "'2024-01-01 00:00:00.000000'"
        image = "INSERT INTO instances VALUES ({n}, 1, '1.2', '1.2.3.{n}', '1.2', 'A', 'A', 'A', {at},"
        image += " 'p{n}', 1, '{digest}', {rest})"
        for statement in (
            "INSERT INTO studies (id, study_instance_uid, first_received_at, last_received_at)"
            f" VALUES (1, '1.2', {at}, {at})",
            image.format(n=1, at=at, digest="1" * 64, rest="'ANALYSED', NULL, NULL, NULL"),
            image.format(n=2, at=at, digest="2" * 64, rest="'DECLINED', 'why', 1, NULL"),
            f"INSERT INTO workitems VALUES (1, 'analyse', 'COMPLETED', 1, 1, NULL, 0, {at}, 0, 0,"
            f" NULL, NULL, NULL, NULL, {at}, {at}, NULL)",
        ):
            connection.exec_driver_sql(statement)
    database.close()
    store = open_store(path)
    assert [each.number for each in store.show_study(1).instances] == [1, 2]
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT patient_number, conflicts_with FROM instances").fetchall() == [
            (1, None),
            (1, 1),
        ]
        connection.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            connection.execute("DELETE FROM instances WHERE id = 1")
