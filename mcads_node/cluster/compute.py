"""The node's end: submits work to a broker, and has a new broker whenever one is lost."""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import structlog

from mcads_node.cluster.settings import ClusterSettings
from mcads_node.errors import NodeError, TransientError
from mcads_node.instance import Declined
from mcads_node.task import Analysis, AnalysisRequest, Composed, ReportRequest

log = structlog.stdlib.get_logger(__name__)

#: a broker that says nothing for so long does not reach the head any more
_SILENCE_SECONDS = 30.0
#: the first word of one takes longer: Ray is large, and the head may not be there
_START_SECONDS = 120.0
_LOOK_SECONDS = 0.5
_EXIT_SECONDS = 10.0
#: pauses between brokers
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class ClusterLost(TransientError):
    """The cluster failed, and not the work: it is given back, and no attempt is counted."""


class ClusterCompute:
    """A pool of warm actors on a Ray cluster; to dispatch it is what `Compute` is.

    Parameters
    ----------
    settings
        How the cluster is used.
    """

    #: other machines have other folders
    shares_folders = False

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        #: of this broker; None while there is none
        self._pipe: Connection | None = None
        self._open: dict[int, Future[Any]] = {}
        self._ready = 0
        #: what was told since an actor was ready: it is found again and again
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compute-cluster", daemon=True)

    def start(self) -> None:
        """Look for the cluster from now on. One that is away stops nothing but the analysis."""
        self._thread.start()

    @property
    def alive(self) -> int:
        """How many actors are ready."""
        return self._ready

    @property
    def workers(self) -> int:
        """How much work can be with the cluster now: two pieces an actor, so that none waits for its next."""
        return min(self._settings.max_in_flight, 2 * self._ready)

    def analyse(self, request: AnalysisRequest) -> Future[Analysis | Declined]:
        """Submit one image; the future ends in a result, or in the NodeError that the work ended in."""
        return self._submit("analyse", request)

    def compose(self, requests: tuple[ReportRequest, ...]) -> Future[Composed]:
        """Submit one study's reports, one a model; the future ends as that of :meth:`analyse`."""
        return self._submit("compose", requests)

    def stop(self, grace_seconds: float) -> None:
        """Let what is with the cluster end for so long, then let go of it."""
        deadline = time.monotonic() + grace_seconds
        while self._open and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_EXIT_SECONDS + _LOOK_SECONDS)

    def _submit(self, entry: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            number = next(self._numbers)
            pipe = self._pipe
            if pipe is None:
                future.set_exception(ClusterLost("the cluster cannot be reached"))
                return future
            self._open[number] = future
            # a pipe that broke is noticed by who reads it, and ends all that is open
            with suppress(OSError):
                pipe.send((number, entry, arguments))
        return future

    # --- brokers

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            was_ready = self._with_broker()
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE_SECONDS if was_ready else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._stopping.wait(pause)

    def _with_broker(self) -> bool:
        """Have one broker for as long as it lives; True where it had an actor at any time."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process: SpawnProcess = context.Process(
            target=_in_broker, args=(theirs, self._settings), daemon=True, name="broker"
        )
        with ours, theirs:
            try:
                process.start()
            except OSError as error:
                self._tell_lost(f"no process could be started: {error.strerror}")
                return False
            theirs.close()
            with self._lock:
                self._pipe = ours
            was_ready, why = self._listen(ours)
            self._let_go(process)
        if not self._stopping.is_set():
            self._tell_lost(why)
        return was_ready

    def _let_go(self, process: SpawnProcess) -> None:
        # first of all: who sends to one that does not read holds the lock until it is gone
        process.kill()
        process.join(_EXIT_SECONDS)
        with self._lock:
            self._pipe, lost, self._open = None, self._open, {}
            self._ready = 0
        for future in lost.values():
            future.set_exception(ClusterLost("the cluster was lost while it did the work"))

    def _listen(self, pipe: Connection) -> tuple[bool, str]:
        """Take in what the broker says until it is lost; whether it had an actor, and what it died of."""
        was_ready, heard, patience = False, time.monotonic(), _START_SECONDS
        while not self._stopping.is_set():
            if time.monotonic() - heard > patience:
                return was_ready, f"the head has not answered for {patience:g} s"
            try:
                if pipe.poll(_LOOK_SECONDS):
                    self._take_in(*pipe.recv())
                    heard, patience = time.monotonic(), _SILENCE_SECONDS
            except (EOFError, OSError):
                return was_ready, "its driver ended: the head is away, or does not accept it"
            was_ready = was_ready or self._ready > 0
        return was_ready, ""

    def _tell_lost(self, reason: str) -> None:
        if self._is_new(reason):
            log.error("cluster.lost", address=self._settings.address, reason=reason)

    def _is_new(self, reason: str) -> bool:
        known = reason in self._told
        self._told.add(reason)
        return not known

    def _take_in(self, what: str, *values: Any) -> None:
        if what == "ready":
            (self._ready,) = values
            log.info("cluster.ready", actors=self._ready)
            if self._ready:
                self._told.clear()
        elif what == "unfit":
            (reason,) = values
            if self._is_new(reason):
                log.error("cluster.unfit", address=self._settings.address, reason=reason)
        elif what == "answer":
            number, kind, value = values
            with self._lock:
                future = self._open.pop(number, None)
            if future is not None:
                _settle(future, kind, value)


def _settle(future: Future[Any], kind: str, value: Any) -> None:
    if kind == "done":
        future.set_result(value)
    elif kind == "raised" and isinstance(value, NodeError):
        future.set_exception(value)
    else:
        future.set_exception(ClusterLost(str(value)))


def _in_broker(pipe: Connection, settings: ClusterSettings) -> None:
    # only here is the module imported that brings Ray
    importlib.import_module("mcads_node.cluster.broker").serve(pipe, settings)
