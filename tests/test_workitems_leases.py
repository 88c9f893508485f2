"""Leases: who may complete an item, and what becomes of one that nobody completes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mcads_node.backoff import RetryPolicy
from mcads_node.result import ObjectKind
from mcads_node.workitems import (
    InstanceDeclined,
    InstanceState,
    Kind,
    Receipt,
    Workitem,
    Workitems,
    WorkPolicy,
    WorkState,
)
from tests.workitems_samples import (
    ALL_KINDS,
    LEASE,
    QUIET,
    Clock,
    analyse_all,
    analysed,
    claim_one,
    fresh_store,
    in_threads,
    received,
    report,
    stored,
)

POLICY = WorkPolicy(retry=RetryPolicy(max_age=None, max_attempts=3), max_deaths=2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    with fresh_store(database, clock, POLICY) as opened:
        yield opened


@pytest.fixture
def item(store: Workitems) -> Workitem:
    store.record_received(received())
    return claim_one(store, worker="first")


def test_who_lost_the_lease_changes_nothing(store: Workitems, clock: Clock, item: Workitem) -> None:
    clock.forward(LEASE.total_seconds() + 1)
    (lost,) = store.expire_leases()
    assert (lost.number, lost.worker, lost.state) == (item.number, "first", WorkState.SCHEDULED)
    second = claim_one(store, worker="second")
    assert (second.number, second.attempts) == (item.number, 1)
    before = store.show_study(1)
    assert store.complete_analysis(item, analysed(stored(ObjectKind.HEATMAP))) is False
    assert store.complete_analysis(item, InstanceDeclined(reason="too late")) is False
    assert store.fail(item, "too late", permanent=True) is None
    assert store.release(item, "too late") is False
    assert store.renew([item], LEASE) == []
    assert store.show_study(1) == before
    assert store.complete_analysis(second, analysed())
    assert store.complete_analysis(second, analysed()) is False


def test_a_lost_report_changes_nothing(store: Workitems, clock: Clock, item: Workitem) -> None:
    store.complete_analysis(item, analysed())
    clock.forward(QUIET)
    first = claim_one(store, Kind.REPORT)
    clock.forward(LEASE.total_seconds() + 1)
    store.expire_leases()
    second = claim_one(store, Kind.REPORT)
    everything = {"pacs": ALL_KINDS}
    assert store.complete_report(first, [stored(ObjectKind.SR)], everything) is False
    assert store.due_deliveries("pacs", 10) == []
    sr = stored(ObjectKind.SR)
    assert store.complete_report(second, [sr], everything)
    assert [each.sop_instance_uid for each in store.due_deliveries("pacs", 10)] == [sr.sop_instance_uid]


def test_a_renewed_lease_does_not_run_out(store: Workitems, clock: Clock, item: Workitem) -> None:
    clock.forward(LEASE.total_seconds() - 1)
    (renewed,) = store.renew([item], LEASE)
    assert renewed.lease_expires_at == clock.now + LEASE
    clock.forward(LEASE.total_seconds() - 1)
    assert store.expire_leases() == []
    assert store.complete_analysis(item, analysed())
    assert store.renew([], LEASE) == []


def test_release_does_not_count(store: Workitems, item: Workitem) -> None:
    for _ in range(10):
        assert store.release(item, "the node is stopping")
        item = claim_one(store)
    assert item.attempts == 0


def test_a_transient_failure_is_tried_again_and_then_quarantined(
    store: Workitems, clock: Clock, item: Workitem
) -> None:
    assert store.fail(item, "no memory", permanent=False) is WorkState.SCHEDULED
    clock.forward(5)
    item = claim_one(store)
    assert store.fail(item, "no memory", permanent=False) is WorkState.SCHEDULED
    clock.forward(10)
    item = claim_one(store)
    assert item.attempts == 2
    assert store.fail(item, "no memory", permanent=False) is WorkState.CANCELED
    instance = store.show_study(1).instances[0]
    assert instance.state is InstanceState.QUARANTINED
    assert instance.reason == "no memory (3 attempts failed)"
    assert store.show_study(1).events[-1].what == "quarantined"


def test_a_failure_waits_before_it_is_tried_again(store: Workitems, item: Workitem) -> None:
    store.fail(item, "no memory", permanent=False)
    # due at once only if the jitter was nothing at all
    due_at = store.show_study(1).workitems[0].due_at
    assert bool(store.claim("w1", LEASE)) == (due_at <= item.due_at)


def test_a_permanent_failure_is_quarantined_at_once(store: Workitems, item: Workitem) -> None:
    assert store.fail(item, "pixels do not fit\x00", permanent=True) is WorkState.CANCELED
    assert store.show_study(1).instances[0].reason == "pixels do not fit"


def test_an_item_that_kills_its_workers_is_quarantined(
    store: Workitems, clock: Clock, item: Workitem
) -> None:
    clock.forward(LEASE.total_seconds() + 1)
    store.expire_leases()
    claim_one(store)
    clock.forward(LEASE.total_seconds() + 1)
    (lost,) = store.expire_leases()
    assert lost.state is WorkState.CANCELED
    assert "its worker died 2 times" in (store.show_study(1).instances[0].reason or "")
    assert store.expire_leases() == []


def test_a_dead_worker_is_not_waited_for(store: Workitems, item: Workitem) -> None:
    store.record_received(received("2"))
    other = claim_one(store, worker="second")
    (lost,) = store.expire_leases(held_by="first")
    assert lost.number == item.number
    assert claim_one(store).number == item.number
    assert store.complete_analysis(other, analysed())


def test_quarantine_does_not_hold_up_the_report(store: Workitems, clock: Clock, item: Workitem) -> None:
    store.record_received(received("2"))
    store.complete_analysis(claim_one(store), analysed())
    clock.forward(QUIET)
    assert store.claim("w1", LEASE) == []
    store.fail(item, "pixels do not fit", permanent=True)
    study = store.study_for_report(claim_one(store, Kind.REPORT))
    assert study.unread == ("pixels do not fit",)


def test_retry_of_a_quarantined_image_makes_a_revision(
    store: Workitems, clock: Clock, item: Workitem
) -> None:
    store.record_received(received("2"))
    store.complete_analysis(claim_one(store), analysed())
    store.fail(item, "pixels do not fit", permanent=True)
    clock.forward(QUIET)
    report(store, "pacs")
    retried = store.retry(1)
    assert (retried.workitems, retried.deliveries) == (1, 0)
    again = claim_one(store)
    assert (again.number, again.attempts, again.deaths) == (item.number, 0, 0)
    assert store.complete_analysis(again, analysed())
    assert claim_one(store, Kind.REPORT).revision == 2
    assert store.retry(1).workitems == 0


def test_a_report_that_cannot_be_made_is_told_and_retried(
    store: Workitems, clock: Clock, item: Workitem
) -> None:
    store.complete_analysis(item, analysed())
    clock.forward(QUIET)
    failed = claim_one(store, Kind.REPORT)
    assert store.fail(failed, "no UID root", permanent=True) is WorkState.CANCELED
    assert store.list_studies()[0].trouble == "its report could not be made: no UID root"
    assert store.claim("w1", LEASE) == []
    assert store.retry("1.2.3.1").workitems == 1
    again = claim_one(store, Kind.REPORT)
    assert (again.number, again.revision) == (failed.number, 1)
    assert store.complete_report(again, [stored(ObjectKind.SR)], {})
    assert store.list_studies()[0].trouble is None
    assert store.retry(1).workitems == 0


def test_a_later_image_mends_a_report_that_could_not_be_made(
    store: Workitems, clock: Clock, item: Workitem
) -> None:
    store.complete_analysis(item, analysed())
    clock.forward(QUIET)
    store.fail(claim_one(store, Kind.REPORT), "no UID root", permanent=True)
    store.record_received(received("2", at=clock.now))
    analyse_all(store)
    clock.forward(QUIET)
    assert report(store).revision == 1
    assert store.list_studies()[0].trouble is None


def test_a_report_whose_worker_dies(store: Workitems, clock: Clock, item: Workitem) -> None:
    store.complete_analysis(item, analysed())
    clock.forward(QUIET)
    for _ in range(POLICY.max_deaths):
        claim_one(store, Kind.REPORT)
        clock.forward(LEASE.total_seconds() + 1)
        store.expire_leases()
    assert "its worker died 2 times" in (store.list_studies()[0].trouble or "")


def test_threads_never_share_an_item(store: Workitems) -> None:
    images, workers = 200, 12
    for image in range(images):
        store.record_received(received(str(image), study=str(image % 40)))
    claimed: list[int] = []
    completed: list[bool] = []
    start = threading.Barrier(workers)

    def work(name: str) -> None:
        start.wait()
        while items := store.claim(name, LEASE, kind=Kind.ANALYSE, limit=3):
            claimed.extend(item.number for item in items)
            completed.extend(store.complete_analysis(item, analysed()) for item in items)

    in_threads(*(partial(work, f"w{number}") for number in range(workers)))
    assert len(claimed) == len(set(claimed)) == images
    assert completed == [True] * images
    assert sum(line.open_workitems for line in store.list_studies(100)) == 40


def test_receivers_and_workers_at_once(store: Workitems, clock: Clock) -> None:
    """Several peers send the same study while it is analysed: one row an image, one report a study."""
    images = 15
    receipts: list[Receipt] = []
    analysed_images: list[int] = []

    def receive() -> None:
        receipts.extend(store.record_received(received(str(image))) for image in range(images))

    def work() -> None:
        while len(analysed_images) < images:
            for item in store.claim("w", LEASE, kind=Kind.ANALYSE, limit=2):
                assert store.complete_analysis(item, analysed())
                analysed_images.append(item.number)

    in_threads(receive, receive, receive, receive, work, work, work)
    assert receipts.count(Receipt.RECORDED) == images
    assert receipts.count(Receipt.DUPLICATE) == 3 * images
    clock.forward(QUIET)
    (item,) = store.claim("w", LEASE, limit=10)
    assert len(store.study_for_report(item).images) == images


def test_no_analysis_is_left_out_of_the_reports(store: Workitems) -> None:
    """Images, analyses and reports all at once: what one report does not tell, the next does."""
    images, studies = 16, 2
    done: list[int] = []

    def receive(study: int) -> None:
        for image in range(images):
            store.record_received(received(str(image), study=str(study)))

    def work() -> None:
        idle = 0
        while len(done) < images * studies or idle < 3:
            items = store.claim("w", LEASE)
            idle = 0 if items else idle + 1
            for item in items:
                if item.kind is Kind.ANALYSE:
                    assert store.complete_analysis(item, analysed(stored(ObjectKind.HEATMAP), quiet=0))
                    done.append(item.number)
                else:
                    wanted = {"pacs": ALL_KINDS}
                    assert store.complete_report(item, [stored(ObjectKind.SR)], wanted)

    in_threads(*(partial(receive, study) for study in range(studies)), work, work, work)
    for line in store.list_studies():
        record = store.show_study(line.number)
        assert line.open_workitems == 0
        assert all(result.deliveries for result in record.results)
        revisions = [result.revision for result in record.results if result.revision is not None]
        assert revisions == list(range(1, line.revision + 1))
