"""The dispatcher between a real durable state and the seam to the workers, with faults on either side."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from mcads_node.backoff import RetryPolicy
from mcads_node.compute import Compute, WorkerLost
from mcads_node.dispatch import Dispatcher, DispatchSettings
from mcads_node.errors import InstanceUnreadable, TransientError
from mcads_node.finding import Algorithm
from mcads_node.instance import Declined, ReceivedInstance, View
from mcads_node.profile import DEFAULT
from mcads_node.result import ObjectKind, ResultObject
from mcads_node.route import Route
from mcads_node.spool import Spool
from mcads_node.state import State
from mcads_node.task import Analysis, AnalysisRequest, Composed, ReportRequest
from mcads_node.workitems import LeaseWatch, StudyRecord, Wish, WorkPolicy, now_utc, open_store
from tests.workitems_samples import digest_of, received

LEASE = timedelta(seconds=60)
#: quick, since the tests wait for it
POLICY = WorkPolicy(
    retry=RetryPolicy(base=timedelta(milliseconds=10), cap=timedelta(milliseconds=20), max_attempts=3),
    max_deaths=3,
)


@dataclass
class Hands:
    """Takes the place of the worker processes: a test says when and how each piece of work ends."""

    workers: int = 2
    shares_folders: bool = False
    begun: list[tuple[AnalysisRequest | tuple[ReportRequest, ...], Future[Any]]] = field(default_factory=list)

    def analyse(self, request: AnalysisRequest) -> Future[Analysis | Declined]:
        return self._begin(request)

    def compose(self, request: tuple[ReportRequest, ...]) -> Future[Composed]:
        return self._begin(request)

    def _begin(self, request: AnalysisRequest | tuple[ReportRequest, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        self.begun.append((request, future))
        return future

    def next(self) -> Future[Any]:
        """Wait for the next piece of work."""
        wait_for(lambda: self.begun)
        return self.begun.pop(0)[1]


@dataclass
class Bench:
    """A durable state with a dispatcher that works on it."""

    folder: Path
    state: State
    hands: Hands
    dispatcher: Dispatcher

    def receive(self, image: str = "1", study: str = "1") -> str:
        """Put an image on record; gives the path of its file."""
        stored = self.state.spool.write(b"an image")
        instance = replace(received(image, study, at=now_utc()), path=stored.path)
        wait_for(lambda: self._recorded(instance))
        self.dispatcher.poke()
        return stored.path

    def _recorded(self, instance: ReceivedInstance) -> bool:
        """Record it, unless the dispatcher writes for longer than this state waits: then as a sender does."""
        try:
            self.state.workitems.record_received(instance)
        except TransientError:
            return False
        return True

    def study(self, number: int = 1) -> StudyRecord:
        return self.state.workitems.show_study(f"1.2.3.{number}")

    def states(self, number: int = 1) -> list[str]:
        return [str(each.state) for each in self.study(number).workitems]

    def happened(self) -> list[str]:
        return [each.what for each in self.study().events]

    def files(self) -> int:
        return sum(file.is_file() for file in self.state.results.folder.rglob("*"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the database's lock for writing, as another process does."""
        with closing(sqlite3.connect(self.folder / "node.db", isolation_level=None)) as other:
            other.execute("PRAGMA busy_timeout = 5000")
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


@contextmanager
def bench_in(folder: Path, lease: timedelta = LEASE, *, shares_folders: bool = False) -> Iterator[Bench]:
    state = State(
        workitems=open_store(folder / "node.db", policy=POLICY, busy_seconds=0.1),
        spool=Spool(folder / "spool"),
        results=Spool(folder / "results"),
    )
    hands = Hands(shares_folders=shares_folders)
    dispatcher = Dispatcher(
        state,
        cast(Compute, hands),
        profiles={"pacs": DEFAULT},
        poke_delivery=lambda: None,
        settings=DispatchSettings(worker="here", lease=lease, idle_seconds=0.05),
    )
    dispatcher.start()
    try:
        yield Bench(folder, state, hands, dispatcher)
    finally:
        dispatcher.stop(0.0)
        dispatcher.poke()
        state.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def analysis() -> Analysis:
    return Analysis(
        route=Route(
            rule="all",
            model=None,
            explain=(),
            explain_top_finding=False,
            thresholds={},
            threshold_sets=(),
            objects=None,
            checks={},
            send_to=("pacs",),
            quiet_seconds=3600,
        ),
        algorithm=Algorithm(
            name="none", version="1", weights_digest=digest_of("weights"), device_uid="2.25.7", labels=()
        ),
        view=View.PA,
        findings=(),
        checks=(),
        header=b"header",
        thumbnail=b"thumbnail",
        shown=None,
        objects=(),
    )


