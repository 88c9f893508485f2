"""Renditions: each destination gets its own, another SR class stands in, and all can be retracted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from mcads_node import migrations
from mcads_node.errors import PermanentError
from mcads_node.result import ObjectKind, Rendition
from mcads_node.workitems import (
    REJECTION_NOTE,
    DeliveryState,
    Kind,
    Refused,
    Retraction,
    Stored,
    StoredResult,
    Workitems,
    open_store,
)
from tests.workitems_samples import QUIET, Clock, analysed, claim_one, fresh_store, received, stored

SR = Rendition(kind=ObjectKind.SR)
ENHANCED = Rendition(kind=ObjectKind.SR, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.22")
THIRD = Rendition(kind=ObjectKind.SR, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33")
CONTOUR = Rendition(kind=ObjectKind.HEATMAP, style="contour")
FILLED = Rendition(kind=ObjectKind.HEATMAP)
REJECTED = Refused(reason="the peer does not accept the SOP class")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    with fresh_store(database, clock) as opened:
        yield opened


def made(*renditions: Rendition) -> list[StoredResult]:
    return [stored(each.kind, variant=each.variant) for each in renditions]


def report(
    store: Workitems, clock: Clock, image: str = "1", **destinations: tuple[Rendition, ...]
) -> list[StoredResult]:
    """Analyse one image, with a filled and an outlined heatmap, and report it with three SR classes."""
    store.record_received(received(image, at=clock.now))
    maps = made(FILLED, CONTOUR)
    assert store.complete_analysis(claim_one(store, Kind.ANALYSE), analysed(*maps))
    clock.forward(QUIET)
    reports = made(SR, ENHANCED, THIRD)
    assert store.complete_report(claim_one(store, Kind.REPORT), reports, destinations)
    return [*maps, *reports]


def waiting(store: Workitems, destination: str) -> list[str]:
    return [each.sop_instance_uid for each in store.due_deliveries(destination, 50)]


def states(store: Workitems) -> dict[tuple[str, str], str]:
    """State by SOP Instance UID and destination."""
    return {
        (result.object.sop_instance_uid, delivery.destination): str(delivery.state)
        for result in store.show_study(1).results
        for delivery in result.deliveries
    }


def test_each_destination_gets_its_own_renditions(store: Workitems, clock: Clock) -> None:
    filled, contour, sr, enhanced, _ = report(store, clock, pacs=(SR, FILLED), other=(ENHANCED, CONTOUR))
    assert waiting(store, "pacs") == [filled.sop_instance_uid, sr.sop_instance_uid]
    assert waiting(store, "other") == [contour.sop_instance_uid, enhanced.sop_instance_uid]
    assert [each.variant for each in store.due_deliveries("other", 9)] == [CONTOUR.variant, ENHANCED.variant]
    assert store.show_study(1).results[1].object == contour


def test_another_sr_class_stands_in_one_after_the_other(store: Workitems, clock: Clock) -> None:
    *_, enhanced, third = report(store, clock, pacs=(SR,), other=(SR,))
    (first,) = store.due_deliveries("pacs", 9)
    assert store.record_delivery(first, REJECTED, (ENHANCED.variant, THIRD.variant))
    (second,) = store.due_deliveries("pacs", 9)
    assert second.sop_instance_uid == enhanced.sop_instance_uid
    # told twice, it is planned once
    assert not store.record_delivery(first, REJECTED, (ENHANCED.variant, THIRD.variant))
    assert store.record_delivery(second, REJECTED, (THIRD.variant,))
    (last,) = store.due_deliveries("pacs", 9)
    assert last.sop_instance_uid == third.sop_instance_uid
    assert store.record_delivery(last, REJECTED, ())
    assert waiting(store, "pacs") == []
    assert len(waiting(store, "other")) == 1
    record = store.show_study(1)
    planned = [each for each in record.events if each.what == "alternative planned"]
    assert [each.why for each in planned] == [
        f"{ENHANCED.variant} instead of delivery {first.number}",
        f"{THIRD.variant} instead of delivery {second.number}",
    ]
    stands_in = {each.number: each.stands_in_for for result in record.results for each in result.deliveries}
    assert (stands_in[second.number], stands_in[last.number]) == (first.number, second.number)
    # tried again by hand, only the last is: two reports of one revision at one peer would be one too many
    assert store.retry(1).deliveries == 1
    assert waiting(store, "pacs") == [third.sop_instance_uid]


def test_a_class_that_was_not_made_is_passed_over(store: Workitems, clock: Clock) -> None:
    *_, third = report(store, clock, pacs=(SR,))
    (first,) = store.due_deliveries("pacs", 9)
    assert store.record_delivery(first, REJECTED, ("language=lt", THIRD.variant))
    assert waiting(store, "pacs") == [third.sop_instance_uid]


def test_the_alternative_is_of_the_same_revision(store: Workitems, clock: Clock) -> None:
    report(store, clock, pacs=(SR,))
    *_, enhanced, _ = report(store, clock, "2", pacs=(SR,))
    newer = store.due_deliveries("pacs", 9)[-1]
    assert store.record_delivery(newer, REJECTED, (ENHANCED.variant,))
    assert waiting(store, "pacs")[-1] == enhanced.sop_instance_uid


def test_a_report_replaces_documents_of_every_class(store: Workitems, clock: Clock) -> None:
    *_, sr, enhanced, third = report(store, clock, pacs=(SR,))
    store.record_received(received("2", at=clock.now))
    store.complete_analysis(claim_one(store), analysed())
    clock.forward(QUIET)
    assert store.study_for_report(claim_one(store)).predecessors == (sr, enhanced, third)


def test_what_was_not_made_is_an_event(store: Workitems, clock: Clock) -> None:
    store.record_received(received())
    outcome = replace(analysed(), omitted=("seg: no Pixel Spacing (0028,0030)",))
    store.complete_analysis(claim_one(store), outcome)
    clock.forward(QUIET)
    store.complete_report(claim_one(store), made(SR), {}, ["pdf: no"])
    omitted = [each for each in store.show_study(1).events if each.what == "omitted"]
    assert [(each.subject, each.why) for each in omitted] == [
        ("instance 1", "seg: no Pixel Spacing (0028,0030)"),
        ("workitem 2", "pdf: no"),
    ]


def retract(store: Workitems, reason: str = "wrong patient") -> tuple[StoredResult, Retraction]:
    note = stored(ObjectKind.KOS, variant=REJECTION_NOTE)
    done = store.retract(store.retractable(1), note, reason)
    assert done is not None
    return note, done


def test_what_was_delivered_is_retracted_where_it_is(store: Workitems, clock: Clock) -> None:
    filled, _, sr, *_ = report(store, clock, pacs=(SR, FILLED), away=(SR,))
    for each in store.due_deliveries("pacs", 9):
        store.record_delivery(each, Stored())
    assert store.retractable(1).objects == (filled, sr)
    note, done = retract(store)
    assert done == Retraction(objects=2, destinations=("pacs",), stopped=1)
    assert waiting(store, "pacs") == [note.sop_instance_uid]
    assert waiting(store, "away") == []
    assert states(store)[sr.sop_instance_uid, "away"] == DeliveryState.REFUSED
    record = store.show_study(1)
    assert [each.retracted_by is None for each in record.results] == [False] * 5 + [True]
    (event,) = [each for each in record.events if each.what == "retracted"]
    assert (event.who, event.why) == ("administrator", "wrong patient")
    assert note.path in store.result_paths()
    # neither a person who tries again nor a second retraction brings any of it back
    assert store.retry(1).deliveries == 0
    with pytest.raises(PermanentError, match="left to retract"):
        store.retractable(1)


def test_nothing_is_retracted_while_a_report_that_may_refer_to_it_is_written(
    store: Workitems, clock: Clock
) -> None:
    report(store, clock, pacs=(SR,))
    store.record_received(received("2", at=clock.now))
    store.complete_analysis(claim_one(store), analysed())
    clock.forward(QUIET)
    item = claim_one(store)
    assert store.study_for_report(item).predecessors
    note = stored(ObjectKind.KOS, variant=REJECTION_NOTE)
    assert store.retract(store.retractable(1), note, "wrong patient") is None
    assert not [each for each in store.show_study(1).events if each.what == "retracted"]
    assert store.release(item, "it may be retracted now")
    retract(store)
    assert store.study_for_report(claim_one(store)).predecessors == ()


def test_a_revision_after_a_retraction_begins_anew(store: Workitems, clock: Clock) -> None:
    report(store, clock, pacs=(SR, FILLED))
    for each in store.due_deliveries("pacs", 9):
        store.record_delivery(each, Stored())
    note, _ = retract(store)
    store.record_received(received("2", at=clock.now))
    late = made(FILLED)
    store.complete_analysis(claim_one(store), analysed(*late))
    clock.forward(QUIET)
    item = claim_one(store)
    study = store.study_for_report(item)
    assert (study.revision, study.predecessors) == (2, ())
    assert [image.analysis.objects for image in study.images] == [(), tuple(late)]
    (again,) = made(SR)
    assert store.complete_report(item, [again], {"pacs": (SR, FILLED), "new": (FILLED,)})
    uids = [note.sop_instance_uid, late[0].sop_instance_uid, again.sop_instance_uid]
    assert waiting(store, "pacs") == uids
    # what was retracted goes nowhere else either
    assert waiting(store, "new") == [late[0].sop_instance_uid]
    # and the new report can be retracted in turn, without the note of the old
    assert store.retractable(1).objects == (late[0], again)
    assert store.retractable(1).notes == 1


def test_an_image_that_waits_for_its_report_is_not_retracted(store: Workitems, clock: Clock) -> None:
    report(store, clock, pacs=(SR,))
    store.record_received(received("2", at=clock.now))
    late = made(FILLED)
    store.complete_analysis(claim_one(store), analysed(*late))
    retract(store)
    clock.forward(QUIET)
    assert store.study_for_report(claim_one(store)).images[1].analysis.objects == tuple(late)


def test_an_object_that_arrived_while_it_was_retracted_is_followed_by_the_note(
    store: Workitems, clock: Clock
) -> None:
    _, _, sr, *_ = report(store, clock, pacs=(SR,))
    (on_its_way,) = store.due_deliveries("pacs", 9)
    note, done = retract(store)
    assert (done.objects, done.destinations) == (1, ())
    assert store.record_delivery(on_its_way, Stored())
    assert states(store)[sr.sop_instance_uid, "pacs"] == DeliveryState.STORED
    assert waiting(store, "pacs") == [note.sop_instance_uid]


def test_a_refusal_that_comes_after_the_retraction_plans_nothing(store: Workitems, clock: Clock) -> None:
    report(store, clock, pacs=(SR,))
    (on_its_way,) = store.due_deliveries("pacs", 9)
    retract(store)
    assert not store.record_delivery(on_its_way, REJECTED, (ENHANCED.variant,))
    assert waiting(store, "pacs") == []


def test_a_note_that_does_not_name_all_is_not_taken(store: Workitems, clock: Clock) -> None:
    report(store, clock, pacs=(SR,))
    before = store.retractable(1)
    report(store, clock, "2", pacs=(SR,))
    assert store.retract(before, stored(ObjectKind.KOS), "late") is None
    assert not [each for each in store.show_study(1).results if each.object.kind is ObjectKind.KOS]
    retract(store)


def test_nothing_to_retract(store: Workitems, clock: Clock) -> None:
    with pytest.raises(PermanentError, match="no study"):
        store.retractable(1)
    store.record_received(received())
    with pytest.raises(PermanentError, match="left to retract"):
        store.retractable(1)


def test_results_of_the_first_tables_are_default_renditions(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO studies VALUES (1, '1.2', '2024-03-01', '2024-03-01', NULL)",
            "INSERT INTO workitems VALUES (1, 'report', 'COMPLETED', 1, NULL, 1, 0, '2024-03-01', 0, 0, NULL,"
            " NULL, NULL, NULL, '2024-03-01', '2024-03-01', NULL)",
            "INSERT INTO results VALUES (1, 1, 1, NULL, 1, 'sr', '1.3', '1.4', '1.5', '1.6', 'x', 1,"
            f" '{'0' * 64}', '2024-03-01')",
        ):
            connection.execute(text(statement))
    engine.dispose()
    open_store(path).close()
    with closing(sqlite3.connect(path)) as connection_:
        assert connection_.execute("SELECT variant, retracted_by FROM results").fetchall() == [("", None)]


def test_an_installation_stays_who_it_is(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        opened = open_store(tmp_path / "node.db")
        names.append(opened.installation())
        opened.close()
    assert names[0] == names[1]
    other = open_store(tmp_path / "other.db")
    assert other.installation() != names[0]
    other.close()
