"""What becomes of what a worker gave back: files, then one transaction, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

import structlog

from mcads_node import metrics
from mcads_node.compute import WorkerLost
from mcads_node.draft import StoredFile
from mcads_node.errors import FileUnreadable, NodeError, PermanentError, TransientError
from mcads_node.instance import Declined
from mcads_node.profile import DEFAULT, Profile
from mcads_node.result import Rendition
from mcads_node.state import State
from mcads_node.task import Analysis, Composed
from mcads_node.triage_level import decisive
from mcads_node.workitems import (
    InstanceAnalysed,
    InstanceDeclined,
    Kind,
    Purpose,
    StoredResult,
    StudyForReport,
    Workitem,
    WorkState,
)

log = structlog.stdlib.get_logger(__name__)

#: number of an item and Transaction UID: items that are claimed together share the latter, and one that is
#: claimed again has another
Claim = tuple[int, str]


def claim_of(item: Workitem) -> Claim:
    """Tell one claim of an item from another."""
    return item.number, item.transaction_uid


class Ending(Enum):
    """How a piece of work ended."""

    #: what came of it is on record
    COMPLETED = auto()
    #: the failure is on record, and counted
    FAILED = auto()
    #: nothing was tried, so nothing is counted
    GIVEN_BACK = auto()


class Ledger:
    """Puts on record how work ended.

    Parameters
    ----------
    state
        The durable state.
    profiles
        What each destination wants, by its name.
    poke_delivery
        Called when new deliveries are due.
    """

    def __init__(
        self, state: State, profiles: Mapping[str, Profile], poke_delivery: Callable[[], None]
    ) -> None:
        self._workitems = state.workitems
        self._results = state.results
        self._profiles = profiles
        self._poke_delivery = poke_delivery
        #: files written for an item and not on record yet
        self._written: dict[Claim, list[StoredFile]] = {}
        #: digest of the rules that an image is analysed by
        self._rules: dict[Claim, str] = {}
        #: what a report speaks of, as it was told to who writes it; the same for as long as the claim holds
        self._studies: dict[Claim, StudyForReport] = {}

    def note_rules(self, item: Workitem, digest: str) -> None:
        """Remember by which version of the rules an image is analysed."""
        self._rules[claim_of(item)] = digest

    def note_study(self, item: Workitem, study: StudyForReport) -> None:
        """Remember what a report speaks of."""
        self._studies[claim_of(item)] = study

    def enter(self, item: Workitem, future: Future[Any]) -> Ending:
        """Commit the result of a piece of work, or its failure.

        Raises
        ------
        NodeError
            It could not be committed. After a TransientError the same may be tried again: what was written
            is not written twice.
        """
        failure = future.exception()
        if failure is not None:
            return self._enter_failure(item, failure)
        try:
            if item.kind is Kind.ANALYSE:
                completed = self._complete_analysis(item, future.result())
            else:
                completed = self._complete_report(item, future.result())
        except PermanentError as error:
            return self._enter_failure(item, error)
        if not completed:
            tell_lost(item)
        return Ending.COMPLETED

    def forget(self, item: Workitem) -> None:
        """Let go of what was remembered for a claim.

        Files that came to be no record's are left to Tender, which asks the record first: a commit may have
        succeeded although its answer was lost.
        """
        self._written.pop(claim_of(item), None)
        self._rules.pop(claim_of(item), None)
        self._studies.pop(claim_of(item), None)

    def _enter_failure(self, item: Workitem, failure: BaseException) -> Ending:
        if isinstance(failure, TransientError) and not isinstance(failure, WorkerLost | FileUnreadable):
            # the disk or the database could not be asked: nothing was tried, so no attempt is counted
            self._workitems.release(item, str(failure))
            log.warning("work.given_back", workitem=item.number, reason=str(failure))
            return Ending.GIVEN_BACK
        # the text of an unforeseen error may quote a data set: only its type is told
        known = isinstance(failure, NodeError)
        reason = str(failure) if known else f"an unforeseen {type(failure).__name__}"
        state = self._workitems.fail(item, reason, permanent=isinstance(failure, PermanentError))
        log.warning(
            "work.failed", workitem=item.number, study=item.study_instance_uid, state=state, reason=reason
        )
        metrics.work_failed(item.kind.value, failure, quarantined=state is WorkState.CANCELED)
        return Ending.FAILED

    def _complete_analysis(self, item: Workitem, outcome: Analysis | Declined) -> bool:
        digest = self._rules.get(claim_of(item))
        if isinstance(outcome, Declined):
            declined = InstanceDeclined(reason=outcome.reason, rules_digest=digest)
            completed = self._workitems.complete_analysis(item, declined)
            if completed:
                log.info("instance.declined", study=item.study_instance_uid, reason=outcome.reason)
                if item.purpose is Purpose.FIRST:
                    metrics.declined()
            return completed
        completed = self._workitems.complete_analysis(item, self._analysed(item, outcome, digest))
        if completed:
            log.info(
                "instance.analysed",
                study=item.study_instance_uid,
                rule=outcome.route.rule,
                purpose=str(item.purpose),
            )
            _count(item, outcome)
        return completed

    def _analysed(self, item: Workitem, outcome: Analysis, digest: str | None) -> InstanceAnalysed:
        """Write what was made; of a shadow nothing is, and nothing of the image is kept."""
        told = InstanceAnalysed(
            route=outcome.route.rule,
            threshold_set=outcome.threshold_set,
            algorithm=outcome.algorithm,
            findings=outcome.findings,
            checks=outcome.checks,
            view=outcome.view,
            header=b"",
            thumbnail=None,
            send_to=outcome.route.send_to,
            kinds=outcome.route.objects,
            quiet_seconds=outcome.route.quiet_seconds,
            rules_digest=digest,
            expected_views=outcome.route.views,
            max_wait_seconds=outcome.route.max_wait_seconds,
            device=outcome.device,
            triage=outcome.triage,
            anatomy=outcome.anatomy,
        )
        if item.purpose is Purpose.SHADOW:
            return told
        thumbnail, *drawn = self._write(item, outcome)
        return replace(
            told,
            header=outcome.header,
            thumbnail=thumbnail.path,
            shown=outcome.shown,
            objects=tuple(map(StoredResult.of, outcome.objects, drawn)),
            omitted=outcome.omitted,
        )

    def _complete_report(self, item: Workitem, report: Composed) -> bool:
        study = self._studies[claim_of(item)]
        files = self._write(item, report)
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
            _count_triage(study)
            self._poke_delivery()
        return completed

    def _due_at(self, study: StudyForReport) -> dict[str, tuple[Rendition, ...]]:
        """Renditions by destination; for one that is no longer configured the defaults wait to be seen."""
        for name in study.send_to:
            if name not in self._profiles:
                log.error("destination.unknown", destination=name, study=study.study_instance_uid)
        return {
            name: tuple(
                each
                for each in self._profiles.get(name, DEFAULT).planned
                if each.kind in study.kinds_for(name)
            )
            for name in study.send_to
        }

    def _write(self, item: Workitem, outcome: Analysis | Composed) -> list[StoredFile]:
        """Write what its worker has not written, once, however often the record of it has to be tried."""
        claim = claim_of(item)
        if claim not in self._written:
            self._written[claim] = list(outcome.files) or self._results.write_all(outcome.contents)
        return self._written[claim]


def tell_lost(item: Workitem) -> None:
    """Say that a claim ran out, and what was done under it is void."""
    log.warning("work.lease_lost", workitem=item.number, study=item.study_instance_uid)


def _count(item: Workitem, outcome: Analysis) -> None:
    if item.purpose is Purpose.FIRST and item.instance is not None:
        metrics.analysed(_seconds_since(item.instance.received_at))
    else:
        metrics.analysed_besides(outcome.algorithm.name, shadow=item.purpose is Purpose.SHADOW)


def _count_triage(study: StudyForReport) -> None:
    found = decisive([image.analysis.triage for image in study.images])
    if found is not None and study.revision == 1:
        metrics.triaged(found[1].level)


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()
