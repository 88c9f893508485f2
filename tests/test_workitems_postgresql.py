"""PostgreSQL below: the same tables and promises as SQLite, and what only a server can do to us."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from mcads_node.errors import NodeError, TransientError
from mcads_node.result import ObjectKind
from mcads_node.workitems import (
    REJECTION_NOTE,
    Kind,
    Receipt,
    Retraction,
    Span,
    Workitems,
    WorkState,
    open_store,
    queue,
    retracting,
)
from mcads_node.workitems.engine import Database, Transaction
from mcads_node.workitems.schema import metadata
from tests.postgres import PostgresServer
from tests.test_workitems_database import FORBIDDEN
from tests.workitems_samples import (
    LEASE,
    QUIET,
    START,
    Clock,
    analyse_all,
    analysed,
    claim_one,
    digest_of,
    in_threads,
    received,
    report,
    stored,
)

BUSY = 0.5
#: of most tests: a machine with much to do may leave a transaction idle for a second
PATIENCE = 2.5


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as made:
        yield made


@pytest.fixture
def store(url: str) -> Iterator[Workitems]:
    opened = open_store(url, clock=Clock(), busy_seconds=PATIENCE)
    yield opened
    opened.close()


def test_scores_are_read_by_model_and_time(store: Workitems) -> None:
    store.record_received(received())
    analyse_all(store)
    span, weights = Span(since=START - LEASE, until=START + LEASE), digest_of("weights")
    (image,) = store.scored_images(weights, span)
    assert [each.label for each in image.findings] == ["Edema", "Mass"]
    assert store.first_analysis(weights) == image.analysed_at
    assert list(store.scored_images(digest_of("other"), span)) == []
    assert list(store.scored_images(weights, Span(since=span.until, until=span.until + LEASE))) == []
    assert store.drift_reference(weights) is None
    store.set_drift_reference(weights, span, "jonas")
    assert store.drift_reference(weights) == span


@pytest.fixture
def stranger(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that knows nothing of our code; each statement is a transaction unless one is begun."""
    with closing(psycopg.connect(plain(url), autocommit=True)) as connection:
        yield connection


