"""What a worker is told: a claimed workitem becomes a request that knows no database and no folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from mcads_node.config import Rule
from mcads_node.errors import FileUnreadable, PermanentError
from mcads_node.profile import OF_IMAGES, Profile, wanted
from mcads_node.result import ObjectKind, ReportContext
from mcads_node.state import State
from mcads_node.task import AnalysisRequest, HeatmapRecord, ReadingRecord, ReportRequest
from mcads_node.workitems import AnalysedImage, StudyForReport, Workitem

log = structlog.stdlib.get_logger(__name__)


class Briefing:
    """Makes requests of workitems.

    Parameters
    ----------
    state
        The durable state.
    profiles
        What each destination wants, by its name.
    """

    def __init__(self, state: State, profiles: Mapping[str, Profile]) -> None:
        self._workitems = state.workitems
        self._installation = state.workitems.installation()
        self._spool = state.spool
        self._results = state.results
        self._profiles = profiles
        self._rules: tuple[Rule, ...] = ()

    def use_rules(self, rules: tuple[Rule, ...]) -> None:
        """Route by `rules` from the next image on."""
        self._rules = rules

    def analysis(self, item: Workitem) -> AnalysisRequest:
        """Say what is to be analysed, and by which rules."""
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

    def report(self, item: Workitem) -> ReportRequest:
        """Say what a study's report is to speak of."""
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
