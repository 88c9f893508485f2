"""The inside of a worker process: limits, warm classifiers, and the two kinds of work."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

import structlog

from mcads_node import analyse as steps
from mcads_node.allocator import keep_what_is_freed
from mcads_node.blas import use_one_thread
from mcads_node.calibration import calibration_for
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.companions import Companions, load_companions
from mcads_node.errors import NodeError
from mcads_node.filing import Filing
from mcads_node.instance import Declined
from mcads_node.logs import configure_logs
from mcads_node.model_store.store import ModelStore
from mcads_node.scoring import score
from mcads_node.task import Analysis, AnalysisRequest, Composed, ReportRequest, Scored, WorkerSettings

log = structlog.stdlib.get_logger(__name__)


def serve(pipe: Connection, settings: WorkerSettings) -> None:
    """Do what comes over `pipe`, one after the other, until it ends.

    Parameters
    ----------
    pipe
        Gives pairs of an entry's name and its arguments. Takes ``("done", result)``; ``("raised", error)``
        where the work ended in a NodeError; ``("failed", name of the exception)`` where nobody foresaw it.
    settings
        Of every worker.
    """
    _limit(settings)
    worker = _Work(settings)
    entries: dict[str, Callable[..., Any]] = {
        "load": worker.load,
        "analyse": worker.analyse,
        "compose": worker.compose,
        "score": worker.score,
    }
    # it ends in one of these two: a node that was killed breaks the pipe in the middle of a result
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            entry, arguments = pipe.recv()
            pipe.send(_answer(entries[entry], arguments))


def _answer(work: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "done", work(*arguments)
    except NodeError as error:
        return "raised", error
    except Exception as error:  # noqa: BLE001
        # A defect costs one image, never the node. The text of an unforeseen error may quote the data set:
        # only its type and its place are told.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        log.error("work.unforeseen", error=type(error).__name__, where=where)
        return "failed", type(error).__name__


def _limit(settings: WorkerSettings) -> None:
    configure_logs()
    keep_what_is_freed()
    use_one_thread()
    # Ctrl-C in a terminal reaches the whole process group; the node tells its workers itself when to end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = settings.memory_limit_mib * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End with the node, also where it was killed in the middle of work: nobody would take the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _Work:
    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._filing = Filing(settings.folders)
        #: warm, by name
        self._classifiers: dict[str, Classifier] = {}
        #: loaded with the first of them
        self._companions: Companions | None = None

    def _classifier(self, name: str | None) -> Classifier:
        """Give a model that is warm; None: the node's own."""
        name = name or self._settings.model
        if name not in self._classifiers:
            self._classifiers[name] = self._loaded(name)
        return self._classifiers[name]

    # One thread a worker, and more workers instead, unless somebody measured otherwise: OpenMP's threads wait
    # for one another by spinning, and on a machine that does anything else a forward pass of torch then takes
    # up to a hundred times as long (measured).
    def _loaded(self, name: str) -> Classifier:
        settings = self._settings
        store = ModelStore(models_dir=settings.models_dir, weights_dir=settings.weights_dir)
        store.require_allowed(name, allow_demonstration=settings.allow_demonstration)
        return load_classifier(
            store, name, threads=settings.threads, engine=settings.engine, precision=settings.precision
        )

    def _accompanying(self) -> Companions:
        """Give the models that accompany the classifiers, warm."""
        if self._companions is None:
            settings = self._settings
            store = ModelStore(models_dir=settings.models_dir, weights_dir=settings.weights_dir)
            self._companions = load_companions(store, settings.anatomy, settings.reconstruction)
        return self._companions

    def load(self) -> None:
        """Load the models that are in use now."""
        for name in (self._settings.model, *self._settings.others):
            engine = self._classifier(name).engine.described
            log.info("model.loaded", model=name, engine=engine, threads=self._settings.threads)
        self._accompanying()

    def analyse(self, request: AnalysisRequest) -> Analysis | Declined:
        self._let_go_of_others(request)
        settings = self._settings
        known = replace(
            self._filing.completed(request),
            default_model=settings.model,
            calibrations=settings.calibrations,
            triage=settings.triage,
        )
        outcome = steps.analyse(known, self._classifier, self._accompanying())
        # of a shadow nothing is kept but what was found
        return outcome if request.shadow or isinstance(outcome, Declined) else self._filing.filed(outcome)

    def _let_go_of_others(self, request: AnalysisRequest) -> None:
        """Forget models that were loaded and that no rule names any more."""
        named = {rule.analyse.model for rule in request.rules if rule.analyse is not None}
        for name in self._classifiers.keys() - {self._settings.model, request.model, *named}:
            del self._classifiers[name]

    def compose(self, requests: tuple[ReportRequest, ...]) -> Composed:
        made = [steps.compose(request) for request in requests]
        return self._filing.filed(
            Composed(
                objects=tuple(each for one in made for each in one.objects),
                omitted=tuple(each for one in made for each in one.omitted),
            )
        )

    def score(self, data: bytes) -> Scored | Declined:
        calibration = calibration_for(self._settings.calibrations, self._settings.model)
        return score(data, self._classifier(None).speaking_through(calibration))
