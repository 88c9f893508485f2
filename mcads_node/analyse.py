"""The way of one radiograph, and the composing of one report: bytes in, results out.

Pure but for the classifier it is given: no database, no network, no file. It runs in a worker process (see
:mod:`mcads_node.compute`), in the verb ``analyse``, and in tests, in the same way.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import pydicom
from pydicom.dataset import Dataset

from mcads_node.accompanying import Anatomy, anatomy_of, made_anew
from mcads_node.admit import admit
from mcads_node.calibration import calibration_for
from mcads_node.classifier import Classifier
from mcads_node.companions import Companions
from mcads_node.errors import ReportImpossible
from mcads_node.explain import explain
from mcads_node.finding import COMBINED, GRAD_CAM, Algorithm, Finding, Heatmap
from mcads_node.gate import failed_checks
from mcads_node.infer import infer
from mcads_node.instance import Declined, InputCheck, Radiograph
from mcads_node.profile import OF_IMAGES, wanted
from mcads_node.read.device import device_of
from mcads_node.read.radiograph import header_of, read_dataset, read_radiograph
from mcads_node.report.anatomy_segmentation import anatomy_segmentation
from mcads_node.report.basic_text import basic_text_report
from mcads_node.report.capture import heatmap_capture, summary_capture, thumbnail
from mcads_node.report.key_objects import key_objects
from mcads_node.report.pdf import pdf_report
from mcads_node.report.presentation_state import presentation_state
from mcads_node.report.segmentation import segmentation
from mcads_node.report.sr import measurement_report
from mcads_node.resample import geometry_for, model_input
from mcads_node.result import ImageReading, ObjectKind, Referenced, Rendition, ReportContext, ResultObject
from mcads_node.route import Route, Subject, read_subject, route, route_by
from mcads_node.structure import Structures
from mcads_node.task import Analysis, AnalysisRequest, Composed, HeatmapRecord, ReadingRecord, ReportRequest
from mcads_node.triage import triage
from mcads_node.triage_level import Triage

#: kinds without which there is no report: where one cannot be made, the reason is the study's
_INDISPENSABLE: Final = frozenset({ObjectKind.SR, ObjectKind.SUMMARY, ObjectKind.HEATMAP})

#: of an analysis that nothing accompanies
_ALONE: Final = Companions()

_OF_THE_STUDY: Final[
    Mapping[
        ObjectKind,
        Callable[
            [Sequence[ImageReading], Algorithm, ReportContext, Rendition],
            ResultObject | None,
        ],
    ]
] = {
    ObjectKind.SR: measurement_report,
    ObjectKind.SUMMARY: summary_capture,
    ObjectKind.BASIC_TEXT_SR: basic_text_report,
    ObjectKind.KOS: key_objects,
    ObjectKind.PDF: pdf_report,
}


def analyse(
    request: AnalysisRequest,
    classifier_of: Callable[[str | None], Classifier],
    companions: Companions = _ALONE,
) -> Analysis | Declined:
    """Lead one radiograph along its way: admit, route, read, gate, infer, triage, explain, anatomy, draw.

    Parameters
    ----------
    request
        The image, and what is to be done with it.
    classifier_of
        Gives the classifier of a model's name, and the node's own of None.
    companions
        Models that accompany it.

    Raises
    ------
    InstanceUnreadable
        The bytes are no DICOM object, or its pixels cannot be decoded.
    ModelUnusable
        The classifier gave no usable scores.
    """
    subject = read_subject(request.data, request.circumstances)
    declined = admit(subject.header)
    if declined is not None:
        return declined
    routed = _routed(subject, request)
    if isinstance(routed, Declined):
        return routed
    classifier = _speaking(classifier_of(request.model or routed.model), request, routed)
    threshold_set, thresholds = _thresholds(routed, request, classifier)
    radiograph = read_radiograph(read_dataset(request.data))
    rows, columns = radiograph.pixels.shape
    geometry = geometry_for(rows, columns, classifier.input_size)
    square = model_input(radiograph.pixels, geometry)
    anew = made_anew(radiograph, companions, routed.checks)
    radiograph = replace(radiograph, checks=failed_checks(radiograph, square, routed.checks, anew))
    inference = infer(classifier, square, thresholds, radiograph.checks)
    heatmaps = explain(
        classifier, inference, square, geometry, routed.explain, top_finding=routed.explain_top_finding
    )
    made = _Made(classifier.algorithm)
    _draw(made, radiograph, heatmaps, request, routed)
    anatomy = Anatomy() if request.shadow else anatomy_of(radiograph, companions)
    made.omitted.extend(anatomy.omitted)
    if anatomy.structures is not None:
        _draw_structures(made, radiograph, anatomy.structures, request, routed)
    pictured = _pictured(heatmaps)
    return Analysis(
        route=routed,
        algorithm=classifier.algorithm,
        threshold_set=threshold_set,
        view=radiograph.view,
        device=device_of(radiograph.header),
        triage=_triaged(inference.findings, radiograph.checks, request),
        findings=inference.findings,
        checks=radiograph.checks,
        header=_encoded(radiograph.header),
        thumbnail=thumbnail(radiograph, pictured),
        shown=_name_of(pictured),
        objects=tuple(made.objects),
        omitted=tuple(made.omitted),
        anatomy=anatomy.reading,
    )


def _routed(subject: Subject, request: AnalysisRequest) -> Route | Declined:
    routed: Route | Declined
    if request.rule is None:
        routed = route(subject, request.rules)
    else:
        named = next((each for each in request.rules if each.name == request.rule), None)
        if named is None or named.analyse is None:
            return Declined(reason=f"the shadow rule {request.rule!r} is not there any more")
        routed = route_by(named, named.analyse, subject)
    if isinstance(routed, Route) and request.shadow:
        return replace(routed, explain=(), send_to=())
    return routed


def _speaking(classifier: Classifier, request: AnalysisRequest, routed: Route) -> Classifier:
    """Give the classifier with the calibration of the route's site, or the only one of its model."""
    calibration = calibration_for(request.calibrations, classifier.manifest.name, routed.calibration)
    return classifier.speaking_through(calibration)


