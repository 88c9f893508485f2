"""The way of one radiograph, and the composing of one report: bytes in, results out.

Pure but for the classifier it is given: no database, no network, no file. It runs in a worker process (see
:mod:`mcads_node.compute`), in the verb ``analyse``, and in tests, in the same way.
"""

from __future__ import annotations

import io

import pydicom
from pydicom.dataset import Dataset

from mcads_node.admit import admit
from mcads_node.classifier import Classifier
from mcads_node.explain import explain
from mcads_node.finding import Finding, Heatmap
from mcads_node.infer import infer
from mcads_node.instance import Declined, Radiograph
from mcads_node.read.radiograph import header_of, read_dataset, read_header, read_radiograph
from mcads_node.report.capture import heatmap_capture, summary_capture, thumbnail
from mcads_node.report.sr import measurement_report
from mcads_node.resample import geometry_for, model_input
from mcads_node.result import ImageReading, ResultObject
from mcads_node.route import Route, route
from mcads_node.task import Analysis, AnalysisRequest, ReportRequest


def analyse(request: AnalysisRequest, classifier: Classifier) -> Analysis | Declined:
    """Lead one radiograph along its way: admit, route, read, infer, explain, draw.

    Raises
    ------
    InstanceUnreadable
        The bytes are no DICOM object, or its pixels cannot be decoded.
    ModelUnusable
        The classifier gave no usable scores.
    """
    header = read_header(request.data)
    declined = admit(header)
    if declined is not None:
        return declined
    routed = route(header, request.requestor, request.rules)
    if isinstance(routed, Declined):
        return routed
    radiograph = read_radiograph(read_dataset(request.data))
    findings, heatmaps = _look(radiograph, routed, classifier)
    strongest = max(heatmaps, key=lambda heatmap: heatmap.finding.score, default=None)
    return Analysis(
        route=routed,
        algorithm=classifier.algorithm,
        view=radiograph.view,
        findings=findings,
        checks=radiograph.checks,
        header=_encoded(radiograph.header),
        thumbnail=thumbnail(radiograph, strongest),
        heatmaps=tuple(
            heatmap_capture(radiograph, heatmap, classifier.algorithm, request.context)
            for heatmap in heatmaps
        ),
    )


def _look(
    radiograph: Radiograph, routed: Route, classifier: Classifier
) -> tuple[tuple[Finding, ...], tuple[Heatmap, ...]]:
    rows, columns = radiograph.pixels.shape
    geometry = geometry_for(rows, columns, classifier.input_size)
    inference = infer(
        classifier, model_input(radiograph.pixels, geometry), routed.thresholds, radiograph.checks
    )
    if "grad-cam" not in routed.explain:
        return inference.findings, ()
    return inference.findings, explain(
        classifier, inference, geometry, top_finding=routed.explain_top_finding
    )


def _encoded(header: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, header_of(header), enforce_file_format=True)
    return buffer.getvalue()


def compose(request: ReportRequest) -> tuple[ResultObject, ...]:
    """Make the study's Structured Report and summary page.

    Raises
    ------
    ReportImpossible
        The source's header does not allow a valid object, with the reason.
    """
    readings = tuple(
        ImageReading(
            header=read_dataset(record.header),
            view=record.view,
            findings=record.findings,
            checks=record.checks,
            thumbnail=record.thumbnail,
            heatmaps=record.heatmaps,
        )
        for record in request.readings
    )
    return (
        measurement_report(readings, request.algorithm, request.context),
        summary_capture(readings, request.algorithm, request.context),
    )