def test_a_commit_that_fails_is_tried_again_and_written_once(bench: Bench) -> None:
    bench.receive()
    future = bench.hands.next()
    with structlog.testing.capture_logs() as logged, bench.locked():
        future.set_result(analysis())
        wait_for(lambda: any(each["event"] == "dispatch.stalled" for each in logged))
        time.sleep(0.5)  # it is tried several times
        assert bench.states() == ["IN PROGRESS"]
        assert bench.files() == 1
    wait_for(lambda: bench.states()[0] == "COMPLETED")
    assert [each["event"] for each in logged].count("dispatch.stalled") == 1
    assert bench.happened().count("analysed") == 1
    assert bench.study().workitems[0].attempts == 0
    assert bench.files() == 1


def test_files_that_a_worker_wrote_are_recorded_and_not_written_again(bench: Bench) -> None:
    (stored,) = bench.state.results.write_all([b"by a worker"])
    bench.receive()
    future = bench.hands.next()
    with structlog.testing.capture_logs() as logged, bench.locked():
        future.set_result(analysis().kept_in([stored]))
        wait_for(lambda: any(each["event"] == "dispatch.stalled" for each in logged))
    wait_for(lambda: bench.states()[0] == "COMPLETED")
    found = bench.study().instances[0].analysis
    assert found is not None
    assert found.thumbnail == stored.path
    assert bench.files() == 1


def test_workers_that_share_the_folders_are_told_a_name_and_no_bytes(tmp_path: Path) -> None:
    with bench_in(tmp_path, shares_folders=True) as bench:
        path = bench.receive()
        wait_for(lambda: bench.hands.begun)
        asked = bench.hands.begun[0][0]
        assert isinstance(asked, AnalysisRequest)
        assert (asked.file, asked.data) == (path, b"")


