"""Deliveries: each object to each destination, until it is there or refused for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mcads_node.workitems import Deferred, DeliveryState, Refused, Stored, Workitems
from tests.workitems_samples import QUIET, Clock, analyse_all, fresh_store, received, report


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str | Path, clock: Clock) -> Iterator[Workitems]:
    """Hold one report of two objects, due at two destinations."""
    with fresh_store(database, clock) as opened:
        opened.record_received(received())
        analyse_all(opened)
        clock.forward(QUIET)
        report(opened, "pacs", "archive")
        yield opened


def test_stored_is_done(store: Workitems) -> None:
    first, second = store.due_deliveries("pacs", 10)
    assert store.due_deliveries("pacs", 1) == [first]
    assert store.record_delivery(first, Stored())
    assert store.record_delivery(first, Stored()) is False
    assert store.record_delivery(first, Refused(reason="late", status=0xA900)) is False
    assert store.due_deliveries("pacs", 10) == [second]
    assert store.record_delivery(second, Stored(status=0xB000, reason="coercion"))
    assert store.next_due("pacs") is None
    results = store.show_study(1).results
    ended = [each for result in results for each in result.deliveries if each.destination == "pacs"]
    assert [(each.state, each.status) for each in ended] == [
        (DeliveryState.STORED, 0x0000),
        (DeliveryState.STORED, 0xB000),
    ]
    assert len(store.due_deliveries("archive", 10)) == 2


def test_deferred_comes_back(store: Workitems, clock: Clock) -> None:
    first, second = store.due_deliveries("pacs", 10)
    until = clock.now + timedelta(minutes=1)
    store.record_delivery(first, Deferred(until=until, reason="out of resources", status=0xA700))
    assert store.due_deliveries("pacs", 10) == [second]
    store.record_delivery(second, Stored())
    assert store.next_due("pacs") == until
    clock.now = until
    (again,) = store.due_deliveries("pacs", 10)
    assert (again.number, again.attempts, again.since) == (first.number, 1, first.since)


def test_refused_waits_for_a_person(store: Workitems, clock: Clock) -> None:
    first, _ = store.due_deliveries("pacs", 10)
    store.record_delivery(first, Refused(reason="cannot understand", status=0xC000))
    clock.forward(100_000)
    assert len(store.due_deliveries("pacs", 10)) == 1
    assert store.list_studies()[0].deliveries == {DeliveryState.PENDING: 3, DeliveryState.REFUSED: 1}
    assert store.retry(1).deliveries == 1
    again = store.due_deliveries("pacs", 10)[-1]
    assert (again.number, again.attempts, again.since) == (first.number, 0, clock.now)


def test_a_dead_destination_is_left_alone_and_holds_up_no_other(store: Workitems, clock: Clock) -> None:
    until = clock.now + timedelta(minutes=5)
    first = store.defer_destination("pacs", until, "connection refused")
    assert (first.failures, first.failing_since) == (1, clock.now)
    assert store.due_deliveries("pacs", 10) == []
    assert store.next_due("pacs") == until
    assert len(store.due_deliveries("archive", 10)) == 2
    clock.forward(600)
    again = store.defer_destination("pacs", clock.now + timedelta(minutes=10), "timeout")
    assert (again.failures, again.failing_since) == (2, first.failing_since)
    assert store.destination_trouble("pacs") == again
    clock.forward(600)
    delivery, other = store.due_deliveries("pacs", 10)
    assert delivery.attempts == 0
    store.record_delivery(delivery, Stored())
    assert store.destination_trouble("pacs") is None
    assert store.due_deliveries("pacs", 10) == [other]


def test_a_clock_that_steps_back_stops_no_delivery(store: Workitems, clock: Clock) -> None:
    first, second = store.due_deliveries("pacs", 10)
    store.record_delivery(second, Deferred(until=clock.now + timedelta(minutes=10), reason="busy"))
    clock.forward(-86400)
    assert store.due_deliveries("pacs", 10) == [first, store.due_deliveries("pacs", 2)[1]]
    assert store.due_deliveries("pacs", 1) == [first]
    # put off by the new clock it waits as ever, however long it has been tried by the old one
    until = clock.now + timedelta(minutes=10)
    assert store.record_delivery(first, Deferred(until=until, reason="busy"))
    (other,) = store.due_deliveries("pacs", 10)
    assert other.number == second.number
    store.record_delivery(other, Stored())
    assert store.due_deliveries("pacs", 10) == []
    clock.now = until
    (again,) = store.due_deliveries("pacs", 10)
    assert (again.number, again.since) == (first.number, until - timedelta(minutes=10))


def test_a_small_step_back_delays_nothing_either(store: Workitems, clock: Clock) -> None:
    clock.forward(-300)
    assert len(store.due_deliveries("pacs", 10)) == 2


def test_a_clock_that_steps_back_leaves_no_destination_alone(store: Workitems, clock: Clock) -> None:
    store.defer_destination("pacs", clock.now + timedelta(minutes=15), "connection refused")
    assert store.due_deliveries("pacs", 10) == []
    clock.forward(-86400)
    assert len(store.due_deliveries("pacs", 10)) == 2
    assert store.request_commitment("pacs", clock.now + timedelta(hours=1)) is None
    store.defer_destination("pacs", clock.now + timedelta(minutes=15), "connection refused")
    assert store.due_deliveries("pacs", 10) == []


def test_what_was_no_attempt_is_not_counted(store: Workitems, clock: Clock) -> None:
    first, _ = store.due_deliveries("pacs", 10)
    until = clock.now + timedelta(minutes=1)
    store.record_delivery(first, Deferred(until=until, reason="disk", counts=False))
    clock.now = until
    again = store.due_deliveries("pacs", 10)[-1]
    assert (again.number, again.attempts) == (first.number, 0)


def test_giving_up_by_age_does_not_mean_the_peer_answered(store: Workitems, clock: Clock) -> None:
    store.defer_destination("pacs", clock.now, "connection refused")
    delivery, _ = store.due_deliveries("pacs", 10)
    store.record_delivery(delivery, Refused(reason="no success within 7 days"))
    assert store.destination_trouble("pacs") is not None


def test_nothing_waits_for_an_unknown_destination(store: Workitems) -> None:
    assert store.next_due("elsewhere") is None
    assert store.due_deliveries("elsewhere", 10) == []
    assert store.pending_by_destination() == {"pacs": 2, "archive": 2}
