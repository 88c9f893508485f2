"""Who was turned away is on record, and a scanner cannot fill the disk with it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mcads_node.errors import TransientError
from mcads_node.instance import Requestor
from mcads_node.receive.admission import Cause, Refusal
from mcads_node.receive.turned_away import MOST_FROM_ONE_ADDRESS, MOST_IN_ALL, Gatebook, Tally
from mcads_node.workitems import TurnedAway, Workitems
from tests import workitems_samples

UNKNOWN = Refusal(cause=Cause.UNKNOWN_AE_TITLE, reason="its AE title is not listed in requestors")
CROWDED = Refusal(cause=Cause.LIMIT, reason="all 25 associations (node.max_associations) are in use")


class Clock:
    """Seconds that go on when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def peer(ae_title: str = "CR", address: str = "10.0.0.1") -> Requestor:
    return Requestor(ae_title=ae_title, address=address, called_ae_title="MCADS")


def taken(tally: Tally) -> list[TurnedAway]:
    rows = tally.due()
    tally.written(rows)
    return rows


def test_the_first_is_told_at_once_and_the_rest_of_the_minute_as_one() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.note(peer(), UNKNOWN)
    (first,) = taken(tally)
    assert first == TurnedAway(
        who="CR", subject="association from 10.0.0.1 to MCADS", reason=UNKNOWN.reason, times=1
    )
    for _ in range(7):
        clock.now += 1
        tally.note(peer(), UNKNOWN)
        assert taken(tally) == []
    assert tally.seconds_to_next() == 53.0
    # another reason is another row
    tally.note(peer(), CROWDED)
    assert [(row.reason, row.times) for row in taken(tally)] == [(CROWDED.reason, 1)]
    clock.now += 53
    assert [(row.reason, row.times) for row in taken(tally)] == [(UNKNOWN.reason, 7)]
    assert tally.seconds_to_next() is None


def test_what_could_not_be_written_stays_due_and_goes_on_counting() -> None:
    tally = Tally(Clock())
    tally.note(peer(), UNKNOWN)
    assert [row.times for row in tally.due()] == [1]
    tally.note(peer(), UNKNOWN)
    rows = tally.due()
    assert [row.times for row in rows] == [2]
    # one that came while the rows were being written is not lost
    tally.note(peer(), UNKNOWN)
    tally.written(rows)
    assert [row.times for row in tally.due(all_of_them=True)] == [1]


@pytest.mark.parametrize("seed", range(6))
def test_rows_a_minute_are_bounded_and_nobody_is_left_uncounted(seed: int) -> None:
    chance = random.Random(seed)
    slowest = chance.choice([0.01, 0.2, 1.0])
    calls = range(1500)
    clock = Clock()
    tally = Tally(clock)
    rows: list[tuple[float, TurnedAway]] = []
    for _ in calls:
        title, address = chance.randrange(200), chance.randrange(200)
        tally.note(peer(f"AE{title}", f"10.0.0.{address}"), UNKNOWN)
        rows += [(clock.now, row) for row in taken(tally)]
        clock.now += chance.uniform(0, slowest)
    rows += [(clock.now, row) for row in tally.due(all_of_them=True)]
    assert sum(row.times for _, row in rows) == len(calls)
    for start, _ in rows:
        # two: one that ends a minute may be followed at once by those of the next
        assert sum(start <= at < start + 60 for at, _ in rows) <= 2 * (MOST_IN_ALL + 1)


def test_made_up_ae_titles_of_one_address_leave_room_for_others() -> None:
    tally = Tally(Clock())
    for number in range(1000):
        tally.note(peer(f"SCAN{number}", "10.6.6.6"), UNKNOWN)
    tally.note(peer("CR", "10.0.0.1"), UNKNOWN)
    rows = taken(tally)
    assert len(rows) == MOST_FROM_ONE_ADDRESS + 2
    assert (rows[-2].who, rows[-2].times) == ("several", 1000 - MOST_FROM_ONE_ADDRESS)
    assert rows[-1].who == "CR"


@pytest.fixture
def store(database: str | Path) -> Iterator[Workitems]:
    with workitems_samples.fresh_store(database, workitems_samples.Clock()) as opened:
        yield opened


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_it_is_on_record(store: Workitems) -> None:
    book = Gatebook(store.record_turned_away)
    book.start()
    book.note(peer("CR\x1b[31m\x00"), UNKNOWN)
    wait_until(lambda: len(store.list_turned_away()) == 1)
    for _ in range(5):
        book.note(peer(""), CROWDED)
        book.note(peer("CR\x1b[31m\x00"), UNKNOWN)
    # what is left of the minute is written at the end
    book.stop()
    told = [(each.peer.who, each.peer.reason, each.peer.times) for each in store.list_turned_away()]
    assert told[-1] == ("CR?[31m", UNKNOWN.reason, 1)
    assert sorted(told[:-1])[0] == ("CR?[31m", UNKNOWN.reason, 5)
    assert sum(times for who, _, times in told if who == "unknown") == 5
    assert len(store.list_turned_away(limit=1)) == 1


def test_a_database_that_is_away_costs_nothing_but_time() -> None:
    calls: list[Sequence[TurnedAway]] = []

    def record(rows: Sequence[TurnedAway]) -> None:
        calls.append(rows)
        if len(calls) == 1:
            raise TransientError("the database is away")

    book = Gatebook(record)
    book.start()
    book.note(peer(), UNKNOWN)
    wait_until(lambda: len(calls) == 1)
    book.note(peer(), UNKNOWN)
    book.stop()
    assert [row.times for row in calls[-1]] == [2]
