"""Analyses on a real Ray cluster, whose parts are killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mcads_node import __version__, phantom
from mcads_node.cluster import ClusterCompute, ClusterSettings
from mcads_node.cluster.actor import Reader
from mcads_node.compute import WorkerLost
from mcads_node.config import Rule, RuleBook
from mcads_node.dispatch import Dispatcher, DispatchSettings
from mcads_node.errors import InstanceUnreadable, ModelUnusable
from mcads_node.model_store.store import ModelStore
from mcads_node.profile import DEFAULT
from mcads_node.spool import Spool
from mcads_node.state import State
from mcads_node.task import Analysis
from mcads_node.workitems import now_utc, open_store
from tests.ray_cluster import RayCluster, ray_cluster
from tests.test_compute import request, settings
from tests.workitems_samples import received

RULE = Rule.model_validate({"name": "all", "when": {}, "analyse": {}, "send_to": ["pacs"]})
#: the machine is busy, and Ray starts many processes
PATIENCE = 100.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def cluster_settings(folder: Path, address: str) -> ClusterSettings:
    worker = settings(folder)
    store = ModelStore(models_dir=worker.models_dir, weights_dir=worker.weights_dir)
    return ClusterSettings(
        address=address,
        workers=1,
        num_cpus=0.5,
        num_gpus=0.5,
        max_in_flight=3,
        worker=worker,
        digests={worker.model: store.verify(worker.model)},
        timeout_seconds=60,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(processors=1) as running:
        yield running


@pytest.fixture(scope="module")
def compute(cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterCompute]:
    pool = ClusterCompute(cluster_settings(tmp_path_factory.mktemp("cluster"), cluster.address))
    pool.start()
    yield pool
    pool.stop(grace_seconds=0)


def hands(cluster: RayCluster) -> tuple[int, int]:
    """The actor's process, and that of the worker below it."""

    def look() -> tuple[int, int] | None:
        for actor in cluster.actors():
            for task in Path(f"/proc/{actor}/task").iterdir():
                for child in (task / "children").read_text().split():
                    if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return actor, int(child)
        return None

    found: tuple[int, int] = wait_for(look, "an actor has a worker")
    return found


def test_work_is_done_and_comes_back_whole(cluster: RayCluster, compute: ClusterCompute) -> None:
    wait_for(lambda: compute.alive == 1, "the actor is ready")
    # two an actor, so that none waits for its next
    assert compute.workers == 2
    done = [compute.analyse(request()) for _ in range(3)]
    for future in done:
        analysis = future.result(PATIENCE)
        assert isinstance(analysis, Analysis)
        assert len(analysis.findings) == 13
    # what the work raises comes back as itself
    with pytest.raises(InstanceUnreadable):
        compute.analyse(request(b"nothing")).result(PATIENCE)


def test_what_kills_the_worker_is_told_from_what_kills_the_actor(
    cluster: RayCluster, compute: ClusterCompute
) -> None:
    wait_for(lambda: compute.alive == 1, "the actor is ready")
    actor, worker = hands(cluster)
    # it is its worker that computes, and has to know which GPU it has a part of
    assert b"CUDA_VISIBLE_DEVICES=0" in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
    os.kill(worker, signal.SIGSTOP)
    future = compute.analyse(request())
    # until it has come to the worker, which is stopped and cannot say so; one that dies idle is only replaced
    time.sleep(3)
    os.kill(worker, signal.SIGKILL)
    # as an image would that crashes a codec: it is counted, and the actor lives
    assert isinstance(future.exception(PATIENCE), WorkerLost)
    assert isinstance(compute.analyse(request()).result(PATIENCE), Analysis)
    assert hands(cluster)[0] == actor


@contextmanager
def dispatching(folder: Path, compute: ClusterCompute) -> Iterator[State]:
    state = State(
        workitems=open_store(folder / "node.db"),
        spool=Spool(folder / "spool"),
        results=Spool(folder / "results"),
    )
    dispatcher = Dispatcher(
        state,
        compute,
        profiles={"pacs": DEFAULT},
        poke_delivery=lambda: None,
        settings=DispatchSettings(worker="here", lease=timedelta(minutes=5), idle_seconds=0.1),
    )
    dispatcher.use_rules(RuleBook(rules=(RULE,)))
    dispatcher.start()
    try:
        yield state
    finally:
        dispatcher.stop(0.0)
        state.close()


def receive(state: State, image: str) -> None:
    file = state.spool.write(phantom.save(phantom.radiograph(rows=64, columns=64, study=image)))
    state.workitems.record_received(replace(received(image, image, at=now_utc()), path=file.path))


def test_a_lost_actor_and_a_lost_head_cost_a_retry_and_nothing_else(
    cluster: RayCluster, compute: ClusterCompute, tmp_path: Path
) -> None:
    def is_claimed() -> bool:
        return bool(state.workitems.leases())

    def events(image: str) -> list[str]:
        return [each.what for each in state.workitems.show_study(f"1.2.3.{image}").events]

    def is_analysed(image: str) -> bool:
        return "analysed" in events(image)

    with dispatching(tmp_path, compute) as state:
        wait_for(lambda: compute.alive == 1, "the actor is ready")
        for image, loss in (("1", "actor"), ("2", "head")):
            actor, worker = hands(cluster)
            # it does not finish what it has
            os.kill(worker, signal.SIGSTOP)
            receive(state, image)
            wait_for(is_claimed, "it is claimed")
            if loss == "actor":
                os.kill(actor, signal.SIGKILL)
            else:
                cluster.kill()
                # while it is away nothing is claimed, and nothing fails
                wait_for(lambda: (compute.alive, compute.workers) == (0, 0), "the loss is noticed")
                wait_for(lambda: not is_claimed(), "the work is given back")
                cluster.start(processors=1)
            wait_for(partial(is_analysed, image), f"{image} is analysed all the same")
            # the worker of before went with its actor
            assert not Path(f"/proc/{worker}").exists()
            study = state.workitems.show_study(f"1.2.3.{image}")
            assert [
                (str(each.state), each.attempts) for each in study.workitems if each.kind == "analyse"
            ] == [("COMPLETED", 0)]
            assert events(image).count("analysed") == 1


@pytest.mark.parametrize(
    ("changes", "version", "said"),
    [
        ({"digests": {"mcads-demo": "0" * 64}}, __version__, "the node's 0000"),
        ({}, "0.0.1", "and the node is 0.0.1"),
    ],
)
def test_an_actor_with_another_model_or_version_is_not_used(
    tmp_path: Path, changes: dict[str, Any], version: str, said: str
) -> None:
    wanted = replace(cluster_settings(tmp_path, "nowhere:1"), **changes)
    kind, error = Reader(wanted, version).begin()
    assert kind == "raised"
    assert isinstance(error, ModelUnusable)
    assert said in str(error)
