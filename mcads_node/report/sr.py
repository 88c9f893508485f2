"""The Structured Report of a study: the document around the content tree (PS3.3 A.35.13, C.17)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
)

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm
from mcads_node.instance import View
from mcads_node.report.codes import PRIVATE_SCHEME
from mcads_node.report.identity import SERIES_NUMBER, object_uid, series_description, series_uid
from mcads_node.report.source import (
    complete_header,
    copy_patient_and_study,
    finish,
    referenced_requests,
    stamp_dates,
    stamp_equipment,
)
from mcads_node.report.sr_content import content_tree
from mcads_node.result import ImageReading, ObjectKind, ReportContext, ResultObject

#: SOP classes that hold the tree; a report in another class is another object with another UID
SOP_CLASSES: Final = (
    str(Comprehensive3DSRStorage),
    str(EnhancedSRStorage),
    str(ComprehensiveSRStorage),
)

#: frontal images first, as a radiologist reads them
_VIEW_ORDER: Final = (View.PA, View.AP, View.LATERAL, View.OTHER, View.UNKNOWN)

#: what a reference to an image cannot do without
_NEEDED: Final = (
    ("StudyInstanceUID", "Study Instance UID (0020,000D)"),
    ("SeriesInstanceUID", "Series Instance UID (0020,000E)"),
    ("SOPClassUID", "SOP Class UID (0008,0016)"),
    ("SOPInstanceUID", "SOP Instance UID (0008,0018)"),
)


def measurement_report(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    sop_class_uid: str = SOP_CLASSES[0],
) -> ResultObject:
    """Write the study's report: TID 1500, every label of the model on every image.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        All images of the study that were read, at least one, in any order; headers however odd.
    algorithm: Algorithm
        Who read them.
    context: ReportContext
        Times, revision, predecessor, and why images were not read.
    sop_class_uid: str
        One of `SOP_CLASSES`.

    Returns
    -------
    ResultObject
        A Part 10 file in Explicit VR Little Endian; the same bytes for the same arguments.

    Raises
    ------
    ReportImpossible
        There is no image, images are of different studies or share a UID, a UID that a reference needs is
        absent or malformed, or a label of the model has no code.
    """
    if sop_class_uid not in SOP_CLASSES:
        raise ReportImpossible(f"SOP class {sop_class_uid} holds no TID 1500 report")
    ordered = _in_order(readings)
    source = ordered[0].header
    document = Dataset()
    copy_patient_and_study(source, document)
    stamp_equipment(document, algorithm)
    stamp_dates(document, context)
    _write_identity(document, ordered, algorithm, context, sop_class_uid)
    _write_general(document, ordered, context)
    document.update(content_tree(ordered, algorithm, context.unread))
    return ResultObject(
        kind=ObjectKind.SR,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=str(document.SOPInstanceUID),
        series_instance_uid=str(document.SeriesInstanceUID),
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        data=finish(document),
    )


def _in_order(readings: Sequence[ImageReading]) -> tuple[ImageReading, ...]:
    """Complete the headers, check that they can be referred to, and order them by view and UID."""
    if not readings:
        raise ReportImpossible("no image of the study was read: an empty report is not a report")
    completed = [replace(reading, header=complete_header(reading.header)) for reading in readings]
    for reading in completed:
        missing = [name for keyword, name in _NEEDED if not reading.header.get(keyword)]
        if missing:
            raise ReportImpossible(
                f"the source has no valid {', '.join(missing)}: a report cannot refer to it"
            )
    if len({reading.header.StudyInstanceUID for reading in completed}) > 1:
        raise ReportImpossible(
            "the images are of different studies: one Study Instance UID (0020,000D) expected"
        )
    if len({reading.header.SOPInstanceUID for reading in completed}) < len(completed):
        raise ReportImpossible("two images share a SOP Instance UID (0008,0018)")
    completed.sort(key=lambda reading: (_VIEW_ORDER.index(reading.view), reading.header.SOPInstanceUID))
    return tuple(completed)


def _write_identity(
    document: Dataset,
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    sop_class_uid: str,
) -> None:
    """SOP Common and SR Document Series modules."""
    uids = [str(reading.header.SOPInstanceUID) for reading in readings]
    thresholds = {
        f"{uid} {finding.label}": finding.threshold
        for uid, reading in zip(uids, readings, strict=True)
        for finding in reading.findings
    }
    document.SOPClassUID = sop_class_uid
    document.SOPInstanceUID = object_uid(
        ObjectKind.SR, uids, algorithm, thresholds, detail=sop_class_uid, revision=context.revision
    )
    document.Modality = "SR"
    document.SeriesInstanceUID = series_uid(str(document.StudyInstanceUID), ObjectKind.SR, algorithm)
    document.SeriesNumber = SERIES_NUMBER[ObjectKind.SR]
    document.SeriesDescription = series_description(ObjectKind.SR, algorithm)
    document.ReferencedPerformedProcedureStepSequence = []
    document.CodingSchemeIdentificationSequence = [_private_scheme()]


def _private_scheme() -> Dataset:
    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE_SCHEME
    scheme.CodingSchemeName = "MCADS findings without a verified code elsewhere"
    return scheme


def _write_general(document: Dataset, readings: Sequence[ImageReading], context: ReportContext) -> None:
    """SR Document General module."""
    document.InstanceNumber = context.revision
    document.CompletionFlag = "COMPLETE"
    document.VerificationFlag = "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    document.PerformedProcedureCodeSequence = []
    requests = referenced_requests(readings[0].header)
    if requests:
        document.ReferencedRequestSequence = requests
    document.CurrentRequestedProcedureEvidenceSequence = [_evidence(readings)]
    if context.predecessor is not None:
        sop_class_uid, sop_instance_uid, series_instance_uid = context.predecessor
        series = _series_reference(series_instance_uid, [(sop_class_uid, sop_instance_uid)])
        document.PredecessorDocumentsSequence = [_study_reference(document.StudyInstanceUID, [series])]


def _evidence(readings: Sequence[ImageReading]) -> Dataset:
    by_series: dict[str, list[tuple[str, str]]] = {}
    for reading in readings:
        instance = (reading.header.SOPClassUID, reading.header.SOPInstanceUID)
        by_series.setdefault(reading.header.SeriesInstanceUID, []).append(instance)
    series = [_series_reference(uid, instances) for uid, instances in by_series.items()]
    return _study_reference(readings[0].header.StudyInstanceUID, series)


def _study_reference(study_uid: str, series: list[Dataset]) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedSeriesSequence = series
    return item


def _series_reference(series_uid_: str, instances: Sequence[tuple[str, str]]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series_uid_
    item.ReferencedSOPSequence = [_instance_reference(*instance) for instance in instances]
    return item


def _instance_reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item
