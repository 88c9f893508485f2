"""Where analyses run: worker processes on this machine, each with a warm model.

A worker is a fresh interpreter (spawned) without database and network; the node's images and results it
reads and writes itself, where it was told of their folders. It has a memory limit and a hard time
limit; one that dies, hangs or runs out of memory costs its own piece of work one attempt and is replaced, and
nothing else is disturbed. For that each worker has a pipe and a thread of its own: pools whose workers share
a pipe stand still for good when one is killed while it reads or writes (docs/decisions/0001). torch,
highdicom and the decoders are imported in the workers only, so that the receiving process stays small.
"""

from __future__ import annotations

import importlib
import multiprocessing
import queue
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from mcads_node import metrics
from mcads_node.errors import ModelUnusable, NodeError, TransientError
from mcads_node.instance import Declined
from mcads_node.task import Analysis, AnalysisRequest, Composed, ReportRequest, Scored, WorkerSettings

#: how long a worker that has closed its pipe may take to be gone
_EXIT_SECONDS = 10.0
#: how long a new one may take to load the model; on a machine with much else to do that is minutes
_LOAD_SECONDS = 600.0


class WorkerLost(TransientError):
    """The process that did the work died, hung or ran out of memory; the work may have been the reason."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    #: function of :mod:`mcads_node.worker`
    entry: str
    arguments: tuple[Any, ...] = ()
    future: Future[Any] = field(default_factory=Future)
    #: what is said of it where its time runs out
    overdue: str = "it took longer than analysis.timeout_seconds, and its worker was ended"


class Compute:
    """A pool of warm workers.

    Parameters
    ----------
    settings
        The same for all workers.
    workers
        How many processes.
    timeout_seconds
        A piece of work that takes longer is ended with its worker.
    """

    def __init__(self, settings: WorkerSettings, workers: int, timeout_seconds: float) -> None:
        self.workers = workers
        #: whether they read images and write results themselves
        self.shares_folders = settings.folders is not None
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._slots = [_Slot(settings, timeout_seconds, self._tasks) for _ in range(workers)]

    def start(self) -> None:
        """Start all workers, and let each load the model.

        Raises
        ------
        NodeError
            The model cannot be loaded, or a worker does not live long enough to say so.
        """
        for slot in self._slots:
            slot.start()
        for slot in self._slots:
            slot.ready.result()

    def analyse(self, request: AnalysisRequest) -> Future[Analysis | Declined]:
        """Submit one image; the future ends in a result, or in the NodeError that the work ended in."""
        return self._submit(_Task(entry="analyse", arguments=(request,)))

    def compose(self, requests: tuple[ReportRequest, ...]) -> Future[Composed]:
        """Submit one study's reports, one a model; the future ends as that of :meth:`analyse`."""
        return self._submit(_Task(entry="compose", arguments=(requests,)))

    def score(self, data: bytes) -> Future[Scored | Declined]:
        """Submit one image of an audit, DICOM or a picture; the future ends as that of :meth:`analyse`."""
        return self._submit(_Task(entry="score", arguments=(data,)))

    @property
    def alive(self) -> int:
        """How many workers live, and have loaded the model."""
        return sum(slot.is_ready() for slot in self._slots)

    def _submit(self, task: _Task) -> Future[Any]:
        self._tasks.put(task)
        return task.future

    def stop(self, grace_seconds: float) -> None:
        """Let the workers finish what they do for so long, then end them; what waits is not begun."""
        deadline = time.monotonic() + grace_seconds
        while True:
            try:
                waiting = self._tasks.get_nowait()
            except queue.Empty:
                break
            if waiting is not None:
                waiting.future.cancel()
        started = [slot for slot in self._slots if slot.is_alive()]
        for _ in started:
            self._tasks.put(None)
        for slot in started:
            slot.join(max(0.0, deadline - time.monotonic()))
        # each thread ends with its worker, and closes what it had to it: two threads must not close one pipe
        for slot in started:
            slot.kill()
        for slot in started:
            slot.join(_EXIT_SECONDS)


