"""What a worker is told: a claimed workitem becomes a request that knows no database and no folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog

from mcads_node.config import RuleBook
from mcads_node.errors import FileUnreadable, PermanentError
from mcads_node.finding import Algorithm
from mcads_node.profile import OF_IMAGES, Profile, wanted
from mcads_node.result import ObjectKind, Rendition, ReportContext
from mcads_node.state import State
from mcads_node.task import AnalysisRequest, HeatmapRecord, ReadingRecord, ReportRequest
from mcads_node.workitems import AnalysedImage, Purpose, StoredResult, StudyForReport, Workitem

log = structlog.stdlib.get_logger(__name__)


Images = Sequence[AnalysedImage]


class Briefing:
    """Makes requests of workitems.

    Parameters
    ----------
    state
        The durable state.
    profiles
        What each destination wants, by its name.
    by_name
        Whether the workers read images themselves: then a request names the file, and has no bytes.
    """

    def __init__(self, state: State, profiles: Mapping[str, Profile], *, by_name: bool) -> None:
        self._workitems = state.workitems
        self._installation = state.workitems.installation()
        self._spool = state.spool
        self._results = state.results
        self._profiles = profiles
        self._by_name = by_name
        self._book = RuleBook()

    def use_rules(self, book: RuleBook) -> None:
        """Route by the rules of `book` from the next image on."""
        self._book = book

    def analysis(self, item: Workitem) -> AnalysisRequest:
        """Say what is to be analysed, and by which rules."""
        assert item.instance is not None  # noqa: S101 - every analyse item has one (a CHECK in the schema)
        # taken once: another thread may put another version in its place meanwhile
        book, path = self._book, item.instance.path
        return AnalysisRequest(
            data=b"" if self._by_name else self._spool.read(path),
            file=path if self._by_name else None,
            circumstances=self._workitems.circumstances(item),
            rules=book.rules,
            rules_digest=book.digest,
            rule=item.rule,
            model=item.model,
            shadow=item.purpose is Purpose.SHADOW,
            profiles=self._profiles,
            context=ReportContext(
                installation=self._installation_for(item.patient_number),
                series_started=item.study_first_received_at,
                created=datetime.now(UTC),
            ),
        )

    def reports(self, study: StudyForReport) -> tuple[ReportRequest, ...]:
        """Say what a study's report is to speak of: one a model, of those that have anything new to say."""
        groups = by_model(study.images)
        new = [each for each in groups if any(image.number > study.told for image in each)] or groups
        return tuple(self._report(study, images, groups) for images in new)

    def _report(self, study: StudyForReport, images: Images, groups: Sequence[Images]) -> ReportRequest:
        return ReportRequest(
            readings=tuple(self._reading(image) for image in images),
            algorithm=images[-1].analysis.algorithm,
            renditions=self._renditions(study),
            predecessors={
                (each.kind, each.variant): (
                    each.sop_class_uid,
                    each.sop_instance_uid,
                    each.series_instance_uid,
                )
                for each in predecessors(study, images[-1].analysis.algorithm)
            },
            context=ReportContext(
                installation=self._installation_for(study.patient_number),
                series_started=study.first_received_at,
                created=datetime.now(UTC),
                revision=study.revision,
                unread=study.unread + _read_by_others(images, groups),
            ),
        )

    def _renditions(self, study: StudyForReport) -> tuple[Rendition, ...]:
        """Give what any destination wants of the study as a whole, each once."""
        found = (
            each
            for name in study.send_to
            for each in wanted(self._profiles, [name], study.kinds_for(name) - OF_IMAGES)
        )
        return tuple(dict.fromkeys(found))

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
            triage=analysis.triage,
            heatmaps=tuple(
                HeatmapRecord(
                    referenced=(result.sop_class_uid, result.sop_instance_uid, result.series_instance_uid),
                    variant=result.variant,
                )
                for result in analysis.objects
                if result.kind is ObjectKind.HEATMAP
            ),
            anatomy=analysis.anatomy,
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


def by_model(images: Images) -> list[list[AnalysedImage]]:
    """Put images together that were read by the same model in the same version: a report speaks for one."""
    groups: list[list[AnalysedImage]] = []
    for image in images:
        for group in groups:
            if group[0].analysis.algorithm == image.analysis.algorithm:
                group.append(image)
                break
        else:
            groups.append([image])
    return groups


def predecessors(study: StudyForReport, algorithm: Algorithm) -> list[StoredResult]:
    """Find the documents that a model's report replaces.

    They are its own last ones; where it has none, the last ones of a model that no longer speaks of any image
    of the study: one whose place it has taken.
    """
    speaking = {image.analysis.algorithm.device_uid for image in study.images}
    own = [each for each in study.predecessors if each.device_uid in (algorithm.device_uid, None)]
    found = own or [each for each in study.predecessors if each.device_uid not in speaking]
    return [each for each in found if each.device_uid == found[-1].device_uid]


def _read_by_others(images: Images, groups: Sequence[Images]) -> tuple[str, ...]:
    """Say which images this report does not speak of, since another model read them."""
    return tuple(
        f"{len(each)} image(s) were read by {_named(each[0].analysis.algorithm)}, in a report of its own"
        for each in groups
        if each[0].analysis.algorithm != images[0].analysis.algorithm
    )


def _named(algorithm: Algorithm) -> str:
    return f"{algorithm.name} {algorithm.version}"
