"""Leases and due times where the clock on the wall steps: nothing is taken from the living or stalls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mcads_node.backoff import RetryPolicy
from mcads_node.workitems import Kind, LeaseWatch, LostLease, Workitem, Workitems, WorkPolicy, WorkState
from tests.workitems_samples import (
    LEASE,
    QUIET,
    Clock,
    analyse_all,
    claim_one,
    fresh_store,
    received,
)

SECONDS = LEASE.total_seconds()
POLICY = WorkPolicy(retry=RetryPolicy(max_age=None, max_attempts=3))


class World:
    """A store, who watches its leases, and two clocks: one on the wall, and one that never steps."""

    def __init__(self, store: Workitems, clock: Clock) -> None:
        self.store = store
        self.wall = clock
        self.steady = 0.0
        self.watch = LeaseWatch(store, LEASE, lambda: self.steady)

    def passes(self, seconds: float, *working: Workitem) -> list[LostLease]:
        """Let time pass in which the leases are looked at, and `working` are renewed."""
        lost: list[LostLease] = []
        for step in range(int(seconds // 5)):
            self.steady += 5
            self.wall.forward(5)
            if step % 4 == 3:
                assert len(self.store.renew(working, LEASE)) == len(working)
            if step % 3 == 2:
                lost += self.watch.look()
        return lost


@pytest.fixture
def world(database: str | Path) -> Iterator[World]:
    clock = Clock()
    with fresh_store(database, clock, POLICY) as store:
        store.record_received(received())
        yield World(store, clock)


def test_a_dead_worker_is_found_and_a_living_one_left_alone(world: World) -> None:
    world.store.record_received(received("2"))
    dead, living = world.store.claim("w", LEASE, limit=2)
    assert world.passes(45, living) == []
    (lost,) = world.passes(45, living)
    assert (lost.number, lost.state) == (dead.number, WorkState.SCHEDULED)
    assert world.passes(300, living) == []


@pytest.mark.parametrize("step", [3600, 86400 * 400, -3600, -86400 * 400])
def test_a_step_takes_nothing_from_the_living(world: World, step: int) -> None:
    item = claim_one(world.store)
    assert world.passes(40, item) == []
    world.wall.forward(step)
    assert world.watch.look() == []
    assert world.passes(300, item) == []


@pytest.mark.parametrize("step", [0, 3600, -3600, -86400 * 400])
def test_a_step_does_not_keep_the_dead(world: World, step: int) -> None:
    claim_one(world.store)
    world.passes(15)
    world.wall.forward(step)
    assert len(world.passes(1.5 * SECONDS)) == 1


def test_who_could_not_be_seen_is_not_held_for_dead(world: World) -> None:
    """The database was away, or the machine slept: who holds a lease may first renew it."""
    item = claim_one(world.store)
    world.passes(15)
    world.steady += 3600
    world.wall.forward(3600)
    assert world.watch.look() == []
    world.store.renew([item], LEASE)
    assert world.passes(60, item) == []


def test_who_renewed_in_the_last_moment_keeps_it(world: World) -> None:
    item = claim_one(world.store)
    (seen,) = world.store.leases()
    world.wall.forward(1)
    world.store.renew([item], LEASE)
    assert world.store.take_back([seen]) == []
    assert world.store.take_back([]) == []
    assert len(world.store.take_back(world.store.leases())) == 1


@pytest.mark.parametrize("step", [-600, -3600, -86400 * 30])
def test_a_report_does_not_wait_for_a_clock_that_stepped_back(world: World, step: int) -> None:
    analyse_all(world.store)
    world.wall.forward(step)
    assert claim_one(world.store, Kind.REPORT).revision == 1


@pytest.mark.parametrize("step", [-600, -80_000])
def test_a_report_does_not_wait_for_a_clock_that_stepped_back_before_the_analysis(
    world: World, step: int
) -> None:
    world.wall.forward(step)
    analyse_all(world.store)
    assert world.store.claim("w", LEASE, kind=Kind.REPORT) == []
    world.wall.forward(QUIET)
    assert claim_one(world.store, Kind.REPORT).revision == 1


def test_clocks_that_are_a_little_apart_make_no_early_report(world: World) -> None:
    analyse_all(world.store)
    world.wall.forward(-20)
    assert world.store.claim("w", LEASE, kind=Kind.REPORT) == []
    world.wall.forward(20 + QUIET)
    assert claim_one(world.store, Kind.REPORT)


def test_a_retry_does_not_wait_for_a_clock_that_stepped_back(world: World) -> None:
    # old enough that it was not made "in the future"
    world.wall.forward(7 * 86400)
    world.store.fail(claim_one(world.store), "no memory", permanent=False)
    assert world.store.claim("w", timedelta(seconds=1)) == []
    world.wall.forward(-3600)
    assert claim_one(world.store).attempts == 1
