"""What the node does by the clock: jobs, their times, and what a failing one does to the others."""

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcads_node.config import NodeConfig, NodeSection
from mcads_node.errors import TransientError
from mcads_node.logs import configure_logs
from mcads_node.service.jobs import ORPHAN_AGE, jobs_of, remove_orphans
from mcads_node.state import open_state
from mcads_node.tend import Job, Tender

SHORT = timedelta(seconds=0.03)


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def test_files_that_no_row_names_are_removed_when_they_are_old(tmp_path: Path) -> None:
    state = open_state(NodeConfig(node=NodeSection(data_dir=tmp_path)))
    old, fresh = state.results.write(b"old"), state.results.write(b"fresh")
    long_ago = time.time() - ORPHAN_AGE.total_seconds() - 60
    os.utime(state.results.locate(old.path), (long_ago, long_ago))
    remove_orphans(state)
    assert not state.results.locate(old.path).exists()
    assert state.results.read(fresh.path) == b"fresh"
    state.close()


def test_the_nodes_own_jobs_start_and_stop(tmp_path: Path) -> None:
    state = open_state(NodeConfig(node=NodeSection(data_dir=tmp_path)))
    jobs = jobs_of(state, timedelta(seconds=60), lambda: None)
    assert len({job.name for job in jobs}) == len(jobs)
    tender = Tender(jobs)
    tender.start()
    tender.stop()
    state.close()


def test_a_failing_job_runs_again_and_stops_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs(as_json=True)
    failed, died, done = [], [], []

    def fail() -> None:
        failed.append(1)
        raise TransientError("the disk is slow")

    def die() -> None:
        died.append(1)
        raise ZeroDivisionError("DOE^JANE")

    tender = Tender(
        [
            Job(name="fails", run=fail, every=SHORT),
            Job(name="dies", run=die, every=SHORT),
            Job(name="works", run=lambda: done.append(1), every=SHORT),
        ]
    )
    tender.start()
    wait_for(lambda: min(len(failed), len(died), len(done)) >= 3)
    tender.stop()
    said = capfd.readouterr().err
    assert "DOE" not in said
    events = {each["event"]: each for each in map(json.loads, said.splitlines())}
    assert events["job.failed"]["job"] == "fails"
    assert events["job.failed"]["reason"] == "the disk is slow"
    assert events["job.died"]["job"] == "dies"
    assert events["job.died"]["error"] == "ZeroDivisionError"


def test_a_job_never_overlaps_itself_and_holds_up_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs(as_json=True)
    running, most, done = [], [], []
    go_on = threading.Event()

    def slow() -> None:
        running.append(1)
        most.append(len(running))
        go_on.wait(5)
        running.pop()

    tender = Tender(
        [
            Job(name="slow", run=slow, every=SHORT),
            Job(name="quick", run=lambda: done.append(1), every=SHORT),
        ]
    )
    tender.start()
    wait_for(lambda: bool(most) and len(done) >= 5)
    go_on.set()
    wait_for(lambda: len(most) >= 3)
    tender.stop()
    assert max(most) == 1
    (said,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert (said["event"], said["job"]) == ("job.passed_over", "slow")


def test_a_stop_tells_a_long_job_and_waits_for_it() -> None:
    stopping, started, seen = threading.Event(), threading.Event(), []

    def long() -> None:
        started.set()
        assert stopping.wait(5)
        seen.append("told")

    tender = Tender([Job(name="long", run=long, every=timedelta(hours=1), soon=True)], stopping)
    tender.start()
    assert started.wait(5), "a job that runs soon did not run when the clock was started"
    tender.stop()
    assert seen == ["told"]


def test_a_stop_does_not_wait_for_ever(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs(as_json=True)
    started, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        go_on.wait(30)

    tender = Tender([Job(name="hangs", run=hang, every=timedelta(hours=1), soon=True)])
    tender.start()
    assert started.wait(5)
    begun = time.monotonic()
    assert tender.stop(0.2) is False
    assert time.monotonic() - begun < 3
    # the process would end: Python waits for no daemon
    assert all(each.daemon for each in threading.enumerate() if each.name == "job-hangs")
    go_on.set()
    (said,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert (said["event"], said["job"]) == ("job.abandoned", "hangs")


def test_a_job_has_one_kind_of_time() -> None:
    with pytest.raises(ValueError, match="either every or at"):
        Job(name="never", run=lambda: None)
    with pytest.raises(ValueError, match="more than 0 s"):
        Job(name="always", run=lambda: None, every=timedelta(0))


def test_a_clock_that_is_set_back_does_not_stop_the_jobs() -> None:
    ran = threading.Event()
    stepped = threading.Event()
    hour = 3600.0

    def wall() -> float:
        return time.time() - (hour if stepped.is_set() else 0)

    tender = Tender([Job(name="often", run=ran.set, every=timedelta(seconds=1))], wall=wall)
    tender.start()
    try:
        assert ran.wait(10)
        # what a step back by an hour does to a scheduler that reckons with the machine's clock
        tender._scheduler.modify_job("often", next_run_time=datetime.now(UTC) + timedelta(seconds=hour))
        ran.clear()
        assert not ran.wait(1.5)
        stepped.set()
        assert ran.wait(10)
    finally:
        tender.stop()
