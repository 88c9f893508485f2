"""Whose turn it is: the urgent first, and nothing waits for ever."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mcads_node.priority import HEAD_START, Priority, turn
from mcads_node.workitems import Handling, Kind
from tests.workitems_samples import LEASE, START, Clock, fresh_store, received

PRIORITIES = st.sampled_from(Priority)
MINUTES = st.integers(0, 24 * 60)
LONGEST = max(HEAD_START.values())


def moment(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_the_words_of_rules() -> None:
    assert [Priority.of(word) for word in ("stat", "high", "routine", "low")] == sorted(
        Priority, reverse=True
    )
    assert all(Priority.of(each.word) is each for each in Priority)


@given(MINUTES, PRIORITIES, PRIORITIES)
def test_of_what_is_due_together_the_more_urgent_is_first(
    minutes: int, one: Priority, other: Priority
) -> None:
    turns = [turn(moment(minutes), each) for each in (one, other)]
    assert (turns[0] < turns[1]) == (one > other)


@given(MINUTES, PRIORITIES, MINUTES, PRIORITIES)
def test_what_comes_much_later_comes_after(first: int, one: Priority, later: int, other: Priority) -> None:
    if moment(later) - moment(first) > LONGEST:
        assert turn(moment(first), one) < turn(moment(later), other)


@given(st.lists(st.tuples(MINUTES, PRIORITIES), min_size=1, max_size=60), st.integers(1, 30))
@settings(max_examples=50)
def test_nothing_starves_while_urgent_work_comes_without_end(
    arrivals: list[tuple[int, Priority]], per_piece: int
) -> None:
    """One worker, which is never idle since stat work comes as fast as it is done.

    Whatever waits is overtaken for no longer than the longest head start, and by what had come by then.
    """
    stream = [(minute, Priority.STAT) for minute in range(0, 72 * 60, per_piece)]
    coming = sorted(
        [*((minute, each, True) for minute, each in arrivals), *((*each, False) for each in stream)]
    )
    waiting: list[tuple[datetime, int, int, bool]] = []
    ended: dict[int, float] = {}
    clock, number = 0.0, 0
    while coming or waiting:
        while coming and coming[0][0] <= clock:
            minute, priority, watched = coming.pop(0)
            number += 1
            heapq.heappush(waiting, (turn(moment(minute), Priority(priority)), number, minute, watched))
        if waiting:
            _, which, minute, watched = heapq.heappop(waiting)
            clock += per_piece
            if watched:
                ended[which] = clock - minute
        else:
            clock = float(coming[0][0])
    # what had come before its turn is done before it: the head start, and the queue that this makes
    longest = LONGEST.total_seconds() / 60 + (len(arrivals) + 2) * per_piece
    assert all(waited <= longest for waited in ended.values()), ended


def test_the_database_hands_out_work_in_that_order(database: str | Path) -> None:
    clock = Clock()
    given_ = [(0, "routine"), (10, "low"), (100, "stat"), (100, "high"), (100, "routine"), (239, "stat")]
    with fresh_store(database, clock) as store:
        for image, (minute, word) in enumerate(given_):
            at = moment(minute)
            clock.now = at
            handling = Handling(priority=Priority.of(word))
            store.record_received(received(str(image), study=str(image), at=at), handling)
        expected = sorted(
            range(len(given_)), key=lambda n: turn(moment(given_[n][0]), Priority.of(given_[n][1]))
        )
        claimed = [store.claim("w", LEASE, kind=Kind.ANALYSE)[0] for _ in given_]
        assert [int(item.study_instance_uid.rpartition(".")[2]) for item in claimed] == expected
        # the stat images first, though the routine one has waited for nearly four hours
        assert expected[:2] == [2, 5]


def test_a_stat_image_overtakes_a_queue_and_waiting_overtakes_stat(database: str | Path) -> None:
    clock = Clock()
    with fresh_store(database, clock) as store:
        for image in range(20):
            store.record_received(received(str(image), at=clock.now))
        clock.forward(3600)
        stat = received("77", study="2", at=clock.now)
        store.record_received(stat, Handling(priority=Priority.STAT))
        (item,) = store.claim("w", LEASE)
        assert item.instance is not None
        assert (item.instance.sop_instance_uid, item.priority) == (stat.sop_instance_uid, Priority.STAT)
        clock.forward(3 * 3600 + 1)
        store.record_received(received("78", study="3", at=clock.now), Handling(priority=Priority.STAT))
        (item,) = store.claim("w", LEASE)
        assert item.priority is Priority.ROUTINE
