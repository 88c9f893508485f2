"""The Structured Report of a study: the document around the content tree (PS3.3 A.35.13, C.17)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm
from mcads_node.report import document
from mcads_node.report.codes import PRIVATE_SCHEME
from mcads_node.report.making import result_object
from mcads_node.report.sr_content import content_tree
from mcads_node.result import ImageReading, ObjectKind, Rendition, ReportContext, ResultObject

#: SOP classes that hold the tree; a report in another class is another object with another UID
SOP_CLASSES: Final = (
    str(Comprehensive3DSRStorage),
    str(EnhancedSRStorage),
    str(ComprehensiveSRStorage),
)

_DEFAULT: Final = Rendition(kind=ObjectKind.SR)


def measurement_report(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition = _DEFAULT,
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
    rendition: Rendition
        SOP class (one of `SOP_CLASSES`), language, series.

    Returns
    -------
    ResultObject
        A Part 10 file in Explicit VR Little Endian; the same bytes for the same arguments.

    Raises
    ------
    ReportImpossible
        There is no image, images are of different studies or share a UID, a UID that a reference needs is
        absent or malformed, a label of the model has no code, or the SOP class holds no such report.
    """
    sop_class_uid = rendition.sop_class_uid or SOP_CLASSES[0]
    if sop_class_uid not in SOP_CLASSES:
        raise ReportImpossible(f"SOP class {sop_class_uid} holds no TID 1500 report")
    draft = document.draft(readings, algorithm, context, rendition)
    report = document.begin(draft, sop_class_uid, "SR", detail=sop_class_uid)
    report.CodingSchemeIdentificationSequence = [_private_scheme()]
    document.add_document_general(report, draft, draft.images)
    report.update(content_tree(draft.readings, algorithm, context, draft.tr))
    return result_object(report, rendition)


def _private_scheme() -> Dataset:
    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE_SCHEME
    scheme.CodingSchemeName = "MCADS findings without a verified code elsewhere"
    return scheme
