"""Several processes on one PostgreSQL hear of each other's work, and share what is done once for all."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from mcads_node.service.jobs import once_for_all
from mcads_node.tend import Job
from mcads_node.workitems import DELIVERIES, WORK, Deferred, Workitems, open_store
from tests.postgres import PostgresServer
from tests.workitems_samples import QUIET, START, Clock, analyse_all, claim_one, fresh_store, received, report


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def heard(url: str) -> Iterator[queue.SimpleQueue[tuple[str, str]]]:
    """What another process hears."""
    said: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    store = open_store(url)
    listener = store.listener(
        {WORK: lambda what: said.put((WORK, what)), DELIVERIES: lambda what: said.put((DELIVERIES, what))}
    )
    assert listener is not None
    listener.start()
    try:
        # at first everybody looks
        assert {said.get(timeout=30), said.get(timeout=30)} == {(WORK, ""), (DELIVERIES, "")}
        yield said
    finally:
        listener.stop()
        store.close()
        assert not listener.is_alive()


def everything(heard: queue.SimpleQueue[tuple[str, str]], last: tuple[str, str]) -> list[tuple[str, str]]:
    """All that is heard up to and with `last`."""
    said = [heard.get(timeout=30)]
    while said[-1] != last:
        said.append(heard.get(timeout=30))
    return said


def test_what_is_committed_is_heard_by_others(url: str, heard: queue.SimpleQueue[tuple[str, str]]) -> None:
    clock = Clock()
    with fresh_store(url, clock) as store:
        store.record_received(received())
        assert heard.get(timeout=30) == (WORK, "")
        analyse_all(store)
        # the report that is due later: who waits for it must know
        assert heard.get(timeout=30) == (WORK, "")
        clock.forward(QUIET)
        report(store, "pacs")
        assert heard.get(timeout=30) == (DELIVERIES, "pacs")
        (delivery, *_) = store.due_deliveries("pacs", 10)
        later = START + timedelta(hours=1)
        store.record_delivery(delivery, Deferred(until=later, status=None, reason="no"))
        store.record_received(received("2"))
        # neither the claim nor the deferral was told to anybody
        assert everything(heard, (WORK, "")) == [(WORK, "")]


def test_who_gives_work_back_tells_others(url: str, heard: queue.SimpleQueue[tuple[str, str]]) -> None:
    with fresh_store(url, Clock()) as store:
        store.record_received(received())
        assert heard.get(timeout=30) == (WORK, "")
        store.release(claim_one(store), "shutting down")
        assert heard.get(timeout=30) == (WORK, "")


def test_the_ear_comes_back_with_the_server(
    url: str, postgres: PostgresServer, heard: queue.SimpleQueue[tuple[str, str]]
) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    postgres.sql(cut)
    # everybody looks again: something may have been missed
    assert {heard.get(timeout=30), heard.get(timeout=30)} == {(WORK, ""), (DELIVERIES, "")}
    with fresh_store(url, Clock()) as store:
        store.record_received(received())
        assert heard.get(timeout=30) == (WORK, "")


def test_on_sqlite_there_is_nothing_to_hear_and_nobody_else(tmp_path: object) -> None:
    with fresh_store(tmp_path, Clock()) as store:  # type: ignore[arg-type]
        assert store.listener({}) is None
        assert store.stewardship().have()


@pytest.fixture
def two(url: str) -> Iterator[tuple[Workitems, Workitems]]:
    with ExitStack() as opened:
        yield (
            opened.enter_context(fresh_store(url, Clock())),
            opened.enter_context(fresh_store(url, Clock())),
        )


def test_what_is_done_once_is_done_by_one_and_then_by_another(
    postgres: PostgresServer, two: tuple[Workitems, Workitems]
) -> None:
    one, other = (each.stewardship() for each in two)
    done: list[str] = []

    def jobs(name: str) -> list[Job]:
        every = timedelta(hours=1)
        return [
            Job(name="delete", run=lambda: done.append(f"{name} deletes"), every=every, once=True),
            Job(name="look", run=lambda: done.append(f"{name} looks"), every=every),
        ]

    def run() -> list[str]:
        done.clear()
        for mine in (once_for_all(jobs("one"), one), once_for_all(jobs("other"), other)):
            for job in mine:
                job.run()
        return list(done)

    try:
        assert run() == ["one deletes", "one looks", "other looks"]
        assert (one.have(), other.have(), one.is_ours, other.is_ours) == (True, False, True, False)
        # as if the first had died
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory'"
        )
        assert other.have()
        assert run() == ["one looks", "other deletes", "other looks"]
        other.let_go()
        assert run() == ["one deletes", "one looks", "other looks"]
    finally:
        one.let_go()
        other.let_go()
