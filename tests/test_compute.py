"""A worker that hangs, dies or meets a defect costs its own work one attempt, and nothing else."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing import active_children
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest

from mcads_node import phantom
from mcads_node.backoff import RetryPolicy
from mcads_node.compute import _LOAD_SECONDS, Compute, WorkerLost, _Slot, _Worker
from mcads_node.config import Rule, RuleBook
from mcads_node.dispatch import Dispatcher, DispatchSettings
from mcads_node.errors import InstanceUnreadable, ModelUnusable, TransientError
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.profile import DEFAULT, Profile
from mcads_node.result import ReportContext
from mcads_node.shipped import shipped_folder
from mcads_node.spool import Spool
from mcads_node.state import State
from mcads_node.task import Analysis, AnalysisRequest, ReportRequest, WorkerSettings
from mcads_node.workitems import WorkPolicy, now_utc, open_store
from tests.conversion import lend_conversion
from tests.workitems_samples import received

#: long enough for a worker to load its model on a busy machine
TIMEOUT = 240.0
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RULE = Rule.model_validate({"name": "all", "when": {}, "analyse": {}, "send_to": ["pacs"]})


PROFILES = {"pacs": DEFAULT}


def settings(folder: Path, model: str = "mcads-demo") -> WorkerSettings:
    """With the engine that a node takes unless told otherwise: a worker starts in half of torch's time."""
    lend_conversion(folder)
    return WorkerSettings(
        models_dir=shipped_folder("models"),
        weights_dir=folder / "models",
        model=model,
        engine="auto",
        memory_limit_mib=4096,
    )


def request(data: bytes | None = None) -> AnalysisRequest:
    # larger than a pipe holds: a worker that does not read blocks the sender
    data = data or phantom.save(phantom.radiograph(rows=512, columns=400))
    sender = Requestor(ae_title="MODALITY", address="127.0.0.1", called_ae_title="MCADS")
    context = ReportContext(series_started=NOW, created=NOW)
    return AnalysisRequest(
        data=data,
        circumstances=Circumstances(requestor=sender, received_at=NOW),
        rules=(RULE,),
        rules_digest="0" * 64,
        profiles={"pacs": DEFAULT},
        context=context,
    )


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compute]:
    pool = Compute(settings(tmp_path_factory.mktemp("compute")), workers=2, timeout_seconds=TIMEOUT)
    pool.start()
    yield pool
    pool.stop(grace_seconds=5)
    assert active_children() == []


def workers() -> list[int]:
    return sorted(child.pid for child in active_children() if child.pid is not None)


def test_work_is_done_and_comes_back_whole(compute: Compute) -> None:
    analysis = compute.analyse(request()).result(TIMEOUT)
    assert isinstance(analysis, Analysis)
    assert tuple(each.label for each in analysis.findings) == analysis.algorithm.labels
    report = ReportRequest(
        readings=(analysis.record(),),
        algorithm=analysis.algorithm,
        renditions=DEFAULT.renditions,
        context=ReportContext(series_started=NOW, created=NOW),
    )
    assert [result.kind for result in compute.compose((report,)).result(TIMEOUT).objects] == ["sr", "summary"]


def test_what_the_work_raises_comes_back_as_itself(compute: Compute) -> None:
    with pytest.raises(InstanceUnreadable, match="not DICOM"):
        compute.analyse(request(b"hello")).result(TIMEOUT)


def test_what_it_declines_comes_back(compute: Compute) -> None:
    dataset = phantom.radiograph(rows=64, columns=64)
    dataset.BodyPartExamined = "KNEE"
    outcome = compute.analyse(request(phantom.save(dataset))).result(TIMEOUT)
    assert outcome == Declined(reason="BodyPartExamined says KNEE; the model reads the chest")


def test_a_killed_worker_costs_its_own_work_and_is_replaced(compute: Compute) -> None:
    for pid in workers():
        os.kill(pid, signal.SIGSTOP)
    stopped = workers()
    lost = [compute.analyse(request()) for _ in stopped]
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)
    for future in lost:
        with pytest.raises(WorkerLost, match="its worker died"):
            future.result(TIMEOUT)
    assert isinstance(compute.analyse(request()).result(TIMEOUT), Analysis)


def test_a_worker_killed_while_idle_costs_nothing(compute: Compute) -> None:
    assert all(isinstance(compute.analyse(request()).result(TIMEOUT), Analysis) for _ in range(2))
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert isinstance(compute.analyse(request()).result(TIMEOUT), Analysis)


