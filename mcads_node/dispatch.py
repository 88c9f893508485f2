"""Dispatch: claims workitems, submits them to compute, renews leases, commits what comes back.

One thread. It sleeps until it is poked (something was received, a worker is done) or something may be due;
nothing is looked for in a busy loop. What it holds under lease is in memory only: if this process dies, the
leases run out and the items are scheduled again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from mcads_node import metrics, pulse
from mcads_node.compute import Compute, WorkerLost
from mcads_node.config import Rule
from mcads_node.errors import FileUnreadable, NodeError, PermanentError, TransientError
from mcads_node.instance import Declined
from mcads_node.profile import DEFAULT, OF_IMAGES, Profile, wanted
from mcads_node.result import ObjectKind, Rendition, ReportContext
from mcads_node.spool import StoredFile
from mcads_node.state import State
from mcads_node.task import Analysis, AnalysisRequest, Composed, HeatmapRecord, ReadingRecord, ReportRequest
from mcads_node.workitems import (
    AnalysedImage,
    InstanceAnalysed,
    InstanceDeclined,
    Kind,
    StoredResult,
    StudyForReport,
    Workitem,
    WorkState,
)

log = structlog.stdlib.get_logger(__name__)

#: a dispatcher that is silent for longer stands still; it may wait for the database for minutes
_SILENCE_SECONDS = 900.0
#: nothing is claimed for so long at most, after work that had to be given back
_LONGEST_PAUSE_SECONDS = 30.0

#: number of an item and Transaction UID: items that are claimed together share the latter, and one that is
#: claimed again has another
_Claim = tuple[int, str]


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
        self._installation = state.workitems.installation()
        self._spool = state.spool
        self._results = state.results
        self._compute = compute
        self._profiles = dict(profiles)
        self._poke_delivery = poke_delivery
        self._settings = settings
        self._rules: tuple[Rule, ...] = ()
        self._held: dict[_Claim, Workitem] = {}
        #: files written for an item and not on record yet
        self._written: dict[_Claim, list[StoredFile]] = {}
        #: finished futures, and None for a poke
        self._inbox: queue.SimpleQueue[tuple[Workitem, Future[Any]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        #: while nothing can be done, and that was told
        self._stalled = False
        #: work was given back so often in a row; nothing is claimed until then (monotonic)
        self._given_back = 0
        self._resume_at = 0.0
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
        for claim, item in list(self._held.items()):
            try:
                self._workitems.release(item, "the node is shutting down")
            except NodeError as error:
                # the others are tried all the same; this one's lease runs out
                log.error("work.unrecorded", workitem=item.number, reason=str(error))
            self._held.pop(claim, None)

    # --- the loop

    def _run(self) -> None:
        renew_every = self._settings.lease.total_seconds() / 3
        renew_at = time.monotonic() + renew_every
        while not (self._stopping.is_set() and not self._held):
            pulse.beat(within=_SILENCE_SECONDS)
            try:
                if time.monotonic() >= renew_at:
                    self._renew()
                    renew_at = time.monotonic() + renew_every
                if not self._stopping.is_set() and time.monotonic() >= self._resume_at:
                    self._claim()
                self._take_in(self._settings.idle_seconds)
            except TransientError as error:
                self._stall(error)
            else:
                self._go_on()
        pulse.rest()

    def _stall(self, error: TransientError) -> None:
        """Wait: the database is locked, full or away. Leases guard what is held, so that is safe."""
        if not self._stalled:
            log.error("dispatch.stalled", reason=str(error))
        self._stalled = True
        if self._stopping.is_set():
            # the event would not wait any more
            time.sleep(self._settings.idle_seconds)
        else:
            self._stopping.wait(self._settings.idle_seconds)

    def _go_on(self) -> None:
        if self._stalled:
            log.info("dispatch.resumed")
        self._stalled = False

    def _renew(self) -> None:
        kept = self._workitems.renew(list(self._held.values()), self._settings.lease)
        for claim in self._held.keys() - {_claim(item) for item in kept}:
            self._lost(self._held.pop(claim))

    def _claim(self) -> None:
        free = self._compute.workers - len(self._held)
        if free <= 0:
            return
        items = self._workitems.claim(self._settings.worker, self._settings.lease, limit=free)
        # all are held before the first is looked at: whatever befalls that one, the others are not forgotten
        self._held.update({_claim(item): item for item in items})
        for item in items:
            self._submit(item)

    def _submit(self, item: Workitem) -> None:
        future: Future[Any]
        try:
            if item.kind is Kind.ANALYSE:
                future = self._compute.analyse(self._analysis_request(item))
            else:
                future = self._compute.compose(self._report_request(item))
        except Exception as error:  # noqa: BLE001 - it ends as the work's own failure would, in one place
            future = Future()
            future.set_exception(error)
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
            context=ReportContext(
                installation=self._installation_for(item.patient_number),
                series_started=item.study_first_received_at,
                created=datetime.now(UTC),
            ),
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
                installation=self._installation_for(study.patient_number),
                series_started=study.first_received_at,
                created=datetime.now(UTC),
                revision=study.revision,
                unread=study.unread + others,
            ),
        )

    def _installation_for(self, patient_number: int) -> str:
        """Name the installation, and the patient where the study was moved to another.

        The images may have the UIDs that they had before, and their results must not.
        """
        return self._installation if patient_number == 1 else f"{self._installation}/{patient_number}"

    def _reading(self, image: AnalysedImage) -> ReadingRecord:
        analysis = image.analysis
        thumbnail = self._picture(analysis.thumbnail)
        return ReadingRecord(
            view=analysis.view,
            findings=analysis.findings,
            checks=analysis.checks,
            header=analysis.header,
            thumbnail=thumbnail,
            shown=analysis.shown if thumbnail else None,
            heatmaps=tuple(
                HeatmapRecord(
                    referenced=(result.sop_class_uid, result.sop_instance_uid, result.series_instance_uid),
                    variant=result.variant,
                )
                for result in analysis.objects
                if result.kind is ObjectKind.HEATMAP
            ),
        )

    def _picture(self, thumbnail: str | None) -> bytes:
        """Read a thumbnail; empty where it was let go, or is lost: the report is made without it."""
        if thumbnail is None:
            return b""
        try:
            return self._results.read(thumbnail)
        except (FileUnreadable, PermanentError) as error:
            log.warning("thumbnail.lost", reason=str(error))
            return b""

    # --- what a worker gave back

    def _finish(self, item: Workitem, future: Future[Any]) -> None:
        claim = _claim(item)
        if claim not in self._held:
            self._written.pop(claim, None)
            return  # given back at shutdown, or the lease was lost
        try:
            self._commit(item, future)
        except TransientError:
            # the state cannot take it now; that is no fault of the work, and what it gave is kept
            self._inbox.put((item, future))
            raise
        except NodeError as error:
            # not even the failure could be recorded: the lease runs out, and is counted then
            log.error("work.unrecorded", workitem=item.number, reason=str(error))
        self._held.pop(claim, None)
        # Files that came to be no record's are left to Tender, which asks the record first: a commit may have
        # succeeded although its answer was lost.
        self._written.pop(claim, None)

    def _commit(self, item: Workitem, future: Future[Any]) -> None:
        failure = future.exception()
        if failure is not None:
            self._record_failure(item, failure)
            return
        try:
            if item.kind is Kind.ANALYSE:
                completed = self._complete_analysis(item, future.result())
            else:
                completed = self._complete_report(item, future.result())
        except PermanentError as error:
            self._record_failure(item, error)
            return
        self._given_back = 0
        if not completed:
            self._lost(item)

    def _record_failure(self, item: Workitem, failure: BaseException) -> None:
        if isinstance(failure, TransientError) and not isinstance(failure, WorkerLost | FileUnreadable):
            # the disk or the database could not be asked: nothing was tried, so no attempt is counted
            self._workitems.release(item, str(failure))
            log.warning("work.given_back", workitem=item.number, reason=str(failure))
            self._pause()
            return
        self._given_back = 0
        # the text of an unforeseen error may quote a data set: only its type is told
        known = isinstance(failure, NodeError)
        reason = str(failure) if known else f"an unforeseen {type(failure).__name__}"
        state = self._workitems.fail(item, reason, permanent=isinstance(failure, PermanentError))
        log.warning(
            "work.failed", workitem=item.number, study=item.study_instance_uid, state=state, reason=reason
        )
        metrics.work_failed(item.kind.value, failure, quarantined=state is WorkState.CANCELED)

    def _pause(self) -> None:
        """Claim nothing for a while: what failed for one would fail for all. What runs goes on."""
        if time.monotonic() < self._resume_at:
            return  # several were claimed together
        seconds = self._settings.idle_seconds * 2 ** min(self._given_back, 16)
        self._resume_at = time.monotonic() + min(seconds, _LONGEST_PAUSE_SECONDS)
        self._given_back += 1

    def _complete_analysis(self, item: Workitem, outcome: Analysis | Declined) -> bool:
        if isinstance(outcome, Declined):
            completed = self._workitems.complete_analysis(item, InstanceDeclined(reason=outcome.reason))
            if completed:
                log.info("instance.declined", study=item.study_instance_uid, reason=outcome.reason)
                metrics.declined()
            return completed
        thumbnail, *drawn = self._write(item, [outcome.thumbnail, *(each.data for each in outcome.objects)])
        completed = self._workitems.complete_analysis(
            item,
            InstanceAnalysed(
                route=outcome.route.rule,
                algorithm=outcome.algorithm,
                findings=outcome.findings,
                checks=outcome.checks,
                view=outcome.view,
                header=outcome.header,
                thumbnail=thumbnail.path,
                shown=outcome.shown,
                objects=tuple(map(StoredResult.of, outcome.objects, drawn)),
                omitted=outcome.omitted,
                send_to=outcome.route.send_to,
                quiet_seconds=outcome.route.quiet_seconds,
                expected_views=outcome.route.views,
                max_wait_seconds=outcome.route.max_wait_seconds,
            ),
        )
        if completed:
            log.info("instance.analysed", study=item.study_instance_uid, rule=outcome.route.rule)
            if item.instance is not None:
                metrics.analysed(_seconds_since(item.instance.received_at))
        return completed

    def _complete_report(self, item: Workitem, report: Composed) -> bool:
        study = self._workitems.study_for_report(item)
        files = self._write(item, [result.data for result in report.objects])
        completed = self._workitems.complete_report(
            item,
            list(map(StoredResult.of, report.objects, files)),
            self._due_at(study),
            report.omitted,
        )
        if completed:
            log.info("study.reported", study=item.study_instance_uid, revision=study.revision)
            # a later revision is as old as the image that called for it, and that may have come days later
            metrics.reported(_seconds_since(study.first_received_at) if study.revision == 1 else None)
            self._poke_delivery()
        return completed

    def _due_at(self, study: StudyForReport) -> dict[str, tuple[Rendition, ...]]:
        """Renditions by destination; for one that is no longer configured the defaults wait to be seen."""
        for name in study.send_to:
            if name not in self._profiles:
                log.error("destination.unknown", destination=name, study=study.study_instance_uid)
        return {name: tuple(self._profiles.get(name, DEFAULT).planned) for name in study.send_to}

    def _write(self, item: Workitem, contents: Sequence[bytes]) -> list[StoredFile]:
        """Write files once, however often their record has to be tried."""
        written = self._written.setdefault(_claim(item), [])
        for content in contents[len(written) :]:
            written.append(self._results.write(content))
        return written

    def _lost(self, item: Workitem) -> None:
        log.warning("work.lease_lost", workitem=item.number, study=item.study_instance_uid)


def _claim(item: Workitem) -> _Claim:
    return item.number, item.transaction_uid


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


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()
