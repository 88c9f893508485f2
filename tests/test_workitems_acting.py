"""What rules have done besides reading: hours, forwarding, shadows, and reading again; on both databases."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, text

from mcads_node import migrations
from mcads_node.errors import PermanentError
from mcads_node.priority import HEAD_START, Priority
from mcads_node.result import ObjectKind, Rendition
from mcads_node.schedule import Schedule, Window
from mcads_node.workitems import (
    Handling,
    InstanceAnalysed,
    InstanceDeclined,
    InstanceState,
    Kind,
    Purpose,
    Receipt,
    Refused,
    ShadowWish,
    Stored,
    StudyRecord,
    Wish,
    Workitem,
    Workitems,
    WorkState,
    open_store,
)
from mcads_node.workitems.retention import FileKind
from mcads_node.workitems.schema import workitems
from tests.postgres import PostgresServer
from tests.workitems_samples import (
    ALL_KINDS,
    LEASE,
    QUIET,
    START,
    Clock,
    analyse_all,
    analysed,
    claim_one,
    fresh_store,
    received,
    report,
    stored,
)

#: 08:00 is when the tests begin
NIGHT = Schedule(windows=(Window(days=tuple(range(7)), begins=20 * 3600, ends=6 * 3600, zone="UTC"),))
EVENING = START.replace(hour=20)
HELD = Handling(schedule=NIGHT)
SHADOW = Handling(shadows=(ShadowWish(rule="new model"),))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    with fresh_store(database, clock) as opened:
        yield opened


def until(clock: Clock, moment: datetime) -> None:
    clock.now = moment


def other_model(analysis: InstanceAnalysed) -> InstanceAnalysed:
    return replace(analysis, algorithm=replace(analysis.algorithm, name="other", device_uid="2.25.78"))


def study(store: Workitems, number: int = 1) -> StudyRecord:
    return store.show_study(number)


# hours


def test_an_image_waits_for_its_hours_and_says_until_when(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), HELD)
    assert store.claim("w", LEASE) == []
    assert study(store).line.held_until == EVENING
    assert study(store).workitems[0].held_until == EVENING
    until(clock, EVENING - timedelta(seconds=1))
    assert store.keep_hours() == 0
    assert store.claim("w", LEASE) == []
    until(clock, EVENING)
    assert store.keep_hours() == 1
    assert study(store).line.held_until is None
    assert claim_one(store).kind is Kind.ANALYSE


def test_an_image_that_comes_within_its_hours_is_not_held(store: Workitems, clock: Clock) -> None:
    until(clock, EVENING + timedelta(hours=1))
    store.record_received(received(at=clock.now), HELD)
    assert claim_one(store).kind is Kind.ANALYSE


def test_what_the_night_did_not_do_waits_for_the_next(store: Workitems, clock: Clock) -> None:
    for image in ("1", "2"):
        store.record_received(received(image), HELD)
    until(clock, EVENING)
    store.keep_hours()
    begun = claim_one(store)
    until(clock, EVENING + timedelta(hours=10))
    store.keep_hours()
    # what was begun is ended; what was not is held again
    assert store.renew([begun], LEASE) != []
    assert store.claim("w", LEASE) == []
    assert study(store).line.held_until == EVENING + timedelta(days=1)
    # and what is given back in the morning is held as well
    store.release(begun, "stopping")
    store.keep_hours()
    assert store.claim("w", LEASE) == []


def test_a_clock_that_steps_does_not_keep_work_waiting_nor_awake(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), HELD)
    until(clock, EVENING + timedelta(days=30, hours=1))
    store.keep_hours()
    until(clock, START)
    store.keep_hours()
    assert study(store).line.held_until == EVENING
    assert store.claim("w", LEASE) == []


def test_an_urgent_image_of_the_same_study_is_not_held(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1"), HELD)
    store.record_received(received("2"), Handling(priority=Priority.STAT))
    analyse_all(store)
    clock.forward(QUIET)
    item = claim_one(store)
    assert (item.kind, item.revision, item.priority) == (Kind.REPORT, 1, Priority.STAT)
    assert store.complete_report(item, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    until(clock, EVENING)
    store.keep_hours()
    analyse_all(store)
    assert claim_one(store).revision == 2


def test_a_report_waits_for_all_that_the_night_reads(store: Workitems, clock: Clock) -> None:
    for image in ("1", "2"):
        store.record_received(received(image), HELD)
    until(clock, EVENING)
    store.keep_hours()
    first = claim_one(store)
    store.complete_analysis(first, analysed())
    # it has been quiet for hours, and the other image is still to be read
    assert claim_one(store).kind is Kind.ANALYSE
    assert store.claim("w", LEASE) == []


def test_what_is_held_is_no_queue_that_stands(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1"), HELD)
    store.record_received(received("2"), Handling(priority=Priority.LOW))
    clock.forward(7200)
    (queue, _) = store.backlog().queues
    assert (queue.waiting, queue.held, queue.due_at) == (2, 1, None)
    store.record_received(received("3", at=clock.now))
    assert store.backlog().queues[0].due_at == clock.now


def test_held_work_keeps_its_files(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), HELD)
    clock.forward(30 * 86400)
    for kind in FileKind:
        assert store.studies_with_old_files(kind, timedelta(days=1), 0, 10) == []


# forwarding


FORWARD = Handling(forward=("archive", "pacs"), withheld=("it came from x",))


def test_an_original_is_due_at_once_and_whatever_becomes_of_it(store: Workitems) -> None:
    instance = received()
    store.record_received(instance, FORWARD)
    (delivery,) = store.due_deliveries("archive", 10)
    assert delivery.kind is None
    assert (delivery.path, delivery.digest, delivery.size) == (instance.path, instance.digest, instance.size)
    assert delivery.sop_instance_uid == instance.sop_instance_uid
    assert delivery.transfer_syntax_uid == instance.transfer_syntax_uid
    store.complete_analysis(claim_one(store), InstanceDeclined(reason="not a chest"))
    assert store.pending_by_destination() == {"archive": 1, "pacs": 1}
    assert store.record_delivery(delivery, Stored())
    (image,) = study(store).instances
    assert [(each.destination, str(each.state)) for each in image.forwarded] == [
        ("archive", "STORED"),
        ("pacs", "PENDING"),
    ]
    assert study(store).line.deliveries == {"STORED": 1, "PENDING": 1}
    told = [(each.what, each.why) for each in study(store).events if "forward" in each.what]
    assert told == [
        ("forwarding planned", "to archive"),
        ("forwarding planned", "to pacs"),
        ("not forwarded", "it came from x"),
    ]


def test_the_same_again_and_other_content_under_its_uid_are_not_forwarded(store: Workitems) -> None:
    store.record_received(received(), FORWARD)
    store.record_received(received(), FORWARD)
    store.record_received(received(content="other"), FORWARD)
    assert store.pending_by_destination() == {"archive": 1, "pacs": 1}


def test_an_original_that_is_held_for_its_patient_is_forwarded(store: Workitems) -> None:
    store.record_received(replace(received("1"), patient="a" * 64), FORWARD)
    other = replace(received("2"), patient="b" * 64)
    assert store.record_received(other, FORWARD) is Receipt.HELD
    assert store.pending_by_destination() == {"archive": 2, "pacs": 2}
    # not another content under a UID that is known
    stands_in = replace(received("1", content="moved"), patient="b" * 64)
    assert store.record_received(stands_in, FORWARD) is Receipt.HELD
    assert store.pending_by_destination() == {"archive": 2, "pacs": 2}
    told = [each.why for each in study(store).events if each.what == "not forwarded"]
    assert told[-1] == "another object came before under its UID"


def test_an_original_that_was_refused_is_a_dead_letter(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), FORWARD)
    analyse_all(store)
    clock.forward(QUIET)
    report(store)
    for name in ("archive", "pacs"):
        (delivery,) = store.due_deliveries(name, 10)
        store.record_delivery(delivery, Refused(reason="no", status=0xA900))
    letters = store.list_undelivered()
    assert [(each.destination, each.kind) for each in letters] == [("pacs", None), ("archive", None)]
    assert {each.name: each.undelivered for each in store.list_destinations()} == {
        "archive": 1,
        "pacs": 1,
    }
    assert len(store.stuck().dead_letters) == 2
    assert store.retry(1).deliveries == 2
    assert store.retry_undelivered("pacs") == 0


def test_an_image_is_kept_until_it_is_forwarded(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), Handling(forward=("archive",)))
    analyse_all(store)
    clock.forward(QUIET)
    report(store)
    clock.forward(30 * 86400)
    day = timedelta(days=1)
    assert store.studies_with_old_files(FileKind.IMAGES, day, 0, 10) == []
    (delivery,) = store.due_deliveries("archive", 10)
    store.record_delivery(delivery, Stored())
    clock.forward(2 * 86400)
    assert store.studies_with_old_files(FileKind.IMAGES, day, 0, 10) == [1]


def test_an_original_whose_file_is_lost_is_not_waited_for(store: Workitems) -> None:
    instance = received()
    store.record_received(instance, FORWARD)
    store.record_lost([instance.path], "damaged", who="restore")
    assert store.pending_by_destination() == {}
    assert [each.destination for each in store.list_undelivered()] == ["pacs", "archive"]


def test_urgent_originals_go_first(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1", study="1"), Handling(forward=("archive",)))
    clock.forward(60)
    stat = Handling(priority=Priority.STAT, forward=("archive",))
    store.record_received(received("1", study="2", at=clock.now), stat)
    assert [each.study_number for each in store.due_deliveries("archive", 10)] == [2, 1]


def test_commitment_is_asked_for_originals_too(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), Handling(forward=("archive",)))
    (delivery,) = store.due_deliveries("archive", 10)
    store.record_delivery(delivery, Stored(awaits_commitment=True))
    request = store.request_commitment("archive", clock.now + timedelta(hours=1))
    assert request is not None
    assert [each.sop_instance_uid for each in request.deliveries] == ["1.2.3.1.1"]


# shadows


def test_a_shadow_is_recorded_and_not_reported(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), SHADOW)
    first, shadow = store.claim("w", LEASE, limit=2)
    assert (first.purpose, shadow.purpose) == (Purpose.FIRST, Purpose.SHADOW)
    assert (shadow.rule, shadow.priority) == ("new model", Priority.LOW)
    store.complete_analysis(first, analysed(stored(ObjectKind.HEATMAP)))
    clock.forward(QUIET)
    # the report does not wait for it
    item = claim_one(store)
    assert item.kind is Kind.REPORT
    store.complete_analysis(shadow, other_model(analysed()))
    assert [image.analysis.algorithm.name for image in store.study_for_report(item).images] == [
        "densenet121-res224-all"
    ]
    store.complete_report(item, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    assert store.claim("w", LEASE) == []
    (image,) = study(store).instances
    assert image.analysis is not None
    assert image.analysis.algorithm.name == "densenet121-res224-all"
    assert [each.algorithm.name for each in image.shadows] == ["other"]
    assert study(store).line.revision == 1


def test_an_image_that_is_declined_is_read_by_the_shadow(store: Workitems) -> None:
    store.record_received(received(), SHADOW)
    first, shadow = store.claim("w", LEASE, limit=2)
    store.complete_analysis(first, InstanceDeclined(reason="not a chest"))
    assert store.complete_analysis(shadow, other_model(analysed()))
    (image,) = study(store).instances
    assert (image.state, image.analysis, len(image.shadows)) == (InstanceState.DECLINED, None, 1)


def test_a_shadow_that_fails_costs_the_image_nothing(store: Workitems, clock: Clock) -> None:
    store.record_received(received(), SHADOW)
    first, shadow = store.claim("w", LEASE, limit=2)
    assert store.fail(shadow, "no memory", permanent=True) is WorkState.CANCELED
    assert study(store).instances[0].state is InstanceState.RECEIVED
    store.complete_analysis(first, analysed())
    clock.forward(QUIET)
    report(store, "pacs")
    assert study(store).instances[0].state is InstanceState.ANALYSED
    assert store.list_quarantined() == []
    assert study(store).line.trouble is None


def test_an_image_in_quarantine_has_its_first_analysis_tried_again(store: Workitems) -> None:
    store.record_received(received(), SHADOW)
    for item in store.claim("w", LEASE, limit=2):
        store.fail(item, "no memory", permanent=True)
    assert [each.kind for each in store.list_quarantined()] == [Kind.ANALYSE]
    assert store.retry(1).workitems == 1
    assert claim_one(store).purpose is Purpose.FIRST


# reading again


def reported(store: Workitems, clock: Clock, *, heatmap: str | None = None) -> None:
    store.record_received(received())
    maps = [stored(ObjectKind.HEATMAP, heatmap)]
    store.complete_analysis(claim_one(store), analysed(*maps))
    clock.forward(QUIET)
    report(store, "pacs")


def again(store: Workitems) -> Workitem:
    item = claim_one(store)
    assert item.purpose is Purpose.AGAIN
    return item


def test_what_is_found_again_takes_the_place_of_what_was_found(store: Workitems, clock: Clock) -> None:
    reported(store, clock)
    wished = store.reanalyse(1, Wish(model="other"), who="me")
    assert (wished.scheduled, wished.waiting, wished.without_file) == (1, 0, 0)
    assert store.reanalyse(1, Wish(model="other"), who="me").waiting == 1
    item = again(store)
    assert (item.model, item.priority) == ("other", Priority.LOW)
    # meanwhile all is as it was
    assert study(store).instances[0].state is InstanceState.ANALYSED
    store.complete_analysis(item, other_model(analysed(stored(ObjectKind.HEATMAP))))
    revised = claim_one(store)
    told = store.study_for_report(revised)
    assert (revised.kind, told.revision) == (Kind.REPORT, 2)
    assert [image.analysis.algorithm.name for image in told.images] == ["other"]
    assert [each.kind for each in told.predecessors] == [ObjectKind.SR]
    assert told.images[0].number > told.told > 0
    store.complete_report(revised, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    kinds = [each.kind for each in store.due_deliveries("pacs", 10)]
    # what the first reading made, and what the second did
    assert kinds.count(ObjectKind.HEATMAP) == 2
    assert [each.what for each in study(store).events].count("analysis wished") == 2


def test_the_same_reading_again_makes_no_second_object(store: Workitems, clock: Clock) -> None:
    reported(store, clock, heatmap="2.25.4711")
    (before,) = [each for each in study(store).results if each.object.kind is ObjectKind.HEATMAP]
    store.reanalyse(1, Wish())
    # the same UID with other bytes, as another day makes them
    other = replace(stored(ObjectKind.HEATMAP, "2.25.4711"), digest="f" * 64)
    assert store.complete_analysis(again(store), analysed(other))
    item = claim_one(store)
    (image,) = store.study_for_report(item).images
    assert [each.digest for each in image.analysis.objects] == [before.object.digest]
    store.complete_report(item, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    (after,) = [each for each in study(store).results if each.object.kind is ObjectKind.HEATMAP]
    assert (after.number, after.object, after.deliveries) == (before.number, before.object, before.deliveries)


def test_a_reading_again_that_declines_or_fails_leaves_all_as_it_was(store: Workitems, clock: Clock) -> None:
    reported(store, clock)
    store.reanalyse(1, Wish())
    store.complete_analysis(again(store), InstanceDeclined(reason="the rules say so now"))
    store.reanalyse(1, Wish())
    store.fail(again(store), "no memory", permanent=True)
    (image,) = study(store).instances
    assert (image.state, image.reason) == (InstanceState.ANALYSED, None)
    assert image.analysis is not None
    assert store.claim("w", LEASE) == []
    assert store.list_quarantined() == []


def test_reading_again_waits_for_its_hours_and_is_overtaken(store: Workitems, clock: Clock) -> None:
    reported(store, clock)
    store.reanalyse(1, Wish(schedule=NIGHT))
    assert store.claim("w", LEASE) == []
    until(clock, EVENING)
    store.keep_hours()
    store.record_received(received("9", study="2", at=clock.now))
    assert claim_one(store).purpose is Purpose.FIRST
    assert claim_one(store).purpose is Purpose.AGAIN


def test_an_urgent_image_is_reported_without_what_is_read_again(store: Workitems, clock: Clock) -> None:
    reported(store, clock)
    store.reanalyse(1, Wish())
    store.record_received(received("2", at=clock.now), Handling(priority=Priority.STAT))
    item = claim_one(store)
    assert item.purpose is Purpose.FIRST
    store.complete_analysis(item, analysed())
    clock.forward(QUIET)
    first, second = store.claim("w", LEASE, limit=2)
    assert (first.kind, second.purpose) == (Kind.REPORT, Purpose.AGAIN)


def test_what_has_no_file_cannot_be_read_again(store: Workitems, clock: Clock) -> None:
    reported(store, clock)
    for delivery in store.due_deliveries("pacs", 10):
        store.record_delivery(delivery, Stored())
    clock.forward(10 * 86400)
    store.let_go(FileKind.IMAGES, timedelta(days=1), [1])
    wished = store.reanalyse(1, Wish())
    assert (wished.scheduled, wished.without_file) == (0, 1)
    with pytest.raises(PermanentError, match="no study 9"):
        store.reanalyse(9, Wish())


def test_studies_since(store: Workitems, clock: Clock) -> None:
    reported(store, clock)
    store.record_received(received("1", study="2", at=clock.now))
    assert store.studies_since(START) == [1]
    assert store.studies_since(START + timedelta(seconds=1)) == []


def test_a_shadow_of_what_is_on_record(store: Workitems, clock: Clock) -> None:
    reported(store, clock)
    store.reanalyse(1, Wish(model="other", shadow=True))
    store.reanalyse(1, Wish(model="third", shadow=True))
    assert store.reanalyse(1, Wish(model="third", shadow=True)).waiting == 1
    for item in store.claim("w", LEASE, limit=3):
        assert (item.purpose, item.rule) == (Purpose.SHADOW, None)
        store.complete_analysis(item, other_model(analysed()))
    assert len(study(store).instances[0].shadows) == 2
    assert study(store).line.revision == 1


# objects and models


def test_a_route_makes_some_kinds_only(store: Workitems, clock: Clock) -> None:
    for image, kinds in (("1", (ObjectKind.SR,)), ("2", (ObjectKind.HEATMAP,))):
        store.record_received(received(image))
        store.complete_analysis(claim_one(store), replace(analysed(), kinds=kinds, threshold_set="site a"))
    clock.forward(QUIET)
    told = store.study_for_report(claim_one(store))
    assert told.kinds_for("pacs") == {ObjectKind.SR, ObjectKind.HEATMAP}
    assert told.kinds_for("elsewhere") == frozenset()
    assert {each.analysis.threshold_set for each in told.images} == {"site a"}


def test_each_model_has_its_own_last_documents(store: Workitems, clock: Clock) -> None:
    for image, device in (("1", "2.25.1"), ("2", "2.25.2"), ("3", "2.25.1")):
        store.record_received(received(image, at=clock.now))
        store.complete_analysis(claim_one(store), analysed())
        clock.forward(QUIET)
        item = claim_one(store)
        made = replace(stored(ObjectKind.SR), device_uid=device)
        store.complete_report(item, [made], {"pacs": {Rendition(kind=ObjectKind.SR)}})
    store.record_received(received("4", at=clock.now))
    store.complete_analysis(claim_one(store), analysed())
    clock.forward(QUIET)
    told = store.study_for_report(claim_one(store))
    assert [each.device_uid for each in told.predecessors] == ["2.25.2", "2.25.1"]
    assert [image.number > told.told for image in told.images] == [False, False, False, True]


ALGORITHM = json.dumps(
    {"name": "m", "version": "1", "weights_digest": "0", "device_uid": "2.25.1", "labels": []}
)
OLD_ROWS = (
    "INSERT INTO studies (id, study_instance_uid, first_received_at, last_received_at)"
    " VALUES (1, '1.2', '2024-03-01 08:00:00+00:00', '2024-03-01 08:00:00+00:00')",
    "INSERT INTO instances (id, study_id, sop_class_uid, sop_instance_uid, transfer_syntax_uid,"
    " requestor_ae_title, requestor_address, called_ae_title, received_at, path, size, digest, state,"
    " patient_number) VALUES"
    " (1, 1, '1.1', '1.2.1', '1.2', 'A', 'A', 'A', '2024-03-01 08:00:00+00:00', 'p', 1,"
    f" '{'0' * 64}', 'ANALYSED', 1)",
    "INSERT INTO analyses (id, study_id, instance_id, route, algorithm, findings, checks, view, header,"
    f" send_to, quiet_seconds, analysed_at) VALUES (1, 1, 1, 'r', '{ALGORITHM}', '[]', '[]', 'PA', '',"
    """ '["pacs"]', 0, '2024-03-01 08:00:00+00:00')""",
    "INSERT INTO workitems (id, kind, state, study_id, instance_id, revision, priority, due_at, attempts,"
    " deaths, covers, created_at, ended_at) VALUES (1, 'analyse', 'COMPLETED', 1, 1, NULL, 0,"
    " '2024-03-01 08:00:00+00:00', 0, 0, NULL, '2024-03-01 08:00:00+00:00', '2024-03-01 08:00:00+00:00'),"
    " (2, 'report', 'COMPLETED', 1, NULL, 1, 0,"
    " '2024-03-01 08:00:00+00:00', 0, 0, 1, '2024-03-01 08:00:00+00:00', '2024-03-01 08:00:00+00:00')",
    "INSERT INTO results (id, study_id, workitem_id, revision, kind, sop_class_uid, sop_instance_uid,"
    " series_instance_uid, transfer_syntax_uid, path, size, digest, created_at) VALUES (1, 1, 2, 1, 'sr',"
    f" '1.3', '1.4', '1.5', '1.6', 'x', 1, '{'0' * 64}', '2024-03-01 08:00:00+00:00')",
    "INSERT INTO deliveries (id, result_id, destination, state, attempts, due_at, since) VALUES"
    " (1, 1, 'pacs', 'PENDING', 0, '2024-03-01 08:00:00+00:00', '2024-03-01 08:00:00+00:00')",
)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_rows_of_an_older_version_come_along(
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
            command.upgrade(config, "0008")
            for statement in OLD_ROWS:
                zone = ".000000" if kind == "sqlite" else "+00:00"
                connection.execute(text(statement.replace("+00:00", zone).replace(":", r"\:")))
        engine.dispose()
        store = open_store(url, clock=Clock())
        stack.callback(store.close)
        work = study(store).workitems
        assert [each.purpose for each in work] == [Purpose.FIRST, None]
        (delivery,) = store.due_deliveries("pacs", 10)
        assert (delivery.study_number, delivery.kind) == (1, ObjectKind.SR)
        assert store.record_delivery(delivery, Stored())
        with store._read() as tx:
            turn = tx.connection.execute(select(workitems.c.turn_at).where(workitems.c.id == 1)).scalar_one()
            assert turn == START - HEAD_START[Priority.ROUTINE]
            if kind == "sqlite":
                assert tx.connection.execute(text("PRAGMA foreign_key_check")).all() == []