def test_work_is_not_lost_while_nobody_can_claim(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logged, bench.locked():
        wait_for(lambda: any(each["event"] == "dispatch.stalled" for each in logged))
    bench.receive()
    bench.hands.next().set_result(Declined(reason="not a chest"))
    wait_for(lambda: bench.states() == ["COMPLETED"])


def test_who_lost_the_lease_while_it_lives_writes_nothing(bench: Bench) -> None:
    bench.receive()
    first = bench.hands.next()
    bench.state.workitems.expire_leases(held_by="here")
    bench.dispatcher.poke()
    second = bench.hands.next()
    with structlog.testing.capture_logs() as logged:
        first.set_result(Declined(reason="too late"))
        wait_for(lambda: any(each["event"] == "work.lease_lost" for each in logged))
    assert bench.study().instances[0].state == "RECEIVED"
    second.set_result(analysis())
    wait_for(lambda: bench.states()[0] == "COMPLETED")
    assert bench.study().instances[0].state == "ANALYSED"
    assert bench.happened().count("completed") == 1


def test_long_work_keeps_its_lease(tmp_path: Path) -> None:
    lease = timedelta(seconds=0.6)
    with bench_in(tmp_path, lease) as bench:
        watch = LeaseWatch(bench.state.workitems, lease)
        bench.receive()
        future = bench.hands.next()
        deadline = time.monotonic() + 3 * lease.total_seconds()
        while time.monotonic() < deadline:
            assert watch.look() == []
            time.sleep(watch.every.total_seconds())
        future.set_result(analysis())
        wait_for(lambda: bench.states()[0] == "COMPLETED")
        assert bench.study().workitems[0].attempts == 0


def claimed_together(bench: Bench) -> list[Future[Any]]:
    """Two images of study 2, claimed in one claim."""
    full = []
    for image in ("1", "2"):
        bench.receive(image)
        full.append(bench.hands.next())
    for image in ("1", "2"):
        bench.receive(image, "2")
    # while nothing can be claimed, both hands are emptied
    with structlog.testing.capture_logs() as logged, bench.locked():
        for each in full:
            each.set_result(Declined(reason="not a chest"))
        wait_for(lambda: any(each["event"] == "dispatch.stalled" for each in logged))
    return [bench.hands.next(), bench.hands.next()]


def test_of_two_that_were_claimed_together_each_ends(bench: Bench) -> None:
    first, second = claimed_together(bench)
    first.set_result(Declined(reason="not a chest"))
    wait_for(lambda: bench.states(2) == ["COMPLETED", "IN PROGRESS"])
    second.set_exception(InstanceUnreadable("not DICOM"))
    wait_for(lambda: bench.states(2) == ["COMPLETED", "CANCELED"])


def test_the_files_of_two_are_never_mixed_up(bench: Bench) -> None:
    first, second = claimed_together(bench)
    with structlog.testing.capture_logs() as logged, bench.locked():
        first.set_result(replace(analysis(), thumbnail=b"of the first"))
        second.set_result(replace(analysis(), thumbnail=b"of the second"))
        wait_for(lambda: any(each["event"] == "dispatch.stalled" for each in logged))
        time.sleep(0.8)  # both are tried several times
    wait_for(lambda: bench.states(2)[:2] == ["COMPLETED", "COMPLETED"])
    shown = [each.analysis for each in bench.study(2).instances]
    files = [bench.state.results.read(each.thumbnail or "") for each in shown if each is not None]
    assert files == [b"of the first", b"of the second"]


def test_an_image_whose_file_is_gone_holds_up_no_other(bench: Bench) -> None:
    bench.state.spool.delete(bench.receive("1"))
    bench.receive("2")
    bench.hands.next().set_result(Declined(reason="not a chest"))
    wait_for(lambda: [str(each.state) for each in bench.study().instances] == ["QUARANTINED", "DECLINED"])
    assert "is gone" in (bench.study().instances[0].reason or "")


def make_unreadable(spool: Spool, path: str) -> None:
    """Have reads of a file end in an error, as on a damaged disk; a folder does that to root as well."""
    spool.delete(path)
    spool.locate(path).mkdir()


def test_files_that_cannot_be_read_hold_up_no_other_and_end(bench: Bench) -> None:
    for image in ("1", "2"):
        make_unreadable(bench.state.spool, bench.receive(image))
    bench.receive("3", "2")
    bench.hands.next().set_result(Declined(reason="not a chest"))
    wait_for(lambda: bench.states(2) == ["COMPLETED"])
    wait_for(lambda: bench.states() == ["CANCELED", "CANCELED"])
    assert "Is a directory (3 attempts failed)" in (bench.study().instances[0].reason or "")
    # it is the file: nothing was given back, and nobody waits
    assert "released" not in bench.happened()


def test_while_the_disk_is_away_nothing_is_counted_and_little_is_tried(bench: Bench) -> None:
    away = bench.folder / "away"
    for image in ("1", "2"):
        bench.receive(image)
    spool = bench.state.spool.folder
    for _ in range(2):
        bench.hands.next().set_exception(TransientError("the disk went away"))
    spool.rename(away)
    spool.write_bytes(b"what is mounted here is no folder")
    wait_for(lambda: bench.happened().count("released") >= 6)
    assert [each.attempts for each in bench.study().workitems] == [0, 0]
    before = bench.happened().count("released")
    time.sleep(0.5)
    # not again and again: the pauses have grown
    assert bench.happened().count("released") - before <= 4
    spool.unlink()
    away.rename(spool)
    for _ in range(2):
        bench.hands.next().set_result(Declined(reason="not a chest"))
    wait_for(lambda: bench.states() == ["COMPLETED", "COMPLETED"])


def test_a_stop_while_nothing_can_be_written_waits_quietly(bench: Bench) -> None:
    bench.receive()
    future = bench.hands.next()
    with structlog.testing.capture_logs() as logged, bench.locked():
        future.set_result(analysis())
        wait_for(lambda: any(each["event"] == "dispatch.stalled" for each in logged))
        used = time.process_time()
        bench.dispatcher.stop(1.0)
        assert time.process_time() - used < 0.7
    assert [each["event"] for each in logged].count("dispatch.stalled") == 1


@pytest.mark.parametrize("how", ["gone", "unreadable"])
def test_a_report_is_made_without_a_thumbnail_that_is_lost(tmp_path: Path, how: str) -> None:
    with bench_in(tmp_path) as bench:
        bench.receive()
        made = analysis()
        future = bench.hands.next()
        future.set_result(replace(made, route=replace(made.route, quiet_seconds=3), shown="Mass"))
        wait_for(lambda: bench.states()[0] == "COMPLETED")
        (instance,) = bench.study().instances
        assert instance.analysis is not None
        assert instance.analysis.thumbnail is not None
        if how == "gone":
            bench.state.results.delete(instance.analysis.thumbnail)
        else:
            make_unreadable(bench.state.results, instance.analysis.thumbnail)
        wait_for(lambda: bench.hands.begun)
        request, composed = bench.hands.begun.pop()
        assert isinstance(request, tuple)
        (told,) = request
        assert (told.readings[0].thumbnail, told.readings[0].shown) == (b"", None)
        composed.set_exception(InstanceUnreadable("it was asked for, that is enough"))


def test_an_item_that_kills_its_workers_is_quarantined_and_the_others_go_on(bench: Bench) -> None:
    bench.receive()
    bench.hands.next().set_exception(WorkerLost("its worker died (SIGSEGV)"))
    poison = bench.hands.next()
    bench.receive("2", "2")
    bench.hands.next().set_result(Declined(reason="not a chest"))
    wait_for(lambda: bench.states(2) == ["COMPLETED"])
    poison.set_exception(WorkerLost("its worker died (SIGSEGV)"))
    bench.hands.next().set_exception(WorkerLost("its worker died (SIGSEGV)"))
    wait_for(lambda: bench.states() == ["CANCELED"])
    (given_up,) = bench.state.workitems.list_quarantined()
    assert (given_up.attempts, given_up.study_instance_uid) == (3, "1.2.3.1")
    assert given_up.reason == "its worker died (SIGSEGV) (3 attempts failed)"
    assert bench.happened()[-1] == "quarantined"
    # a person has it tried again, and this time it is well
    assert bench.state.workitems.retry(1).workitems == 1
    bench.dispatcher.poke()
    bench.hands.next().set_result(analysis())
    wait_for(lambda: bench.states()[0] == "COMPLETED")
    assert bench.state.workitems.list_quarantined() == []


def test_what_cannot_be_read_is_quarantined_at_once(bench: Bench) -> None:
    bench.receive()
    bench.hands.next().set_exception(InstanceUnreadable("not DICOM"))
    wait_for(lambda: bench.states() == ["CANCELED"])
    assert bench.study().workitems[0].attempts == 1


def test_no_worker_to_be_had_is_no_fault_of_the_work(bench: Bench) -> None:
    bench.receive()
    for _ in range(5):
        bench.hands.next().set_exception(TransientError("no worker could be started: Too many open files"))
    bench.hands.next().set_result(analysis())
    wait_for(lambda: bench.states()[0] == "COMPLETED")
    assert bench.study().workitems[0].attempts == 0
    assert bench.happened().count("released") == 5


def test_an_unforeseen_error_is_told_by_its_type_only(bench: Bench) -> None:
    bench.receive()
    bench.hands.next().set_exception(ValueError("DOE^JANE"))
    wait_for(lambda: bench.study().workitems[0].attempts == 1)
    assert bench.study().workitems[0].reason == "an unforeseen ValueError"


def test_no_more_is_claimed_than_there_are_hands(bench: Bench) -> None:
    for image in range(5):
        bench.receive(str(image + 1))
    first = bench.hands.next()
    bench.hands.next()
    time.sleep(0.2)
    assert bench.hands.begun == []
    first.set_result(Declined(reason="not a chest"))
    bench.hands.next()
    assert sorted(bench.states()) == ["COMPLETED", "IN PROGRESS", "IN PROGRESS", "SCHEDULED", "SCHEDULED"]


def test_at_the_end_what_runs_is_given_back(bench: Bench) -> None:
    bench.receive()
    bench.hands.next()
    bench.dispatcher.stop(0.1)
    assert bench.states() == ["SCHEDULED"]
    assert bench.study().workitems[0].attempts == 0


def test_the_end_comes_also_where_nothing_can_be_given_back(bench: Bench) -> None:
    bench.receive()
    bench.receive("2")
    bench.hands.next()
    bench.hands.next()
    begun = time.monotonic()
    with structlog.testing.capture_logs() as logged, bench.locked():
        bench.dispatcher.stop(0.1)
    assert [each["event"] for each in logged].count("work.unrecorded") == 2
    assert time.monotonic() - begun < 5
    # in its time
    assert len(bench.state.workitems.expire_leases(held_by="here")) == 2


def test_each_model_that_has_anything_new_to_say_makes_a_report(bench: Bench) -> None:
    made = analysis()
    now = replace(made, route=replace(made.route, quiet_seconds=0))
    other = replace(now, algorithm=replace(made.algorithm, name="other", device_uid="2.25.8"))
    for image in ("1", "2"):
        bench.receive(image)
    first, second = bench.hands.next(), bench.hands.next()
    first.set_result(now)
    second.set_result(other)
    wait_for(lambda: bench.hands.begun)
    requests, composed = bench.hands.begun.pop()
    assert isinstance(requests, tuple)
    assert [(each.algorithm.name, len(each.readings)) for each in requests] == [("none", 1), ("other", 1)]
    assert requests[0].context.unread == ("1 image(s) were read by other 1, in a report of its own",)
    objects = tuple(
        ResultObject(
            kind=ObjectKind.SR,
            sop_class_uid="1.2",
            sop_instance_uid=f"2.25.9{number}",
            series_instance_uid=f"2.25.8{number}",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            data=b"an SR",
            device_uid=each.algorithm.device_uid,
        )
        for number, each in enumerate(requests)
    )
    composed.set_result(Composed(objects=objects))
    wait_for(lambda: bench.study().line.revision == 1)
    # a third image, for one of them: the other has said what it has to say
    bench.receive("3")
    bench.hands.next().set_result(other)
    wait_for(lambda: bench.hands.begun)
    told, composed = bench.hands.begun.pop()
    assert isinstance(told, tuple)
    (again,) = told
    assert (again.algorithm.name, len(again.readings), again.context.revision) == ("other", 2, 2)
    assert [uids[1] for uids in again.predecessors.values()] == ["2.25.91"]
    composed.set_result(Composed(objects=()))
    wait_for(lambda: bench.study().line.open_workitems == 0)


def test_a_shadow_leaves_nothing_but_what_it_found(bench: Bench) -> None:
    bench.receive()
    bench.hands.next().set_result(analysis())
    wait_for(lambda: bench.states()[0] == "COMPLETED")
    files = bench.files()
    bench.state.workitems.reanalyse(1, Wish(model="other", shadow=True))
    bench.dispatcher.poke()
    wait_for(lambda: bench.hands.begun)
    request, future = bench.hands.begun.pop()
    assert isinstance(request, AnalysisRequest)
    assert (request.shadow, request.model, request.rule) == (True, "other", None)
    future.set_result(analysis())
    wait_for(lambda: bench.study().instances[0].shadows)
    assert bench.files() == files
