"""Dispatch: claims workitems, submits them to compute, renews leases, commits what comes back.

One thread. It sleeps until it is poked (something was received, a worker is done) or something may be due;
nothing is looked for in a busy loop. What it holds under lease is in memory only: if this process dies, the
leases run out and the items are scheduled again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from mcads_node.compute import Compute
from mcads_node.config import Rule
from mcads_node.errors import NodeError, PermanentError, TransientError
from mcads_node.instance import Declined
from mcads_node.profile import OF_IMAGES, Profile, wanted
from mcads_node.result import ObjectKind, ReportContext, ResultObject
from mcads_node.state import State
from mcads_node.task import Analysis, AnalysisRequest, Composed, ReadingRecord, ReportRequest
from mcads_node.workitems import (
    AnalysedImage,
    InstanceAnalysed,
    InstanceDeclined,
    Kind,
    StoredResult,
    StudyForReport,
    Workitem,
)

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """How the dispatcher holds its leases."""

    #: name of this node in leases and events
    worker: str
    #: a lease that is not renewed for so long has run out
    lease: timedelta = timedelta(seconds=60)
    #: how long to sleep where nothing is known to be due; others may have scheduled work
    idle_seconds: float = 1.0


class Dispatcher:
    """Moves work from the durable state to the workers and back.

    Parameters
    ----------
    state
        The durable state.
    compute
        Where the work is done.
    profiles
        What each destination wants, by its name.
    poke_delivery
        Called when new deliveries are due.
    """

    def __init__(
        self,
        state: State,
        compute: Compute,
        *,
        profiles: Mapping[str, Profile],
        poke_delivery: Callable[[], None],
        settings: DispatchSettings,
    ) -> None:
        self._workitems = state.workitems
        self._spool = state.spool
        self._results = state.results
        self._compute = compute
        self._profiles = dict(profiles)
        self._poke_delivery = poke_delivery
        self._settings = settings
        self._rules: tuple[Rule, ...] = ()
        self._held: dict[int, Workitem] = {}
        #: finished futures, and None for a poke
        self._inbox: queue.SimpleQueue[tuple[Workitem, Future[Any]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatch")

    def use_rules(self, rules: tuple[Rule, ...]) -> None:
        """Route by `rules` from the next image on."""
        self._rules = rules

    def start(self) -> None:
        """Start to claim."""
        self._thread.start()

    def poke(self) -> None:
        """Look for work now."""
        self._inbox.put(None)

    def stop(self, grace_seconds: float) -> None:
        """Claim nothing more, let what runs finish for so long, and give the rest back."""
        self._stopping.set()
        self.poke()
        self._thread.join(grace_seconds)
        for item in list(self._held.values()):
            self._workitems.release(item, "the node is shutting down")
            self._held.pop(item.number, None)

    # --- the loop

    def _run(self) -> None:
        renew_every = self._settings.lease.total_seconds() / 3
        renew_at = time.monotonic() + renew_every
        while not (self._stopping.is_set() and not self._held):
            try:
                if not self._stopping.is_set():
                    self._claim()
                if time.monotonic() >= renew_at:
                    self._workitems.renew(list(self._held.values()), self._settings.lease)
                    renew_at = time.monotonic() + renew_every
                self._take_in(self._settings.idle_seconds)
            except NodeError as error:
                # the database is locked, full or away: leases guard what is held, so waiting is safe
                log.error("dispatch.stalled", reason=str(error))
                self._stopping.wait(self._settings.idle_seconds)

    def _claim(self) -> None:
        free = self._compute.workers - len(self._held)
        if free <= 0:
            return
        for item in self._workitems.claim(self._settings.worker, self._settings.lease, limit=free):
            self._held[item.number] = item
            self._submit(item)

    def _submit(self, item: Workitem) -> None:
        try:
            future: Future[Any]
            if item.kind is Kind.ANALYSE:
                future = self._compute.analyse(self._analysis_request(item))
            else:
                future = self._compute.compose(self._report_request(item))
        except NodeError as error:
            # should the failure not be recorded either, the lease runs out
            del self._held[item.number]
            self._fail(item, error)
            return
        future.add_done_callback(lambda done: self._inbox.put((item, done)))

    def _take_in(self, timeout: float) -> None:
        """Wait for one message, then take all that are there."""
        try:
            message = self._inbox.get(timeout=timeout)
            while True:
                if message is not None:
                    self._finish(*message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return

    # --- what a worker is told

    def _analysis_request(self, item: Workitem) -> AnalysisRequest:
        assert item.instance is not None  # noqa: S101 - every analyse item has one (a CHECK in the schema)
        return AnalysisRequest(
            data=self._spool.read(item.instance.path),
            requestor=item.instance.requestor,
            rules=self._rules,
            profiles=self._profiles,
            context=ReportContext(series_started=item.study_first_received_at, created=datetime.now(UTC)),
        )

    def _report_request(self, item: Workitem) -> ReportRequest:
        study = self._workitems.study_for_report(item)
        images, others = _read_by_one_algorithm(study)
        return ReportRequest(
            readings=tuple(self._reading(image) for image in images),
            algorithm=images[-1].analysis.algorithm,
            renditions=wanted(self._profiles, study.send_to, set(ObjectKind) - OF_IMAGES),
            predecessors={
                (each.kind, each.variant): (
                    each.sop_class_uid,
                    each.sop_instance_uid,
                    each.series_instance_uid,
                )
                for each in study.predecessors
            },
            context=ReportContext(
                series_started=study.first_received_at,
                created=datetime.now(UTC),
                revision=study.revision,
                unread=study.unread + others,
            ),
        )

    def _reading(self, image: AnalysedImage) -> ReadingRecord:
        analysis = image.analysis
        return ReadingRecord(
            view=analysis.view,
            findings=analysis.findings,
            checks=analysis.checks,
            header=analysis.header,
            thumbnail=self._results.read(analysis.thumbnail) if analysis.thumbnail else b"",
            heatmaps=tuple(
                (result.sop_class_uid, result.sop_instance_uid, result.variant)
                for result in analysis.objects
                if result.kind is ObjectKind.HEATMAP
            ),
        )

    # --- what a worker gave back

    def _finish(self, item: Workitem, future: Future[Any]) -> None:
        if item.number not in self._held:
            return  # given back at shutdown
        try:
            self._commit(item, future)
        except TransientError:
            # the state cannot take it now; that is no fault of the work, and what it gave is kept
            self._inbox.put((item, future))
            raise
        del self._held[item.number]

    def _commit(self, item: Workitem, future: Future[Any]) -> None:
        failure = future.exception()
        if isinstance(failure, NodeError):
            self._fail(item, failure)
            return
        try:
            if item.kind is Kind.ANALYSE:
                completed = self._complete_analysis(item, future.result())
            else:
                completed = self._complete_report(item, future.result())
        except PermanentError as error:
            self._fail(item, error)
            return
        if not completed:
            log.warning("work.lease_lost", workitem=item.number, study=item.study_instance_uid)

    def _complete_analysis(self, item: Workitem, outcome: Analysis | Declined) -> bool:
        if isinstance(outcome, Declined):
            log.info("instance.declined", study=item.study_instance_uid, reason=outcome.reason)
            return self._workitems.complete_analysis(item, InstanceDeclined(reason=outcome.reason))
        log.info("instance.analysed", study=item.study_instance_uid, rule=outcome.route.rule)
        return self._workitems.complete_analysis(
            item,
            InstanceAnalysed(
                route=outcome.route.rule,
                algorithm=outcome.algorithm,
                findings=outcome.findings,
                checks=outcome.checks,
                view=outcome.view,
                header=outcome.header,
                thumbnail=self._results.write(outcome.thumbnail).path,
                objects=tuple(self._store(result) for result in outcome.objects),
                omitted=outcome.omitted,
                send_to=outcome.route.send_to,
                quiet_seconds=outcome.route.quiet_seconds,
            ),
        )

    def _complete_report(self, item: Workitem, report: Composed) -> bool:
        study = self._workitems.study_for_report(item)
        due = {name: self._profiles[name].planned for name in study.send_to if name in self._profiles}
        stored = [self._store(result) for result in report.objects]
        completed = self._workitems.complete_report(item, stored, due, report.omitted)
        log.info("study.reported", study=item.study_instance_uid, revision=study.revision)
        self._poke_delivery()
        return completed

    def _store(self, result: ResultObject) -> StoredResult:
        return StoredResult.of(result, self._results.write(result.data))

    def _fail(self, item: Workitem, error: NodeError) -> None:
        state = self._workitems.fail(item, str(error), permanent=isinstance(error, PermanentError))
        log.warning(
            "work.failed",
            workitem=item.number,
            study=item.study_instance_uid,
            state=state,
            reason=str(error),
        )


def _read_by_one_algorithm(study: StudyForReport) -> tuple[tuple[AnalysedImage, ...], tuple[str, ...]]:
    """Keep the images that the newest algorithm read (a report speaks for one); say what is left out."""
    newest = study.images[-1].analysis.algorithm
    kept = tuple(image for image in study.images if image.analysis.algorithm == newest)
    left = len(study.images) - len(kept)
    if not left:
        return kept, ()
    return kept, (
        f"{left} image(s) were read by another version of the model: see the report before this one",
    )