def plain(url: str) -> str:
    """The URL as libpq reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def described(url: str) -> dict[str, set[tuple[Any, ...]]]:
    """Columns, constraints, indexes and triggers as the server tells of them."""
    queries = {
        "columns": "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable,"
        " column_default FROM information_schema.columns WHERE table_schema = 'public'",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }
    with closing(psycopg.connect(plain(url), autocommit=True)) as connection:
        return {
            what: {row for row in connection.execute(query) if row[0] != "alembic_version"}
            for what, query in queries.items()
        }


def test_the_migrations_make_what_the_schema_says(url: str, postgres: PostgresServer) -> None:
    migrated = described(url)
    with postgres.database(migrated=False) as direct:
        engine = create_engine(direct)
        metadata.create_all(engine)
        engine.dispose()
        expected = described(direct)
    assert all(expected.values())
    for what, rows in expected.items():
        assert migrated[what] == rows, what


def test_many_open_it_at_once(postgres: PostgresServer) -> None:
    opened: list[Workitems] = []
    with postgres.database(migrated=False) as fresh:
        in_threads(*[lambda: opened.append(open_store(fresh))] * 5)
        assert len(opened) == 5
        for each in opened:
            each.close()


def test_what_must_never_be_is_forbidden(store: Workitems, stranger: psycopg.Connection[Any]) -> None:
    clock = Clock()
    store.record_received(received())
    analyse_all(store, heatmaps=1)
    clock.forward(QUIET)
    with closing(open_store(plain(stranger_url(stranger)), clock=clock)) as later:
        report(later, "pacs")
        later.record_received(received("2"))
        later.defer_destination("pacs", clock.now, "connection refused")
    for statement in [*FORBIDDEN, "TRUNCATE events", "TRUNCATE events CASCADE"]:
        with pytest.raises(psycopg.errors.IntegrityError):
            stranger.execute(statement)
            pytest.fail(f"not forbidden: {statement}")


def stranger_url(connection: psycopg.Connection[Any]) -> str:
    return f"postgresql://postgres@/{connection.info.dbname}?host={connection.info.host}"


def test_a_claim_passes_over_what_another_claims(store: Workitems, stranger: psycopg.Connection[Any]) -> None:
    for image in range(3):
        store.record_received(received(str(image)))
    with stranger.transaction():
        first = stranger.execute("SELECT id FROM workitems ORDER BY id LIMIT 1 FOR UPDATE").fetchone()
        begun = time.monotonic()
        claimed = store.claim("w1", LEASE, limit=10)
        assert time.monotonic() - begun < PATIENCE
    assert first is not None
    assert len(claimed) == 2
    assert first[0] not in {item.number for item in claimed}
    assert len(store.claim("w1", LEASE, limit=10)) == 1


def test_a_lock_is_not_waited_for_for_ever(store: Workitems, stranger: psycopg.Connection[Any]) -> None:
    store.record_received(received())
    item = claim_one(store)
    with stranger.transaction():
        stranger.execute("SELECT 1 FROM studies FOR UPDATE")
        with pytest.raises(TransientError, match="cannot serve now"):
            store.complete_analysis(item, analysed())
        # who reads never waits
        assert store.list_studies()[0].open_workitems == 1
    assert store.complete_analysis(item, analysed())


def test_a_deadlock_is_tried_again(store: Workitems, stranger: psycopg.Connection[Any]) -> None:
    store.record_received(received())
    item = claim_one(store)
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(store.complete_analysis(item, analysed())))
    with stranger.transaction():
        # who began to wait first is the one that the server undoes
        stranger.execute("SET LOCAL deadlock_timeout = '10s'")
        stranger.execute("SELECT 1 FROM workitems FOR UPDATE")
        thread.start()
        wait_until_one_waits(stranger)
        stranger.execute("SELECT 1 FROM studies FOR UPDATE")
    thread.join()
    assert done == [True]


def wait_until_one_waits(connection: psycopg.Connection[Any]) -> None:
    for _ in range(1000):
        if connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            return
        time.sleep(0.005)
    raise AssertionError("nobody waits for a lock")


@pytest.fixture
def revisable(url: str) -> Iterator[Workitems]:
    """A store with a study that was reported, and a revised report of it that waits to be claimed."""
    clock = Clock()
    with closing(open_store(url, clock=clock, busy_seconds=10.0)) as opened:
        opened.record_received(received())
        analyse_all(opened)
        clock.forward(QUIET)
        report(opened, "pacs")
        opened.record_received(received("2", at=clock.now))
        analyse_all(opened)
        clock.forward(QUIET)
        yield opened


def retract(store: Workitems) -> Retraction | None:
    note = stored(ObjectKind.KOS, variant=REJECTION_NOTE)
    return store.retract(store.retractable(1), note, "wrong patient")


def test_no_report_is_claimed_while_its_study_is_retracted(
    revisable: Workitems, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_the_check, claimed = retracting._last_report, []

    def claim_meanwhile(tx: Transaction, study: int) -> tuple[int, int]:
        claimed.extend(revisable.claim("w2", LEASE, kind=Kind.REPORT))
        return after_the_check(tx, study)

    monkeypatch.setattr(retracting, "_last_report", claim_meanwhile)
    assert retract(revisable) is not None
    # it would be written of what it saw before: of a report that is taken back
    assert claimed == []
    assert revisable.study_for_report(claim_one(revisable)).predecessors == ()


def test_a_retraction_waits_for_a_claim_that_is_being_made(
    revisable: Workitems, stranger: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_end, done = queue._fix_extent, []
    thread = threading.Thread(target=lambda: done.append(retract(revisable)))

    def retract_meanwhile(tx: Transaction, reports: Sequence[int]) -> None:
        if thread.ident is None:
            thread.start()
            wait_until_one_waits(stranger)
        before_the_end(tx, reports)

    monkeypatch.setattr(queue, "_fix_extent", retract_meanwhile)
    item = claim_one(revisable)
    thread.join()
    # the two may wait for each other: the server undoes whose patience ends first, seldom the claim
    (retracted,) = done
    assert bool(revisable.study_for_report(item).predecessors) == (retracted is None)


def test_who_stands_still_in_a_transaction_is_cut_off(url: str, store: Workitems) -> None:
    store.record_received(received())
    database = Database(url, 0.1)
    frozen = database.write()
    connection = frozen.__enter__()
    connection.execute(text("SELECT 1 FROM studies FOR UPDATE"))
    item = claim_one(store)
    assert store.complete_analysis(item, analysed())  # after 0.2 s
    with pytest.raises(TransientError) as caught:
        try:
            connection.execute(text("SELECT 1"))
        except BaseException as error:
            if not frozen.__exit__(type(error), error, error.__traceback__):
                raise
    assert "cannot" in str(caught.value)
    with database.write() as again:
        assert again.execute(text("SELECT 1")).scalar_one() == 1
    database.close()


def test_a_statement_does_not_run_for_ever(url: str) -> None:
    database = Database(url, 0.1)
    with pytest.raises(TransientError, match="statement timeout"), database.write() as connection:
        connection.execute(text("SELECT pg_sleep(30)"))
    database.close()


def test_a_commit_is_on_the_disk_whatever_the_server_is_set_to(url: str) -> None:
    database = Database(url, 5.0)
    with database.write() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "5s"
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    database.close()


class Traffic:
    """A receiver and two workers on one store, who try again whatever may succeed later."""

    def __init__(self, store: Workitems) -> None:
        self.store = store
        self.acknowledged: set[str] = set()
        self.refused: list[NodeError] = []
        self.completed: set[int] = set()
        self._stop = threading.Event()
        steps = (self._receive, self._work, self._work)
        self._threads = [threading.Thread(target=partial(self._until_stopped, step)) for step in steps]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _until_stopped(self, step: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                step()
            except TransientError as error:
                self.refused.append(error)
                time.sleep(0.02)

    def _receive(self) -> None:
        instance = received(str(uuid.uuid4().int))
        assert self.store.record_received(instance) is Receipt.RECORDED
        self.acknowledged.add(instance.sop_instance_uid)

    def _work(self) -> None:
        items = self.store.claim("w", LEASE, kind=Kind.ANALYSE, limit=2)
        self.completed |= {item.number for item in items if self.store.complete_analysis(item, analysed())}


def test_the_server_dies_and_comes_back(postgres: PostgresServer, url: str) -> None:
    """Receivers and workers in the middle of it: errors are transient, and what was acknowledged is there."""
    store = open_store(url, busy_seconds=5.0)
    with Traffic(store) as traffic:
        for _ in range(2):
            time.sleep(0.3)
            postgres.pg_ctl("restart", "-m", "immediate")
        before = len(traffic.acknowledged), len(traffic.completed)
        time.sleep(0.5)
    # it was felt, and it is over
    assert traffic.refused
    assert len(traffic.acknowledged) > before[0]
    assert len(traffic.completed) > before[1]
    record = store.show_study("1.2.3.1")
    assert traffic.acknowledged <= {each.sop_instance_uid for each in record.instances}
    ended = {each.number for each in record.workitems if each.state is WorkState.COMPLETED}
    assert traffic.completed <= ended
    # what was claimed, and the answer lost, is given back in its time
    assert all(lost.state is WorkState.SCHEDULED for lost in store.expire_leases(held_by="w"))
    analyse_all(store)
    assert store.list_studies()[0].open_workitems == 1
    store.close()


def test_no_server_is_transient(postgres: PostgresServer, url: str) -> None:
    store = open_store(url, busy_seconds=BUSY)
    postgres.pg_ctl("stop", "-m", "immediate")
    try:
        for _ in range(2):
            with pytest.raises(TransientError):
                store.record_received(received())
    finally:
        postgres.pg_ctl("start")
    assert store.record_received(received()) is Receipt.RECORDED
    store.close()
