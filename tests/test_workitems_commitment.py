"""Storage Commitment in the durable state: what is asked, what counts as an answer, what is settled."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, text

from mcads_node import migrations
from mcads_node.backoff import RetryPolicy
from mcads_node.result import ObjectKind
from mcads_node.workitems import (
    CommitmentReport,
    CommitmentRequest,
    Deferred,
    Delivery,
    DeliveryRecord,
    Refused,
    Stored,
    Workitems,
    open_store,
)
from mcads_node.workitems.commitment import after_failure
from mcads_node.workitems.schema import studies
from mcads_node.workitems.settled import is_settled, settled_at
from tests.postgres import PostgresServer
from tests.workitems_samples import QUIET, START, Clock, analyse_all, fresh_store, received, report, stored

HOUR = timedelta(hours=1)
NO_SUCH_OBJECT = 0x0112
POLICY = RetryPolicy(max_attempts=2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    """Hold one report of two objects, due at pacs, which is asked for commitment."""
    with fresh_store(database, clock) as opened:
        opened.record_received(received())
        analyse_all(opened)
        clock.forward(QUIET)
        report(opened, "pacs")
        yield opened


def store_all(store: Workitems, *, awaits: bool = True) -> list[Delivery]:
    found = store.due_deliveries("pacs", 100)
    for delivery in found:
        assert store.record_delivery(delivery, Stored(awaits_commitment=awaits))
    return found


def ask(store: Workitems, clock: Clock, destination: str = "pacs") -> CommitmentRequest:
    request = store.request_commitment(destination, clock.now + HOUR)
    assert request is not None
    return request


def answer(
    store: Workitems,
    request: CommitmentRequest,
    committed: list[Delivery],
    failed: list[Delivery] | None = None,
    reason: int | None = NO_SUCH_OBJECT,
) -> tuple[int, int, int]:
    told = CommitmentReport(
        transaction_uid=request.transaction_uid,
        committed=frozenset(each.sop_instance_uid for each in committed),
        failed={each.sop_instance_uid: reason for each in failed or []},
    )
    outcome = store.record_commitment(told, lambda _name: POLICY)
    assert outcome is not None
    assert outcome.destination == "pacs"
    return outcome.committed, outcome.again, outcome.refused


def records(store: Workitems) -> list[DeliveryRecord]:
    return [each for result in store.show_study(1).results for each in result.deliveries]


def states(store: Workitems) -> list[str]:
    return [str(each.state) for each in records(store)]


def settled(store: Workitems) -> bool:
    with store._read() as tx:
        return bool(tx.connection.execute(select(studies.c.id).where(is_settled())).all())


def test_all_committed_is_settled(store: Workitems, clock: Clock) -> None:
    assert not settled(store)
    first, second = store_all(store)
    assert not settled(store)
    assert store.next_due("pacs") == clock.now
    request = ask(store, clock)
    assert [each.number for each in request.deliveries] == [first.number, second.number]
    # nobody asks for the same a second time
    assert store.request_commitment("pacs", clock.now + HOUR) is None
    assert store.next_due("pacs") == clock.now + HOUR
    assert all(each.commitment_due_at for each in records(store))
    assert store.list_studies()[0].waiting_for[0].awaiting_commitment == 2
    clock.forward(60)
    assert answer(store, request, [first, second]) == (2, 0, 0)
    assert states(store) == ["COMMITTED", "COMMITTED"]
    assert settled(store)
    with store._read() as tx:
        assert tx.connection.execute(select(settled_at()).select_from(studies)).scalar_one() is not None
    assert store.next_due("pacs") is None
    assert store.list_studies()[0].waiting_for == ()


def test_without_commitment_stored_is_settled(store: Workitems, clock: Clock) -> None:
    store_all(store, awaits=False)
    assert store.request_commitment("pacs", clock.now + HOUR) is None
    assert settled(store)


def test_what_fails_is_sent_again_and_what_is_committed_stays(store: Workitems, clock: Clock) -> None:
    first, second = store_all(store)
    assert answer(store, ask(store, clock), [first], [second]) == (1, 1, 0)
    assert states(store) == ["COMMITTED", "PENDING"]
    assert "no such object instance" in (records(store)[1].reason or "")
    clock.forward(10)
    (again,) = store.due_deliveries("pacs", 10)
    assert (again.number, again.attempts) == (second.number, 1)
    store.record_delivery(again, Stored(awaits_commitment=True))
    assert answer(store, ask(store, clock), [again]) == (1, 0, 0)
    assert states(store) == ["COMMITTED", "COMMITTED"]


def test_after_so_many_failures_it_is_a_dead_letter_with_the_reason(store: Workitems, clock: Clock) -> None:
    store_all(store)
    for _ in range(2):
        request = ask(store, clock)
        answer(store, request, [], list(request.deliveries))
        clock.forward(10)
        store_all(store)
    assert states(store) == ["REFUSED", "REFUSED"]
    assert not settled(store)
    letters = store.list_undelivered()
    assert [each.destination for each in letters] == ["pacs", "pacs"]
    assert "0x0112, no such object instance" in letters[0].reason
    assert "given up: 2 attempts failed" in letters[0].reason
    assert store.retry(1).deliveries == 2
    assert states(store) == ["PENDING", "PENDING"]


def test_unanswered_it_is_asked_again_under_another_uid_and_a_late_answer_counts(
    store: Workitems, clock: Clock
) -> None:
    first, second = store_all(store)
    old = ask(store, clock)
    clock.forward(3601)
    new = ask(store, clock)
    assert new.transaction_uid != old.transaction_uid
    assert new.deliveries == old.deliveries
    assert answer(store, old, [first]) == (1, 0, 0)
    # the other, of which the old answer said nothing, is still awaited
    assert states(store) == ["COMMITTED", "STORED"]
    assert answer(store, new, [first, second]) == (1, 0, 0)
    assert states(store) == ["COMMITTED", "COMMITTED"]


def test_an_answer_is_about_what_was_there_when_it_was_asked(store: Workitems, clock: Clock) -> None:
    first, second = store_all(store)
    old = ask(store, clock)
    clock.forward(3601)
    new = ask(store, clock)
    assert answer(store, new, [second], [first]) == (1, 1, 0)
    clock.forward(10)
    store_all(store)
    # a report on the time before it was sent again, and the same report once more
    assert answer(store, old, [], [first]) == (0, 0, 0)
    assert answer(store, new, [], [first]) == (0, 0, 0)
    assert states(store) == ["STORED", "COMMITTED"]


def test_a_late_success_spares_sending_again(store: Workitems, clock: Clock) -> None:
    first, second = store_all(store)
    old = ask(store, clock)
    clock.forward(3601)
    answer(store, ask(store, clock), [second], [first])
    (pending,) = store.due_deliveries("pacs", 10) or [first]
    assert answer(store, old, [first]) == (1, 0, 0)
    assert states(store) == ["COMMITTED", "COMMITTED"]
    # it was on its way meanwhile: that changes nothing
    assert store.record_delivery(pending, Stored(awaits_commitment=True)) is False
    assert states(store) == ["COMMITTED", "COMMITTED"]


def test_an_unknown_transaction_changes_nothing(store: Workitems, clock: Clock) -> None:
    first, _ = store_all(store)
    ask(store, clock)
    stranger = CommitmentReport(transaction_uid="2.25.1", committed=frozenset({first.sop_instance_uid}))
    assert store.record_commitment(stranger, lambda _name: POLICY) is None
    assert states(store) == ["STORED", "STORED"]


def test_an_object_that_was_not_asked_for_changes_nothing(store: Workitems, clock: Clock) -> None:
    store_all(store)
    request = ask(store, clock)
    told = CommitmentReport(transaction_uid=request.transaction_uid, committed=frozenset({"1.2.3"}))
    outcome = store.record_commitment(told, lambda _name: POLICY)
    assert outcome is not None
    assert outcome.committed == 0
    assert states(store) == ["STORED", "STORED"]


def test_a_request_that_was_not_sent_is_due_again(store: Workitems, clock: Clock) -> None:
    store_all(store)
    request = ask(store, clock)
    store.withdraw_commitment(request)
    told = CommitmentReport(transaction_uid=request.transaction_uid, committed=frozenset())
    assert store.record_commitment(told, lambda _name: POLICY) is None
    assert ask(store, clock).deliveries == request.deliveries


def test_a_destination_that_is_away_is_not_asked(store: Workitems, clock: Clock) -> None:
    store_all(store)
    store.defer_destination("pacs", clock.now + timedelta(minutes=15), "connection refused")
    assert store.request_commitment("pacs", clock.now + HOUR) is None
    (line,) = store.list_destinations()
    assert (line.failures, line.awaiting_commitment, line.oldest_stored) == (1, 2, clock.now)


def test_what_is_never_answered_is_given_up(store: Workitems, clock: Clock) -> None:
    store_all(store)
    clock.forward(8 * 86400)
    # nobody was asked yet: the node was off
    assert store.give_up_unanswered("pacs", clock.now - timedelta(days=7), "given up") == 0
    request = ask(store, clock)
    clock.forward(3601)
    assert store.give_up_unanswered("pacs", clock.now - timedelta(days=7), "given up: no answer") == 2
    assert states(store) == ["REFUSED", "REFUSED"]
    assert answer(store, request, list(request.deliveries)) == (2, 0, 0)
    assert states(store) == ["COMMITTED", "COMMITTED"]


def test_where_it_is_no_longer_wanted_nothing_is_awaited(store: Workitems) -> None:
    store_all(store)
    assert store.waive_commitment("pacs") == 2
    assert settled(store)


def test_a_failure_that_comes_after_it_was_waived_changes_nothing(store: Workitems, clock: Clock) -> None:
    first, second = store_all(store)
    request = ask(store, clock)
    store.waive_commitment("pacs")
    # retention may have deleted the files by now
    clock.forward(60)
    assert answer(store, request, [], [first, second]) == (0, 0, 0)
    assert states(store) == ["STORED", "STORED"]
    assert settled(store)


def test_a_retracted_object_is_not_asked_for_and_not_sent_again(store: Workitems, clock: Clock) -> None:
    store_all(store)
    request = ask(store, clock)
    note = stored(ObjectKind.KOS)
    assert store.retract(store.retractable(1), note, "mistaken") is not None
    clock.forward(3601)
    assert store.request_commitment("pacs", clock.now + HOUR) is None
    assert answer(store, request, [], list(request.deliveries)) == (0, 0, 0)
    clock.forward(60)
    (due,) = store.due_deliveries("pacs", 10)
    assert due.sop_instance_uid == note.sop_instance_uid
    store.record_delivery(due, Stored())
    assert states(store) == ["STORED", "STORED", "STORED"]
    assert settled(store)


def test_what_arrives_while_it_is_retracted_is_not_asked_for(store: Workitems, clock: Clock) -> None:
    first, second = store.due_deliveries("pacs", 10)
    assert store.record_delivery(first, Stored())
    assert store.retract(store.retractable(1), stored(ObjectKind.KOS), "mistaken") is not None
    assert store.record_delivery(second, Stored(awaits_commitment=True))
    assert store.request_commitment("pacs", clock.now + HOUR) is None


def test_a_destination_that_answers_a_request_is_not_away(store: Workitems, clock: Clock) -> None:
    first, second = store_all(store)
    store.defer_destination("pacs", clock.now, "connection refused")
    request = ask(store, clock)
    assert store.destination_trouble("pacs") is not None
    store.note_answer("pacs")
    assert store.destination_trouble("pacs") is None
    store.defer_destination("pacs", clock.now, "connection refused")
    answer(store, request, [first, second])
    assert store.destination_trouble("pacs") is None


def test_a_clock_that_steps_back_does_not_keep_it_from_being_asked(store: Workitems, clock: Clock) -> None:
    first, second = store_all(store)
    clock.forward(-2 * 86400)
    old = ask(store, clock)
    # not at once again, for all the difference between the clocks
    assert store.request_commitment("pacs", clock.now + HOUR) is None
    # it is about what is there, though it was stored "in two days"
    assert answer(store, old, [first], [second]) == (1, 1, 0)
    clock.forward(10)
    (again,) = store.due_deliveries("pacs", 10)
    store.record_delivery(again, Stored(awaits_commitment=True))
    ask(store, clock)
    clock.forward(-2 * 86400)
    assert ask(store, clock).deliveries[0].number == second.number


def test_a_rejection_note_goes_to_whoever_stored_it_though_it_did_not_commit(
    store: Workitems, clock: Clock
) -> None:
    first, second = store_all(store)
    answer(store, ask(store, clock), [first], [second], 0x0122)
    assert states(store) == ["COMMITTED", "REFUSED"]
    what = store.retractable(1)
    assert len(what.objects) == 2
    done = store.retract(what, stored(ObjectKind.KOS), "mistaken")
    assert done is not None
    assert done.destinations == ("pacs",)


@pytest.mark.parametrize(
    ("reason", "attempts", "refused", "words"),
    [
        (NO_SUCH_OBJECT, 0, False, "0x0112, no such object instance"),
        (0x0213, 0, False, "0x0213, resource limitation"),
        (0x0131, 0, False, "0x0131, duplicate transaction UID"),
        (0x0122, 0, True, "referenced SOP class not supported"),
        (0x0119, 0, True, "class / instance conflict"),
        (None, 0, False, "none given"),
        (0xABCD, 0, False, "0xABCD, unknown failure reason"),
        (NO_SUCH_OBJECT, 1, True, "given up: 2 attempts failed"),
    ],
)
def test_what_a_failure_reason_means(
    reason: int | None, attempts: int, refused: bool, words: str, store: Workitems
) -> None:
    delivery = store.due_deliveries("pacs", 1)[0]
    delivery = Delivery(**{**vars(delivery), "attempts": attempts})
    outcome = after_failure(delivery, reason, POLICY, delivery.since, lambda: 1.0)
    assert isinstance(outcome, Refused if refused else Deferred)
    assert words in outcome.reason


OLD_ROWS = (
    "INSERT INTO studies (id, study_instance_uid, first_received_at, last_received_at)"
    " VALUES (1, '1.2', '2024-03-01 08:00:00+00:00', '2024-03-01 08:00:00+00:00')",
    "INSERT INTO workitems (id, kind, state, study_id, revision, priority, due_at, attempts, deaths,"
    " created_at, ended_at) VALUES (1, 'report', 'COMPLETED', 1, 1, 0, '2024-03-01 08:00:00+00:00', 0, 0,"
    " '2024-03-01 08:00:00+00:00', '2024-03-01 08:00:00+00:00')",
    *(
        "INSERT INTO results (id, study_id, workitem_id, revision, kind, sop_class_uid, sop_instance_uid,"
        " series_instance_uid, transfer_syntax_uid, path, size, digest, created_at) VALUES"
        f" ({n}, 1, 1, 1, 'sr', '1.2', '1.2.{n}', '1.3', '1.2.840.10008.1.2.1', 'p{n}', 1, '{n:064}',"
        " '2024-03-01 08:00:00+00:00')"
        for n in (1, 2, 3)
    ),
    *(
        "INSERT INTO deliveries (id, result_id, destination, state, attempts, due_at, since, ended_at,"
        f" reason, stands_in_for) VALUES ({n}, {n}, 'pacs', '{state}', 0, '2024-03-01 08:00:00+00:00',"
        f" '2024-03-01 08:00:00+00:00', {ended}, {reason}, {replaced})"
        for n, state, ended, reason, replaced in (
            (1, "REFUSED", "'2024-03-01 09:00:00+00:00'", "'class'", "NULL"),
            (2, "STORED", "'2024-03-01 10:00:00+00:00'", "NULL", "1"),
            (3, "PENDING", "NULL", "NULL", "NULL"),
        )
    ),
)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_deliveries_of_an_older_version_come_along(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path / 'node.db'}"
        else:
            server: PostgresServer = request.getfixturevalue("postgres")
            url = stack.enter_context(server.database(migrated=False))
        engine = create_engine(url)
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(migrations.__file__).parent))
            config.attributes["connection"] = connection
            command.upgrade(config, "0002")
            for statement in OLD_ROWS:
                # SQLite has the moments without their zone
                zone = ".000000" if kind == "sqlite" else "+00:00"
                connection.execute(text(statement.replace("+00:00", zone)))
        engine.dispose()
        store = open_store(url, clock=Clock())
        stack.callback(store.close)
        refused, kept, pending = records(store)
        assert [str(each.state) for each in (refused, kept, pending)] == ["REFUSED", "STORED", "PENDING"]
        assert (kept.stands_in_for, kept.commitment_due_at) == (1, None)
        assert store.list_undelivered() == []
        (delivery,) = store.due_deliveries("pacs", 10)
        assert store.record_delivery(delivery, Stored(awaits_commitment=True))
        assert store.request_commitment("pacs", START) is not None
        with store._read() as tx:
            rows = tx.connection.execute(text("SELECT stored_at = ended_at FROM deliveries WHERE id = 2"))
            assert rows.scalar_one()
            if kind == "sqlite":
                assert tx.connection.execute(text("PRAGMA foreign_key_check")).all() == []


def test_dead_letters_are_listed_and_retried_by_destination(store: Workitems, clock: Clock) -> None:
    first, second = store.due_deliveries("pacs", 10)
    store.record_delivery(first, Refused(reason="cannot understand", status=0xC000))
    (letter,) = store.list_undelivered()
    assert (letter.number, letter.status, letter.reason) == (first.number, 0xC000, "cannot understand")
    assert (letter.study_number, letter.kind) == (1, first.kind)
    assert store.list_undelivered("elsewhere") == []
    (line,) = store.list_destinations()
    assert (line.pending, line.undelivered, line.oldest) == (1, 1, second.since)
    assert store.retry_undelivered("pacs") == 1
    assert store.list_undelivered() == []
    assert len(store.due_deliveries("pacs", 10)) == 2


def test_what_is_too_old_is_given_up_in_portions(store: Workitems, clock: Clock) -> None:
    now = clock.now
    assert store.give_up_old("pacs", now - timedelta(seconds=1), "given up") == 0
    assert store.give_up_old("pacs", now, "given up", 1) == 1
    assert store.give_up_old("pacs", now, "given up", 1) == 1
    assert store.give_up_old("pacs", now, "given up", 1) == 0
    assert [each.reason for each in store.list_undelivered()] == ["given up", "given up"]


def test_one_process_has_a_destination_at_a_time(store: Workitems, clock: Clock) -> None:
    until = clock.now + HOUR
    assert store.hold_destination("pacs", "one", until)
    assert store.hold_destination("pacs", "one", until)
    assert not store.hold_destination("pacs", "two", until)
    assert store.hold_destination("archive", "two", until)
    clock.forward(3601)
    assert store.hold_destination("pacs", "two", clock.now + HOUR)
    clock.forward(-86400)
    # as long as all hold it, not for the day that the clock stepped back
    assert store.hold_destination("pacs", "one", clock.now + HOUR)
    assert not store.hold_destination("pacs", "two", clock.now + HOUR)
    clock.forward(86400)
    assert store.hold_destination("pacs", "two", clock.now + HOUR)
    store.let_go_destination("pacs", "one")
    assert not store.hold_destination("pacs", "one", clock.now + HOUR)
    store.let_go_destination("pacs", "two")
    assert store.hold_destination("pacs", "one", clock.now + HOUR)


def seconds_of_looking(store: Workitems) -> float:
    # of the processor: others may be at work as well
    begun = time.thread_time()
    for _ in range(20):
        assert len(store.due_deliveries("pacs", 50)) == 50
        store.next_due("pacs")
        store.request_commitment("pacs", START)
    return time.thread_time() - begun


def test_looking_for_work_takes_no_longer_with_ten_thousand_waiting(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "node.db"
    store = open_store(path, clock=clock)
    store.record_received(received())
    analyse_all(store)
    clock.forward(QUIET)
    report(store, "pacs")

    def have(count: int) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            (there,) = connection.execute("SELECT max(id) FROM results").fetchone()
            connection.execute(
                "WITH RECURSIVE n(i) AS (VALUES (?) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO results (id, study_id, workitem_id, revision, kind, sop_class_uid,"
                " sop_instance_uid, series_instance_uid, transfer_syntax_uid, path, size, digest, created_at)"
                " SELECT i, study_id, workitem_id, revision, kind, sop_class_uid, '1.9.' || i, '1.8',"
                " transfer_syntax_uid, 'p' || i, size, digest, created_at FROM n, (SELECT * FROM results"
                " WHERE id = 1)",
                (there + 1, count),
            )
            connection.execute(
                "INSERT INTO deliveries (study_id, result_id, destination, state, attempts, due_at, since)"
                " SELECT 1, id, 'pacs', 'PENDING', 0, created_at, created_at FROM results WHERE id > ?",
                (there,),
            )

    have(200)
    few = min(seconds_of_looking(store) for _ in range(3))
    have(10_000)
    many = min(seconds_of_looking(store) for _ in range(3))
    assert store.pending_by_destination()["pacs"] == 10_000
    store.close()
    assert many < 3 * few, (few, many)