def _thresholds(
    routed: Route, request: AnalysisRequest, classifier: Classifier
) -> tuple[str | None, Mapping[str, float]]:
    """Choose the threshold set of the route, and give its name and all thresholds that are not the model's.

    They are of the route's model: another one that reads instead of it keeps to its own.
    """
    manifest = classifier.manifest
    if request.model is not None and request.model != (routed.model or request.default_model):
        return None, {}
    for each in routed.threshold_sets:
        if each.version in (None, manifest.version):
            return each.name, {**each.thresholds, **routed.thresholds}
    return None, routed.thresholds


def _triaged(
    findings: Sequence[Finding], checks: Sequence[InputCheck], request: AnalysisRequest
) -> Triage | None:
    return None if request.triage is None else triage(findings, checks, request.triage)


def _pictured(heatmaps: tuple[Heatmap, ...]) -> Heatmap | None:
    """Choose the heatmap that is drawn in the thumbnail: of the strongest finding, else of all; no pixels."""
    single = [heatmap for heatmap in heatmaps if heatmap.method == GRAD_CAM]
    combined = [heatmap for heatmap in heatmaps if heatmap.method == COMBINED]
    return max(single or combined, key=lambda heatmap: heatmap.finding.score, default=None)


def _name_of(pictured: Heatmap | None) -> str | None:
    if pictured is None:
        return None
    return COMBINED if pictured.combined else pictured.finding.label


def _encoded(header: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, header_of(header), enforce_file_format=True)
    return buffer.getvalue()


