"""What the documents of a study share: readings in order, identity, references, the modules around a tree."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm
from mcads_node.instance import View
from mcads_node.product import DEVICE_UID, MANUFACTURER, MODEL_NAME
from mcads_node.report import codes, content_items, source
from mcads_node.report.identity import object_uid, stamp_series
from mcads_node.report.wording import Translator, translator
from mcads_node.result import (
    ImageReading,
    ObjectKind,
    Referenced,
    Rendition,
    ReportContext,
    ResultObject,
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """What one document is made of; from `draft`."""

    #: at least one, headers completed, in the order in which they are shown
    readings: tuple[ImageReading, ...]
    algorithm: Algorithm
    context: ReportContext
    rendition: Rendition

    @property
    def source(self) -> Dataset:
        """The header that patient and study are copied from."""
        return self.readings[0].header

    @property
    def tr(self) -> Translator:
        """Texts in the rendition's language."""
        return translator(self.rendition.language)

    @property
    def images(self) -> list[Referenced]:
        """The source images."""
        return [_referenced(reading.header) for reading in self.readings]


def draft(
    readings: Sequence[ImageReading], algorithm: Algorithm, context: ReportContext, rendition: Rendition
) -> Draft:
    """Complete the headers, check that they can be referred to, and order them by view and UID.

    Raises
    ------
    ReportImpossible
        There is no image, images are of different studies or share a UID, or a UID that a reference needs is
        absent or malformed.
    """
    if not readings:
        raise ReportImpossible("no image of the study was read: an empty report is not a report")
    completed = [replace(reading, header=referable_header(reading.header)) for reading in readings]
    if len({reading.header.StudyInstanceUID for reading in completed}) > 1:
        raise ReportImpossible(
            "the images are of different studies: one Study Instance UID (0020,000D) expected"
        )
    if len({reading.header.SOPInstanceUID for reading in completed}) < len(completed):
        raise ReportImpossible("two images share a SOP Instance UID (0008,0018)")
    completed.sort(key=lambda reading: (_VIEW_ORDER.index(reading.view), reading.header.SOPInstanceUID))
    return Draft(readings=tuple(completed), algorithm=algorithm, context=context, rendition=rendition)


def referable_header(header: Dataset) -> Dataset:
    """Complete a source's header, and see that it has the UIDs by which it is referred to.

    Raises
    ------
    ReportImpossible
        If a UID is absent or malformed.
    """
    complete = source.complete_header(header)
    missing = [name for keyword, name in _NEEDED if not complete.get(keyword)]
    if missing:
        raise ReportImpossible(f"the source has no valid {', '.join(missing)}: a report cannot refer to it")
    return complete


def begin(made_of: Draft, sop_class_uid: str, modality: str, detail: str = "") -> Dataset:
    """Write patient, study, equipment, times, series and SOP Common modules.

    Parameters
    ----------
    made_of
        What the document is made of.
    sop_class_uid
        Of the document.
    modality
        Of its series.
    detail
        What else the document's identity follows from, besides images, thresholds, revision and variant.
    """
    kind, algorithm, variant = made_of.rendition.kind, made_of.algorithm, made_of.rendition.variant
    document = Dataset()
    source.copy_patient_and_study(made_of.source, document)
    source.stamp_equipment(document, algorithm)
    source.stamp_dates(document, made_of.context)
    uids = [str(reading.header.SOPInstanceUID) for reading in made_of.readings]
    thresholds = {
        f"{uid} {finding.label}": finding.threshold
        for uid, reading in zip(uids, made_of.readings, strict=True)
        for finding in reading.findings
    }
    document.SOPClassUID = sop_class_uid
    document.SOPInstanceUID = object_uid(
        kind,
        uids,
        algorithm,
        thresholds,
        detail="/".join(filter(None, (detail, variant, made_of.context.installation))),
        revision=made_of.context.revision,
    )
    document.Modality = modality
    stamp_series(document, made_of.rendition, algorithm, made_of.context.installation)
    document.InstanceNumber = min(made_of.context.revision, 2**31 - 1)
    return document


def add_document_general(document: Dataset, made_of: Draft, referenced: Iterable[Referenced]) -> None:
    """Write the SR Document Series and SR Document General modules (PS3.3 C.17.1, C.17.2)."""
    document.CompletionFlag = "COMPLETE"
    document.VerificationFlag = "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    document.PerformedProcedureCodeSequence = copy.deepcopy(made_of.source.get("ProcedureCodeSequence", []))
    add_references(document, made_of.source, referenced)
    if made_of.context.predecessor is not None:
        document.PredecessorDocumentsSequence = hierarchy(
            str(document.StudyInstanceUID), [made_of.context.predecessor]
        )


def add_references(document: Dataset, header: Dataset, referenced: Iterable[Referenced]) -> None:
    """Write what is referred to: the requested procedures, and all instances (the evidence)."""
    document.ReferencedPerformedProcedureStepSequence = []
    requests = source.referenced_requests(header)
    if requests:
        document.ReferencedRequestSequence = requests
    document.CurrentRequestedProcedureEvidenceSequence = hierarchy(str(document.StudyInstanceUID), referenced)


def hierarchy(study_uid: str, referenced: Iterable[Referenced]) -> list[Dataset]:
    """Write references by series, as the SOP Instance Reference macro has them (PS3.3 table C.17-3)."""
    by_series: dict[str, list[tuple[str, str]]] = {}
    for sop_class_uid, sop_instance_uid, series in referenced:
        by_series.setdefault(series, []).append((sop_class_uid, sop_instance_uid))
    study = Dataset()
    study.StudyInstanceUID = study_uid
    study.ReferencedSeriesSequence = [_series_item(*entry) for entry in by_series.items()]
    return [study]


def _series_item(series_instance_uid: str, instances: Iterable[tuple[str, str]]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series_instance_uid
    item.ReferencedSOPSequence = [
        content_items.instance_reference(*instance) for instance in dict.fromkeys(instances)
    ]
    return item


def _referenced(header: Dataset) -> Referenced:
    return str(header.SOPClassUID), str(header.SOPInstanceUID), str(header.SeriesInstanceUID)


def language_item(language: str) -> Dataset:
    """Write TID 1204."""
    return content_items.coded(codes.LANGUAGE, codes.language(language), "HAS CONCEPT MOD")


def device_observer(algorithm: Algorithm | None) -> list[Dataset]:
    """Write TID 1002 and 1004; equal to the item of Contributing Equipment that `stamp_equipment` writes.

    Without an algorithm it is the node itself that speaks.
    """
    uid, name = (DEVICE_UID, MODEL_NAME) if algorithm is None else (algorithm.device_uid, algorithm.name)
    texts: list[tuple[Code, str]] = [
        (codes.DEVICE_NAME, name),
        (codes.DEVICE_MANUFACTURER, MANUFACTURER),
        (codes.DEVICE_MODEL_NAME, MODEL_NAME),
    ]
    items = [
        content_items.coded(codes.OBSERVER_TYPE, codes.DEVICE, "HAS OBS CONTEXT"),
        content_items.uid_reference(codes.DEVICE_UID, uid, "HAS OBS CONTEXT"),
    ]
    return items + [content_items.text(name, value, "HAS OBS CONTEXT") for name, value in texts]


def result(document: Dataset, kind: ObjectKind, variant: str = "") -> ResultObject:
    """Encode a finished document."""
    return ResultObject(
        kind=kind,
        sop_class_uid=str(document.SOPClassUID),
        sop_instance_uid=str(document.SOPInstanceUID),
        series_instance_uid=str(document.SeriesInstanceUID),
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        data=source.finish(document),
        variant=variant,
    )
