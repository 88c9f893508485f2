"""What waits and what is stuck is told right, on both databases, and cheaply however much there is."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mcads_node.errors import TransientError
from mcads_node.workitems import AlertEntry, DeadLetters, Kind, Refused, Workitems, open_store
from tests.workitems_samples import QUIET, START, Clock, analyse_all, claim_one, fresh_store, received, report


def test_a_story_of_what_waits(database: str | Path) -> None:
    clock = Clock()
    with fresh_store(database, clock) as store:
        assert [(each.kind, each.waiting, each.due_at) for each in store.backlog().queues] == [
            (Kind.ANALYSE, 0, None),
            (Kind.REPORT, 0, None),
        ]
        store.record_received(received("1"))
        store.record_received(received("2"))
        claim_one(store)
        analyse, reporting = store.backlog().queues
        assert (analyse.waiting, analyse.in_progress, analyse.due_at) == (1, 1, START)
        assert (reporting.waiting, reporting.in_progress) == (0, 0)


def test_a_story_of_deliveries(database: str | Path) -> None:
    clock = Clock()
    with fresh_store(database, clock) as store:
        store.record_received(received())
        analyse_all(store)
        clock.forward(QUIET)
        report(store, "pacs")
        planned = clock.now
        store.defer_destination("pacs", clock.now + timedelta(seconds=30), "connection refused")
        clock.forward(10)
        (line,) = store.backlog().destinations
        assert (line.name, line.pending, line.oldest, line.failing_since) == ("pacs", 2, planned, planned)
        clock.forward(30)
        first, _ = store.due_deliveries("pacs", 10)
        store.record_delivery(first, Refused(status=0x0122, reason="SOP class not supported"))
        assert store.backlog().destinations[0].undelivered == 1
        assert store.stuck().dead_letters == (DeadLetters(destination="pacs", study=1, deliveries=1),)
        store.retry(1)
        assert store.stuck().dead_letters == ()
        assert store.database_bytes() > 10_000
        store.check_writable()


def test_what_a_person_has_to_look_at(database: str | Path) -> None:
    clock = Clock()
    with fresh_store(database, clock) as store:
        for study in "12":
            for image in "12":
                store.record_received(received(image, study))
                store.fail(claim_one(store), "not DICOM", permanent=True)
        store.record_received(received("3", "2"))
        analyse_all(store)
        clock.forward(QUIET)
        store.fail(claim_one(store, Kind.REPORT), "cannot be written", permanent=True)
        stuck, backlog = store.stuck(), store.backlog()
        first, second = sorted(line.number for line in store.list_studies())
        assert stuck.quarantined == {first: 2, second: 2}
        assert stuck.unreported == (second,)
        assert (backlog.quarantined, backlog.unreported) == (4, 1)
        assert store.stuck(limit=1).quarantined == {first: 2}


def test_a_database_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    store = open_store(tmp_path / "node.db", busy_seconds=0.2)
    with closing(sqlite3.connect(tmp_path / "node.db", isolation_level=None)) as other:
        store.check_writable()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError):
            store.check_writable()
        # readers do not wait
        store.backlog()
        other.execute("ROLLBACK")
    store.close()


def test_alerts_are_kept(database: str | Path) -> None:
    clock = Clock()
    entry = AlertEntry(
        channel="email", key="disk-low@a", kind="disk", text="t", advice="a", raised_at=START, told_at=START
    )
    with fresh_store(database, clock) as store:
        store.save_alerts([entry])
        assert store.alert_entries() == [entry]
        store.save_alerts([], [("email", "disk-low@a")])
        assert store.alert_entries() == []


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database with 50,000 images that wait, and as many deliveries."""
    path = tmp_path_factory.mktemp("crowded") / "node.db"
    clock = Clock()
    store = open_store(path, clock=clock)
    store.record_received(received())
    analyse_all(store)
    clock.forward(QUIET)
    report(store, "pacs")
    store.record_received(received("2"))
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        for table, changes in (
            (
                "instances",
                {"sop_instance_uid": "'9.' || n", "path": "'p' || n", "digest": "printf('%064d', n)"},
            ),
            ("workitems", {"instance_id": "n"}),
            ("results", {"sop_instance_uid": "'9.' || n", "path": "'p' || n"}),
            ("deliveries", {"result_id": "n"}),
        ):
            _multiply(connection, table, {"id": "n", **changes})
        connection.commit()
    return path


def _multiply(connection: sqlite3.Connection, table: str, changes: dict[str, str]) -> None:
    """Copy the last row of a table 50,000 times."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changes.get(name, name) for name in columns)
    connection.execute(
        "WITH RECURSIVE numbers(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM numbers LIMIT 50000)"
        f" INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM numbers,"
        f" (SELECT * FROM {table} ORDER BY id DESC LIMIT 1)"
    )


def test_the_questions_are_answered_from_indexes(crowded: Path) -> None:
    with closing(sqlite3.connect(crowded)) as connection:
        (plan,) = connection.execute(
            "EXPLAIN QUERY PLAN SELECT kind, state, count(*), min(due_at) FROM workitems"
            " WHERE state IN ('SCHEDULED', 'IN PROGRESS') GROUP BY kind, state"
        ).fetchall()
        assert "COVERING INDEX ix_workitems_open" in plan[3]
        (plan,) = connection.execute(
            "EXPLAIN QUERY PLAN SELECT count(*) FROM instances WHERE state = 'QUARANTINED'"
        ).fetchall()
        assert "ix_instances_quarantined" in plan[3]


def test_a_look_is_cheap_however_much_waits(crowded: Path) -> None:
    store = open_store(crowded, clock=Clock())
    try:
        backlog = store.backlog()
        assert backlog.queues[0].waiting == 50_001
        assert backlog.destinations[0].pending == 50_002
        seconds = min(_seconds(store) for _ in range(3))
    finally:
        store.close()
    # Prometheus asks every 15 s or so: less than one part in a hundred of a processor, on a busy machine too
    assert seconds < 0.1


def _seconds(store: Workitems) -> float:
    begun = time.process_time()
    store.backlog()
    store.stuck()
    return time.process_time() - begun