class _Slot(threading.Thread):
    """One worker at a time, and the thread that speaks with it."""

    def __init__(
        self, settings: WorkerSettings, timeout_seconds: float, tasks: queue.SimpleQueue[_Task | None]
    ) -> None:
        super().__init__(name="compute", daemon=True)
        self.ready: Future[None] = Future()
        self._settings = settings
        self._timeout = timeout_seconds
        self._tasks = tasks
        self._worker: _Worker | None = None

    def run(self) -> None:
        self._begin()
        while (task := self._tasks.get()) is not None:
            if task.future.set_running_or_notify_cancel():
                self._perform(task)
        self._drop()

    def is_ready(self) -> bool:
        worker = self._worker
        return worker is not None and worker.has_loaded and worker.is_alive()

    def kill(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.kill()

    def _begin(self) -> None:
        try:
            self._have_worker()
        except NodeError as error:
            self.ready.set_exception(error)
        except OSError as error:
            self.ready.set_exception(_not_started(error))
        else:
            self.ready.set_result(None)

    def _have_worker(self) -> _Worker:
        """Give a worker that has loaded the model: the one there is, or a new one where that died.

        Raises
        ------
        OSError
            There is no process to be had.
        NodeError
            It did not load the model.
        """
        worker = self._worker
        # one that died while it had nothing to do is no fault of the next work
        if worker is not None and worker.is_alive():
            return worker
        self._drop()
        self._worker = worker = _Worker(self._settings)
        try:
            late = f"the model was not loaded within {_LOAD_SECONDS:g} s"
            worker.perform(_Task(entry="load", overdue=late), _LOAD_SECONDS)
        except NodeError:
            self._drop()
            raise
        worker.has_loaded = True
        return worker

    def _perform(self, task: _Task) -> None:
        try:
            worker = self._have_worker()
        except (OSError, NodeError) as error:
            # it could be loaded once: so it is the machine that fails, and the work was not begun
            task.future.set_exception(_not_started(error))
            return
        try:
            task.future.set_result(worker.perform(task, self._timeout))
        except WorkerLost as error:
            metrics.worker_ended("timeout" if worker.overdue else "crash")
            self._drop()
            task.future.set_exception(error)
        except ModelUnusable as error:
            # likewise: its memory, or its device
            self._drop()
            task.future.set_exception(WorkerLost(str(error)))
        except NodeError as error:
            task.future.set_exception(error)

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


def _not_started(error: OSError | NodeError) -> TransientError:
    # too many processes or files, no memory, or no time: that says nothing about any work
    said = error.strerror if isinstance(error, OSError) else str(error)
    return TransientError(f"no worker could be started: {said}")


class _Worker:
    """One process."""

    def __init__(self, settings: WorkerSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # the last open end of theirs is then the worker's: when it dies, we read the end of the pipe
        with ExitStack() as undo, theirs:
            undo.callback(self._pipe.close)
            self._process: SpawnProcess = context.Process(
                target=_in_worker, args=(theirs, settings), daemon=True
            )
            self._process.start()
            undo.pop_all()
        self._lock = threading.Lock()
        self.overdue = False
        self.has_loaded = False

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End the process; for any thread."""
        self._process.kill()

    def end(self) -> None:
        """End the process and let go of it; for the thread that speaks with it."""
        self._process.kill()
        self._process.join(_EXIT_SECONDS)
        self._pipe.close()

    def perform(self, task: _Task, timeout: float) -> Any:
        """Have `task` done; raises what the work raised, or WorkerLost."""
        # also guards the sending: a worker that does not read would block it
        timer = threading.Timer(timeout, self._expire)
        timer.daemon = True
        timer.start()
        try:
            self._pipe.send((task.entry, task.arguments))
            kind, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(_EXIT_SECONDS)
            raise WorkerLost(self._manner_of_death(task)) from error
        except Exception as error:  # what it said cannot be read
            raise WorkerLost(f"no worker could be used: {type(error).__name__}") from error
        finally:
            timer.cancel()
        with self._lock:
            if self.overdue:
                raise WorkerLost(self._manner_of_death(task))
        if kind == "done":
            return value
        if kind == "raised":
            raise value
        raise WorkerLost(f"the work failed with an unforeseen {value}")

    def _expire(self) -> None:
        with self._lock:
            self.overdue = True
            self._process.kill()

    def _manner_of_death(self, task: _Task) -> str:
        if self.overdue:
            return task.overdue
        code = self._process.exitcode
        if code is None:
            return "its worker does not answer any more"
        return f"its worker died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def _in_worker(pipe: Connection, settings: WorkerSettings) -> None:
    # only here is the module imported that brings torch
    importlib.import_module("mcads_node.worker").serve(pipe, settings)