class _Made:
    """Objects as they are made for a model, and why one could not be."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.objects: list[ResultObject] = []
        self.omitted: list[str] = []

    def add(self, rendition: Rendition, build: Callable[[], ResultObject | None]) -> None:
        """Build one object; what can be done without costs itself alone where it cannot be built."""
        try:
            made = build()
        except ReportImpossible as error:
            if rendition.kind in _INDISPENSABLE:
                raise
            self.omitted.append(f"{rendition.kind}: {error}")
            return
        # None: there is nothing to say, such as a key object selection without a positive image
        if made is not None:
            self.objects.append(replace(made, device_uid=self.algorithm.device_uid))


def _draw(
    made: _Made,
    radiograph: Radiograph,
    heatmaps: tuple[Heatmap, ...],
    request: AnalysisRequest,
    routed: Route,
) -> None:
    """Make all objects of heatmaps that the route's destinations want; without a heatmap there is none."""
    if not heatmaps:
        return
    # areas are marked of single findings: a pixel-level map has none, and a combined one has no finding
    areas = [heatmap for heatmap in heatmaps if heatmap.method == GRAD_CAM]
    for rendition in _of_image(request, routed):
        said = (made.algorithm, request.context, rendition)
        if rendition.kind is ObjectKind.HEATMAP:
            for heatmap in heatmaps:
                made.add(rendition, partial(heatmap_capture, radiograph, heatmap, *said))
        elif not areas:
            made.omitted.append(f"{rendition.kind}: it marks areas of grad-cam, which the rule does not make")
        elif rendition.kind is ObjectKind.GSPS:
            made.add(rendition, partial(presentation_state, radiograph, areas, *said))
        else:
            made.add(rendition, partial(segmentation, radiograph, areas, *said))


def _of_image(request: AnalysisRequest, routed: Route) -> tuple[Rendition, ...]:
    """Give the renditions of single images that the route's destinations want."""
    kinds = OF_IMAGES if routed.objects is None else OF_IMAGES & set(routed.objects)
    return wanted(request.profiles, routed.send_to, kinds)


def _draw_structures(
    made: _Made, radiograph: Radiograph, structures: Structures, request: AnalysisRequest, routed: Route
) -> None:
    """Make the objects of plausible masks that the route's destinations want."""
    for rendition in _of_image(request, routed):
        if rendition.kind is ObjectKind.SEG:
            said = (made.algorithm, request.context, rendition)
            made.add(rendition, partial(anatomy_segmentation, radiograph, structures, *said))


def compose(request: ReportRequest) -> Composed:
    """Make the study's report in every rendition that is wanted.

    Raises
    ------
    ReportImpossible
        The source's header does not allow a valid Structured Report or summary page, with the reason.
    """
    readings = tuple(_reading(record, record.heatmaps) for record in request.readings)
    referring = tuple(_reading(record, _referable(request, record)) for record in request.readings)
    made = _Made(request.algorithm)
    for rendition in request.renditions:
        if rendition.kind in _OF_THE_STUDY:
            build = _OF_THE_STUDY[rendition.kind]
            context = replace(request.context, predecessor=_predecessor(request, rendition))
            said = referring if rendition.kind is ObjectKind.KOS else readings
            made.add(rendition, partial(build, said, request.algorithm, context, rendition))
    return Composed(objects=tuple(made.objects), omitted=tuple(made.omitted))


def _referable(request: ReportRequest, record: ReadingRecord) -> list[HeatmapRecord]:
    """Give the heatmaps that another object may refer to: of one rendition.

    Of the only one; of several, whoever gets the document may have any, and the default one is referred to.
    """
    variants = {each.variant for reading in request.readings for each in reading.heatmaps}
    variant = variants.pop() if len(variants) == 1 else ""
    return [each for each in record.heatmaps if each.variant == variant]


def _reading(record: ReadingRecord, heatmaps: Sequence[HeatmapRecord]) -> ImageReading:
    return ImageReading(
        header=read_dataset(record.header),
        view=record.view,
        findings=record.findings,
        checks=record.checks,
        thumbnail=record.thumbnail,
        shown=record.shown,
        heatmaps=tuple(each.referenced for each in heatmaps),
        triage=record.triage,
        anatomy=record.anatomy,
    )


def _predecessor(request: ReportRequest, rendition: Rendition) -> Referenced | None:
    """Find the document that this one replaces: in the same rendition, so that who gets this has that."""
    kind = rendition.kind if rendition.kind is ObjectKind.BASIC_TEXT_SR else ObjectKind.SR
    exact = request.predecessors.get((kind, rendition.variant))
    others = (uids for (other, _), uids in request.predecessors.items() if other is kind)
    return exact or next(others, None)