def test_the_time_to_load_is_not_taken_from_the_work(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform, asked = _Worker.perform, list[tuple[str, float]]()
    lost = [WorkerLost("the model was not loaded in time")]

    def recorded(self: _Worker, task: Any, timeout: float) -> Any:
        asked.append((task.entry, timeout))
        if task.entry == "load" and lost:
            raise lost.pop()
        return perform(self, task, timeout)

    monkeypatch.setattr(_Worker, "perform", recorded)
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    # nothing was begun, so that no attempt is counted
    error = compute.analyse(request()).exception(TIMEOUT)
    assert type(error) is TransientError
    assert str(error) == "no worker could be started: the model was not loaded in time"
    assert isinstance(compute.analyse(request()).result(TIMEOUT), Analysis)
    assert asked == [("load", _LOAD_SECONDS), ("load", _LOAD_SECONDS), ("analyse", TIMEOUT)]


def test_a_worker_that_hangs_is_ended_and_the_other_works_on(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    # both have loaded
    for future in [compute.analyse(request()) for _ in range(4)]:
        future.result(TIMEOUT)
    hung = workers()[0]
    # the one that hangs is waited for less long, and the one that follows it is not
    theirs = {slot._worker._process.pid: slot for slot in compute._slots if slot._worker is not None}
    short = [2.0]
    patience = property(lambda slot: short.pop() if slot is theirs[hung] and short else TIMEOUT)
    monkeypatch.setattr(_Slot, "_timeout", patience, raising=False)
    os.kill(hung, signal.SIGSTOP)
    futures = [compute.analyse(request()) for _ in range(3)]
    outcomes = [future.exception(TIMEOUT) for future in futures]
    assert sorted(str(outcome) for outcome in outcomes) == [
        "None",
        "None",
        "it took longer than analysis.timeout_seconds, and its worker was ended",
    ]
    assert hung not in workers()


def test_a_model_that_cannot_be_loaded_stops_the_start(tmp_path: Path) -> None:
    pool = Compute(settings(tmp_path, "densenet121-res224-all"), workers=1, timeout_seconds=TIMEOUT)
    try:
        with pytest.raises(ModelUnusable, match="models fetch densenet121-res224-all"):
            pool.start()
    finally:
        pool.stop(grace_seconds=0)


def test_work_that_was_not_begun_is_cancelled_at_the_end(tmp_path: Path) -> None:
    pool = Compute(settings(tmp_path), workers=1, timeout_seconds=TIMEOUT)
    waiting = pool.analyse(request())
    pool.stop(grace_seconds=0)
    assert waiting.cancelled()


@dataclass(frozen=True)
class Poison:
    """Does something in the worker when that reads its task: what a broken codec could do."""

    act: Callable[..., object]
    arguments: tuple[object, ...]

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.act, self.arguments


class Hazardous(Compute):
    """Real workers; images of patients with these names carry poison."""

    POISON = MappingProxyType(
        {
            b"SEGFAULT": Poison(ctypes.string_at, (0,)),
            # beyond the limit of memory
            b"GLUTTON": Poison(bytes, (64 * 2**30,)),
        }
    )

    def analyse(self, request: AnalysisRequest) -> Future[Analysis | Declined]:
        for mark, poison in self.POISON.items():
            if mark in request.data:
                return super().analyse(replace(request, profiles={"poison": cast(Profile, poison)}))
        return super().analyse(request)


def test_a_codec_that_crashes_or_eats_memory_costs_its_image_and_no_other(tmp_path: Path) -> None:
    """From the durable state through real processes: tried again, then quarantined; the others are read."""
    policy = WorkPolicy(retry=RetryPolicy(base=timedelta(milliseconds=10), max_attempts=2))
    state = State(
        workitems=open_store(tmp_path / "node.db", policy=policy),
        spool=Spool(tmp_path / "spool"),
        results=Spool(tmp_path / "results"),
    )
    pool = Hazardous(settings(tmp_path), workers=2, timeout_seconds=TIMEOUT)
    dispatcher = Dispatcher(
        state,
        pool,
        profiles=PROFILES,
        poke_delivery=lambda: None,
        settings=DispatchSettings(worker="here", idle_seconds=0.05),
    )
    dispatcher.use_rules(RuleBook(rules=(RULE,)))
    for number, name in enumerate(("SEGFAULT", "GLUTTON", "WELL", "ALSO^WELL")):
        dataset = phantom.radiograph(rows=64, columns=64, study=name)
        dataset.PatientName = name
        stored = state.spool.write(phantom.save(dataset))
        instance = received(str(number), study=str(number), at=now_utc())
        state.workitems.record_received(replace(instance, path=stored.path))
    pool.start()
    dispatcher.start()
    try:
        deadline = time.monotonic() + TIMEOUT
        while any("RECEIVED" in line.instances for line in state.workitems.list_studies()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        images = [state.workitems.show_study(number).instances[0] for number in (1, 2, 3, 4)]
        assert [str(image.state) for image in images] == 2 * ["QUARANTINED"] + 2 * ["ANALYSED"]
        assert images[0].reason == "its worker died (SIGSEGV) (2 attempts failed)"
        assert "2 attempts failed" in (images[1].reason or "")
        assert {each.study_number for each in state.workitems.list_quarantined()} == {1, 2}
        for number in (1, 2):
            happened = [each.what for each in state.workitems.show_study(number).events]
            assert happened == ["received", "claimed", "failed", "claimed", "quarantined"]
    finally:
        dispatcher.stop(0.0)
        pool.stop(grace_seconds=0)
        state.close()


def test_no_process_to_be_had_is_told_as_such_and_passes(tmp_path: Path) -> None:
    """A node out of file descriptors: the work was not begun, and goes on when there are some again."""
    pool = Compute(settings(tmp_path), workers=1, timeout_seconds=TIMEOUT)
    others = set(workers())
    pool.start()
    (pid,) = set(workers()) - others
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        error = pool.analyse(request()).exception(TIMEOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert type(error) is TransientError
    assert str(error) == "no worker could be started: Too many open files"
    assert isinstance(pool.analyse(request()).result(TIMEOUT), Analysis)
    pool.stop(grace_seconds=5)
