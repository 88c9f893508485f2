"""The node's driver of a Ray cluster, in a process of its own.

Ray ends the process of a driver whose head is gone for good, and there is no way to tell it not to; it also
brings threads, signal handlers and 100 MB. None of that is to befall the process that receives. So the node
has this process, and a new one after each loss.

It answers each request once, and says how many actors are ready whenever that changes, and that it reaches
the head, every few seconds. It ends with its pipe.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import ray

from mcads_node import __version__
from mcads_node.cluster.actor import DONE, RAISED, Reader
from mcads_node.cluster.settings import ClusterSettings

#: what a message to the node is
ANSWER, READY, BEAT, UNFIT = "answer", "ready", "beat", "unfit"
#: how an answer begins where the cluster failed, and not the work
LOST = "lost"

_BEAT_SECONDS = 2.0
#: an actor that does not answer for so long is given up: it answers while it works
_PING_SECONDS = 30.0
#: pause before an actor that failed is made anew
_PAUSE_SECONDS = 5.0


def serve(pipe: Connection, settings: ClusterSettings) -> None:
    """Do what comes over `pipe` on the cluster, until it ends.

    Parameters
    ----------
    pipe
        Gives triples of a number, the name of a method of `Compute`, and its arguments.
    settings
        How the cluster is used.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address=settings.address,
        # so that two nodes on one cluster do not meet
        namespace=f"mcads-{uuid.uuid4().hex}",
        log_to_driver=False,
        configure_logging=True,
        logging_level=logging.CRITICAL,
    )
    broker = _Broker(pipe, settings)
    with suppress(EOFError, OSError):
        broker.run()
    # in good order Ray waits for what is running; the actors end with their driver in any case
    os._exit(0)


class _Broker:
    def __init__(self, pipe: Connection, settings: ClusterSettings) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._settings = settings
        self._lock = threading.Lock()
        #: pieces of work that each ready actor has
        self._loads: dict[Any, int] = {}
        self._threads = ThreadPoolExecutor(settings.max_in_flight, thread_name_prefix="work")
        options = {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus}
        # it answers pings while it works
        self._reader: Any = ray.remote(max_restarts=0, max_concurrency=settings.max_in_flight + 2, **options)(
            Reader
        )

    def run(self) -> None:
        for number in range(self._settings.workers):
            threading.Thread(target=self._keep_actor, name=f"actor-{number}", daemon=True).start()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        while True:
            self._threads.submit(self._perform, *self._pipe.recv())

    def _tell(self, *message: Any) -> None:
        with self._sending:
            self._pipe.send(message)

    def _beat(self) -> None:
        """Say that the head answers; while it does not, this waits, and the node draws its conclusion."""
        while True:
            ray.cluster_resources()
            self._tell(BEAT)
            time.sleep(_BEAT_SECONDS)

    # --- actors

    def _keep_actor(self) -> None:
        """Have one actor, for as long as this process lives: a new one after each that is lost."""
        while True:
            try:
                self._use(self._reader.remote(self._settings, __version__))
            except (ray.exceptions.RayError, ConnectionError) as error:
                self._tell(UNFIT, f"an actor was lost: {_first_line(error)}")
            time.sleep(_PAUSE_SECONDS)

    def _use(self, actor: Any) -> None:
        # it may wait long for a place: an autoscaler has to start a machine first
        kind, value = ray.get(actor.begin.remote())
        if kind == RAISED:
            self._tell(UNFIT, str(value))
            ray.kill(actor)
            return
        try:
            self._change(actor, 0)
            while True:
                ray.get(actor.ping.remote(), timeout=_PING_SECONDS)
                time.sleep(_BEAT_SECONDS)
        finally:
            self._change(actor, None)

    def _change(self, actor: Any, load: int | None) -> None:
        with self._lock:
            self._loads.pop(actor, None)
            if load is not None:
                self._loads[actor] = load
            ready = len(self._loads)
        self._tell(READY, ready)

    # --- work

    def _perform(self, number: int, entry: str, arguments: tuple[Any, ...]) -> None:
        actor = self._least_loaded()
        if actor is None:
            self._tell(ANSWER, number, LOST, "no actor of the cluster is ready")
            return
        try:
            kind, value = ray.get(actor.perform.remote(entry, arguments))
        except (ray.exceptions.RayError, ConnectionError) as error:
            kind, value = LOST, f"the cluster lost the work: {_first_line(error)}"
        finally:
            with self._lock:
                if actor in self._loads:
                    self._loads[actor] -= 1
        assert kind in (DONE, RAISED, LOST)  # noqa: S101 - the actor's words
        self._tell(ANSWER, number, kind, value)

    def _least_loaded(self) -> Any:
        with self._lock:
            if not self._loads:
                return None
            actor = min(self._loads, key=self._loads.__getitem__)
            self._loads[actor] += 1
            return actor


def _first_line(error: Exception) -> str:
    """Say what happened without Ray's report of it, which quotes whatever it has."""
    return type(error).__name__
