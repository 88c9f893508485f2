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
import signal
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
#: an actor that may not be used is tried again, since somebody may have brought its machine up to date
_UNFIT_PAUSE_SECONDS = 30.0
#: an actor that does not answer for so long is given up: it answers while it works
_PING_SECONDS = 30.0
#: pause before one that was lost is made anew
_PAUSE_SECONDS = 1.0


def serve(pipe: Connection, settings: ClusterSettings) -> None:
    """Do what comes over `pipe` on the cluster, until it ends.

    Parameters
    ----------
    pipe
        Gives triples of a number, the name of a method of `Compute`, and its arguments.
    settings
        How the cluster is used.
    """
    # Ctrl-C in a terminal reaches the whole process group; the node ends this process itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray writes what it likes to both, also from C++; the node's log is made of events
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        ray.init(
            address=settings.address,
            # so that two nodes on one cluster do not meet
            namespace=f"mcads-{uuid.uuid4().hex}",
            log_to_driver=False,
            configure_logging=True,
            logging_level=logging.CRITICAL,
        )
    except Exception as error:  # noqa: BLE001 - of many kinds: no head, another version of Ray or Python, no token
        pipe.send((UNFIT, f"{settings.address} cannot be used: {_told(error)}"))
        return
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
        self._reader: Any = ray.remote(Reader).options(
            num_cpus=settings.num_cpus,
            num_gpus=settings.num_gpus,
            max_restarts=0,
            # it answers pings while it works
            max_concurrency=settings.max_in_flight + 2,
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
            ray.cluster_resources()  # type: ignore[no-untyped-call]
            self._tell(BEAT)
            time.sleep(_BEAT_SECONDS)

    # --- actors

    def _keep_actor(self) -> None:
        """Have one actor, for as long as this process lives: a new one after each that is lost."""
        while True:
            actor = self._reader.remote(self._settings, __version__)
            unfit = self._begin(actor)
            if unfit is None:
                self._watch(actor)
            else:
                self._tell(UNFIT, unfit)
            # one that hangs would keep its place, and what it was given would wait for ever
            ray.kill(actor)
            time.sleep(_PAUSE_SECONDS if unfit is None else _UNFIT_PAUSE_SECONDS)

    def _begin(self, actor: Any) -> str | None:
        """Have an actor load the models; says why it may not be used, or None."""
        try:
            # it may wait long for a place: an autoscaler has to start a machine first
            kind, value = ray.get(actor.begin.remote())
        except (ray.exceptions.RayError, ConnectionError) as error:
            return _told(error)
        return str(value) if kind == RAISED else None

    def _watch(self, actor: Any) -> None:
        """Give work to an actor for as long as it answers."""
        self._change(actor, 0)
        with suppress(ray.exceptions.RayError, ConnectionError):
            while True:
                ray.get(actor.ping.remote(), timeout=_PING_SECONDS)
                time.sleep(_BEAT_SECONDS)
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
            # no more is told of it: Ray quotes what it has
            kind, value = LOST, f"the cluster lost the work: {type(error).__name__}"
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


def _told(error: Exception) -> str:
    """Say what happened before there was any work, in one line: the last of Ray's is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else 'no reason was given'}"
