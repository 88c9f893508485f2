"""The Encapsulated PDF of a study's result (PS3.3 A.45.1): the summary, with text that can be searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from mcads_node.finding import Algorithm
from mcads_node.report import document, wording
from mcads_node.report.document import Draft
from mcads_node.report.evidence import SOURCE_IMAGE, burned_in, reference
from mcads_node.report.making import result_object
from mcads_node.report.pdf_pages import pdf_pages
from mcads_node.report.source import copy_request_attributes
from mcads_node.result import ImageReading, ObjectKind, Rendition, ReportContext, ResultObject

_DEFAULT: Final = Rendition(kind=ObjectKind.PDF)


def pdf_report(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition = _DEFAULT,
) -> ResultObject:
    """Write the study's result as a PDF, within a DICOM object.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        All images of the study that were read, at least one, in any order; headers however odd.
    algorithm: Algorithm
        Who read them.
    context: ReportContext
        Times, revision, predecessor, and why images were not read.
    rendition: Rendition
        Language and series.

    Returns
    -------
    ResultObject
        A Part 10 file in Explicit VR Little Endian; the same bytes for the same arguments.

    Raises
    ------
    ReportImpossible
        As `mcads_node.report.document.draft`.
    """
    draft = document.draft(readings, algorithm, context, rendition)
    report = document.begin(draft, EncapsulatedPDFStorage, "DOC")
    report.ConversionType = "WSD"
    copy_request_attributes(draft.source, report)
    _add_document(report, draft)
    data = pdf_pages(draft)
    report.EncapsulatedDocumentLength = len(data)
    report.EncapsulatedDocument = data if len(data) % 2 == 0 else data + b"\0"
    return result_object(report, rendition)


def _add_document(report: Dataset, draft: Draft) -> None:
    """Write the Encapsulated Document module (PS3.3 C.24.2)."""
    # of the document itself, which is not acquired
    report.AcquisitionDateTime = ""
    # the pages name no patient; a picture on them might, where its source does
    headers = [reading.header for reading in draft.readings]
    report.BurnedInAnnotation = burned_in(headers)
    report.SourceInstanceSequence = [reference(header, SOURCE_IMAGE) for header in headers]
    report.VerificationFlag = "UNVERIFIED"
    caution = draft.tr(draft.algorithm.caution)
    headline = f"{wording.BRAND} — {wording.headline(draft.readings, draft.tr)}"
    report.DocumentTitle = " — ".join(filter(None, (caution, headline)))[:1024]
    report.ConceptNameCodeSequence = []
    report.MIMETypeOfEncapsulatedDocument = "application/pdf"
