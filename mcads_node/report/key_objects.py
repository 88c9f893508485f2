"""Key Object Selections (TID 2010): the positive images, and the note that takes results back (IHE IOCM)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
)

from mcads_node import __version__
from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Presence
from mcads_node.product import DEVICE_UID, MANUFACTURER, MODEL_NAME
from mcads_node.report import content_items, document, source, wording
from mcads_node.report.document import Draft
from mcads_node.report.evidence import referable_header
from mcads_node.report.identity import derive_uid
from mcads_node.report.making import result_object
from mcads_node.result import ImageReading, ObjectKind, Referenced, Rendition, ReportContext, ResultObject

#: CID 7010
OF_INTEREST: Final = Code("113000", "DCM", "Of Interest")
REJECTED_FOR_QUALITY: Final = Code("113001", "DCM", "Rejected for Quality Reasons")
REJECTED_FOR_SAFETY: Final = Code("113037", "DCM", "Rejected for Patient Safety Reasons")
_TITLES: Final = (REJECTED_FOR_QUALITY, REJECTED_FOR_SAFETY)
_DESCRIPTION: Final = Code("113012", "DCM", "Key Object Description")

#: results that are referred to as COMPOSITE; all others are images
_NO_IMAGES: Final = frozenset(
    {
        BasicTextSRStorage,
        Comprehensive3DSRStorage,
        ComprehensiveSRStorage,
        EncapsulatedPDFStorage,
        EnhancedSRStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        KeyObjectSelectionDocumentStorage,
    }
)

#: Series Number of rejection notes; they are no key images, and have a series of their own
REJECTION_SERIES_NUMBER: Final = 9909
_REJECTION: Final = "rejection"

_DEFAULT: Final = Rendition(kind=ObjectKind.KOS)


@dataclass(frozen=True, kw_only=True)
class RejectedObject:
    """One result that is taken back."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


def key_objects(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition = _DEFAULT,
) -> ResultObject | None:
    """Select the images on which something is present, each followed by its heatmap captures.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        All images of the study that were read, at least one, in any order.
    algorithm: Algorithm
        Who read them.
    context: ReportContext
        Times and revision.
    rendition: Rendition
        Language and series.

    Returns
    -------
    ResultObject or None
        None where nothing is present on any image: a selection of nothing is not one.

    Raises
    ------
    ReportImpossible
        As `mcads_node.report.document.draft`.
    """
    draft = document.draft(readings, algorithm, context, rendition)
    referenced = list(_selected(draft))
    if not referenced:
        return None
    heatmaps = sorted(uid for reading in draft.readings for _, uid, _ in reading.heatmaps)
    selection = document.begin(draft, KeyObjectSelectionDocumentStorage, "KO", detail="/".join(heatmaps))
    document.add_references(selection, draft.source, referenced)
    context_items = [
        document.language_item(rendition.language),
        *document.device_observer(algorithm),
    ]
    selection.update(_tree(OF_INTEREST, context_items, _description(draft), referenced))
    return result_object(selection, rendition)


def _selected(draft: Draft) -> Iterable[Referenced]:
    for reading, image in zip(draft.readings, draft.images, strict=True):
        if any(finding.presence is Presence.PRESENT for finding in reading.findings):
            yield image
            yield from reading.heatmaps


def _description(draft: Draft) -> str:
    tr = draft.tr
    names = [wording.human_label(label, tr) for label in sorted(wording.present_labels(draft.readings))]
    said = (
        tr(draft.algorithm.caution),
        f"{wording.BRAND} — {wording.headline(draft.readings, tr)}: {', '.join(names)}",
        wording.model_text(draft.algorithm),
        tr(wording.UNVERIFIED),
    )
    return ". ".join(filter(None, said))


def rejection_note(
    header: Dataset,
    rejected: Sequence[RejectedObject],
    reason: str,
    context: ReportContext,
    serial: int = 1,
    title: Code = REJECTED_FOR_QUALITY,
) -> ResultObject:
    """Write the note that takes results back (IHE RAD, Imaging Object Change Management).

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        Of any source image of the study, however odd; patient and study are copied from it.
    rejected: Sequence[RejectedObject]
        At least one, in any order.
    reason: str
        Of the retraction, in a person's own words.
    context: ReportContext
        Times.
    serial: int
        Which rejection note of the study this is, from 1.
    title: pydicom.sr.coding.Code
        `REJECTED_FOR_QUALITY` or `REJECTED_FOR_SAFETY`.

    Returns
    -------
    ResultObject
        A Part 10 file in Explicit VR Little Endian; the same bytes for the same arguments.

    Raises
    ------
    ReportImpossible
        Nothing is rejected, no reason is given, the title is another, or the header lacks a UID.
    """
    said = " ".join("".join(each if each.isprintable() else " " for each in reason).split())
    if not rejected or not said:
        raise ReportImpossible("a rejection note needs objects that it rejects, and a reason")
    if title not in _TITLES:
        raise ReportImpossible(f"{title.meaning!r} is no title of a rejection note")
    complete = referable_header(header)
    ordered = sorted(set(rejected), key=lambda each: (each.series_instance_uid, each.sop_instance_uid))
    referenced = [(each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid) for each in ordered]
    note = _begin_note(complete, context)
    note.SOPInstanceUID = derive_uid(
        "object",
        ObjectKind.KOS.value,
        _REJECTION,
        str(note.StudyInstanceUID),
        str(serial),
        title.value,
        said,
        *filter(None, [context.installation]),
        *(part for each in referenced for part in each),
    )
    note.InstanceNumber = serial
    document.add_references(note, complete, referenced)
    observer = document.device_observer(None)
    note.update(_tree(title, [document.language_item("en"), *observer], said, referenced))
    return result_object(note, _DEFAULT)


def _begin_note(header: Dataset, context: ReportContext) -> Dataset:
    """Write the modules of a note but its references; the node says it, whatever model made the results."""
    note = Dataset()
    source.copy_patient_and_study(header, note)
    source.stamp_dates(note, context)
    note.Manufacturer = MANUFACTURER
    note.ManufacturerModelName = MODEL_NAME
    note.SoftwareVersions = __version__
    note.DeviceUID = DEVICE_UID
    note.SOPClassUID = KeyObjectSelectionDocumentStorage
    note.Modality = "KO"
    note.SeriesInstanceUID = derive_uid(
        "series",
        str(note.StudyInstanceUID),
        ObjectKind.KOS.value,
        _REJECTION,
        *filter(None, [context.installation, note.get("TimezoneOffsetFromUTC")]),
    )
    note.SeriesNumber = REJECTION_SERIES_NUMBER
    note.SeriesDescription = f"{wording.BRAND} rejection note"
    return note


def _tree(title: Code, context: Sequence[Dataset], said: str, referenced: Iterable[Referenced]) -> Dataset:
    """TID 2010."""
    items = [
        content_items.reference(
            (sop_class_uid, sop_instance_uid),
            is_image=sop_class_uid not in _NO_IMAGES,
        )
        for sop_class_uid, sop_instance_uid, _ in referenced
    ]
    described = [content_items.text(_DESCRIPTION, said)]
    return content_items.container(title, [*context, *described, *items], None, template="2010")
