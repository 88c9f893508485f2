"""The way of a study through the durable state: received, analysed, reported, revised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mcads_node.errors import InstanceUnreadable, PermanentError
from mcads_node.instance import is_valid_uid
from mcads_node.priority import Priority
from mcads_node.result import ObjectKind, Rendition
from mcads_node.workitems import (
    DeliveryState,
    Handling,
    InstanceDeclined,
    InstanceState,
    Kind,
    Receipt,
    Workitems,
    WorkState,
)
from tests.workitems_samples import (
    ALL_KINDS,
    LEASE,
    QUIET,
    START,
    Clock,
    analyse_all,
    analysed,
    claim_one,
    digest_of,
    fresh_store,
    received,
    report,
    stored,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    with fresh_store(database, clock) as opened:
        yield opened


def test_received_is_work(store: Workitems) -> None:
    instance = received()
    assert store.record_received(instance) is Receipt.RECORDED
    item = claim_one(store)
    assert (item.kind, item.instance, item.attempts) == (Kind.ANALYSE, instance, 0)
    assert item.lease_expires_at == START + LEASE
    assert item.transaction_uid.startswith("2.25.")
    assert is_valid_uid(item.transaction_uid)
    assert store.claim("w2", LEASE) == []


def test_the_same_again_is_no_new_work(store: Workitems) -> None:
    first = received()
    store.record_received(first)
    assert store.record_received(received()) is Receipt.DUPLICATE
    analyse_all(store)
    assert store.record_received(received()) is Receipt.DUPLICATE
    record = store.show_study("1.2.3.1")
    assert [each.path for each in record.instances] == [first.path]
    assert store.spool_paths() == {first.path}
    assert [each.what for each in record.events].count("received again") == 2


def test_other_content_under_one_uid_is_kept_apart(store: Workitems) -> None:
    store.record_received(received())
    other = received(content="other")
    assert store.record_received(other) is Receipt.CONFLICT
    assert store.record_received(received(content="other")) is Receipt.CONFLICT_AGAIN
    assert store.record_received(received(content="a third")) is Receipt.CONFLICT
    states = [each.state for each in store.show_study("1.2.3.1").instances]
    assert states == [InstanceState.RECEIVED, InstanceState.DECLINED, InstanceState.DECLINED]
    assert len(store.claim("w1", LEASE, limit=10)) == 1


def test_one_uid_in_two_studies_is_a_conflict(store: Workitems) -> None:
    store.record_received(received())
    stranger = replace(received(study="2"), sop_instance_uid="1.2.3.1.1")
    assert store.record_received(stranger) is Receipt.CONFLICT
    assert "conflict" in [each.what for each in store.show_study("1.2.3.2").events]


def test_what_cannot_be_parsed_is_kept_and_declined(store: Workitems) -> None:
    bytes_only = replace(received(), study_instance_uid="", sop_instance_uid="not a UID\x00")
    assert store.record_unreadable(bytes_only, "not a DICOM data set") is Receipt.UNREADABLE
    again = replace(bytes_only, path=received().path)
    assert store.record_unreadable(again, "not a DICOM data set") is Receipt.DUPLICATE
    assert store.spool_paths() == {bytes_only.path}
    assert store.claim("w1", LEASE) == []
    # and does not stand in the way of the same instance, whole
    assert store.record_unreadable(received(content="broken"), "truncated") is Receipt.UNREADABLE
    assert store.record_received(received()) is Receipt.RECORDED


@pytest.mark.parametrize("wrong", ["", "1.2.3.x", "1." * 40 + "1", "../../etc/passwd", "1.2\x00"])
def test_a_uid_that_is_none_is_refused(store: Workitems, wrong: str) -> None:
    with pytest.raises(InstanceUnreadable, match="study_instance_uid"):
        store.record_received(replace(received(), study_instance_uid=wrong))
    assert store.spool_paths() == set()


def test_urgent_first_then_by_age(store: Workitems) -> None:
    for image, (priority, age) in enumerate([(0, 5), (0, 30), (2, 0), (2, 10)]):
        at = START - timedelta(seconds=age)
        store.record_received(received(image=str(image), at=at), Handling(priority=Priority(priority)))
    items = store.claim("w1", LEASE, limit=3)
    uids = [item.instance.sop_instance_uid for item in items if item.instance is not None]
    assert uids == ["1.2.3.1.3", "1.2.3.1.2", "1.2.3.1.1"]


def test_a_clock_that_stepped_back_does_not_hold_up_an_image(store: Workitems, clock: Clock) -> None:
    store.record_received(received())
    clock.forward(-3600)
    assert claim_one(store).kind is Kind.ANALYSE


def test_the_report_waits_for_quiet_and_for_every_image(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1"))
    analyse_all(store)
    clock.forward(QUIET - 1)
    assert store.claim("w1", LEASE) == []
    late = received("2", at=clock.now)
    store.record_received(late)
    clock.forward(2)
    waiting = claim_one(store, Kind.ANALYSE)
    assert store.claim("w1", LEASE, kind=Kind.REPORT) == []
    assert store.complete_analysis(waiting, analysed())
    # quiet since the second image
    assert store.claim("w1", LEASE) == []
    clock.now = late.received_at + timedelta(seconds=QUIET)
    assert claim_one(store).revision == 1


def test_what_a_report_is_told(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1"))
    store.record_received(received("2"))
    store.record_received(received("1", content="other"))
    heatmap = stored(ObjectKind.HEATMAP)
    outcome = analysed(heatmap)
    assert store.complete_analysis(claim_one(store), outcome)
    assert store.complete_analysis(claim_one(store), InstanceDeclined(reason="not a chest"))
    clock.forward(QUIET)
    study = store.study_for_report(claim_one(store))
    assert study.study_instance_uid == "1.2.3.1"
    assert (study.revision, study.predecessors, study.first_received_at) == (1, (), START)
    (image,) = study.images
    assert image.analysis == outcome
    assert image.sop_instance_uid == "1.2.3.1.1"
    assert study.unread[0] == "not a chest"
    assert "same SOP Instance UID" in study.unread[1]
    assert study.send_to == ("pacs",)


def test_a_study_without_an_analysed_image_has_no_report(store: Workitems, clock: Clock) -> None:
    store.record_received(received())
    store.complete_analysis(claim_one(store), InstanceDeclined(reason="not a chest"))
    clock.forward(1000)
    assert store.claim("w1", LEASE) == []
    line = store.list_studies()[0]
    assert (line.instances, line.open_workitems) == ({InstanceState.DECLINED: 1}, 0)


def test_a_report_is_delivered_where_it_is_wanted(store: Workitems, clock: Clock) -> None:
    store.record_received(received())
    heatmap = stored(ObjectKind.HEATMAP)
    store.complete_analysis(claim_one(store), analysed(heatmap))
    assert store.due_deliveries("pacs", 10) == []
    clock.forward(QUIET)
    item = claim_one(store)
    sr, page = stored(ObjectKind.SR), stored(ObjectKind.SUMMARY)
    wanted = {"pacs": ALL_KINDS, "registry": {Rendition(kind=ObjectKind.SR)}, "nowhere": set[Rendition]()}
    assert store.complete_report(item, [page, sr], wanted)
    sent = [each.sop_instance_uid for each in store.due_deliveries("pacs", 10)]
    assert sent == [heatmap.sop_instance_uid, page.sop_instance_uid, sr.sop_instance_uid]
    assert [each.kind for each in store.due_deliveries("registry", 10)] == [ObjectKind.SR]
    assert store.pending_by_destination() == {"pacs": 3, "registry": 1}
    record = store.show_study("1.2.3.1")
    drawn = record.instances[0].analysis
    assert drawn is not None
    assert store.result_paths() == {heatmap.path, sr.path, page.path, drawn.thumbnail}
    assert record.line.deliveries == {DeliveryState.PENDING: 4}
    assert record.line.revision == 1


def test_a_late_image_makes_a_revision_with_a_predecessor(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1"))
    analyse_all(store, heatmaps=1)
    clock.forward(QUIET)
    report(store, "pacs")
    first = [each for each in store.show_study(1).results if each.object.kind is ObjectKind.SR]
    store.record_received(received("2", at=clock.now))
    analyse_all(store, heatmaps=1)
    clock.forward(QUIET)
    item = claim_one(store, Kind.REPORT)
    study = store.study_for_report(item)
    assert study.revision == 2
    assert len(study.images) == 2
    assert study.predecessors == (first[0].object,)
    assert store.complete_report(item, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    # every object once: 2 heatmaps, the first report's page and SR, the second's SR
    assert len(store.due_deliveries("pacs", 100)) == 5


def test_an_image_that_comes_while_a_report_is_written(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1"))
    analyse_all(store)
    clock.forward(QUIET)
    writing = claim_one(store, Kind.REPORT)
    store.record_received(received("2", at=clock.now))
    late = stored(ObjectKind.HEATMAP)
    store.complete_analysis(claim_one(store, Kind.ANALYSE), analysed(late, quiet=0))
    # the second waits for the first, and the first does not speak of what came since
    assert store.claim("w2", LEASE) == []
    assert len(store.study_for_report(writing).images) == 1
    assert store.complete_report(writing, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    assert late.sop_instance_uid not in {each.sop_instance_uid for each in store.due_deliveries("pacs", 9)}
    second = claim_one(store, Kind.REPORT)
    assert second.revision == 2
    assert len(store.study_for_report(second).images) == 2
    assert store.complete_report(second, [stored(ObjectKind.SR)], {"pacs": ALL_KINDS})
    assert late.sop_instance_uid in {each.sop_instance_uid for each in store.due_deliveries("pacs", 9)}


def test_an_unwritten_report_gives_way_to_the_later_one(store: Workitems, clock: Clock) -> None:
    store.record_received(received("1"))
    analyse_all(store)
    clock.forward(QUIET)
    writing = claim_one(store, Kind.REPORT)
    store.record_received(received("2", at=clock.now))
    analyse_all(store)
    assert store.fail(writing, "no memory", permanent=False) is WorkState.SCHEDULED
    clock.forward(QUIET)
    (item,) = store.claim("w1", LEASE, limit=10)
    # no revision is missing, and none is there twice
    assert item.revision == 1
    assert len(store.study_for_report(item).images) == 2


def test_a_result_uid_is_used_once(store: Workitems) -> None:
    store.record_received(received("1"))
    store.record_received(received("2"))
    heatmap = stored(ObjectKind.HEATMAP)
    store.complete_analysis(claim_one(store), analysed(heatmap))
    other = stored(ObjectKind.HEATMAP, heatmap.sop_instance_uid)
    item = claim_one(store)
    with pytest.raises(PermanentError, match="refused"):
        store.complete_analysis(item, analysed(other))
    # nothing of it was written, and the item is still held
    assert store.renew([item], LEASE)[0].number == item.number
    assert store.complete_analysis(item, analysed())


def test_a_list_of_studies(store: Workitems, clock: Clock) -> None:
    for study in ("1", "2", "3"):
        store.record_received(received(study=study, at=clock.now))
        clock.forward(1)
    store.record_received(received("2", study="1", at=clock.now))
    lines = store.list_studies(limit=2)
    assert [line.study_instance_uid for line in lines] == ["1.2.3.1", "1.2.3.3"]
    assert lines[0].instances == {InstanceState.RECEIVED: 2}
    assert lines[0].last_received_at == clock.now
    assert lines[0].open_workitems == 2


def test_the_record_of_a_study(store: Workitems, clock: Clock) -> None:
    store.record_received(received())
    analyse_all(store, heatmaps=1)
    clock.forward(QUIET)
    report(store, "pacs")
    record = store.show_study(1)
    assert record == store.show_study("1.2.3.1")
    assert [each.what for each in record.events] == [
        "received",
        "claimed",
        "completed",
        "scheduled",
        "analysed",
        "claimed",
        "completed",
    ]
    assert {each.who for each in record.events} == {"CR_ROOM1", "w1", "node"}
    assert [each.kind for each in record.workitems] == [Kind.ANALYSE, Kind.REPORT]
    assert {each.state for each in record.workitems} == {WorkState.COMPLETED}
    with pytest.raises(PermanentError, match="no study 99"):
        store.show_study(99)


def test_scores_are_kept_exactly(store: Workitems, clock: Clock) -> None:
    store.record_received(received())
    analyse_all(store)
    clock.forward(QUIET)
    (image,) = store.study_for_report(claim_one(store)).images
    assert image.analysis.findings[0].score == 0.1 + 0.2
    assert image.analysis.algorithm.weights_digest == digest_of("weights")
