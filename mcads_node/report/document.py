"""What the documents of a study share: readings in order, identity, references, the modules around a tree."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from mcads_node.finding import Algorithm
from mcads_node.product import DEVICE_UID, MANUFACTURER, MODEL_NAME
from mcads_node.report import codes, content_items, source
from mcads_node.report.evidence import VIEW_ORDER, beside, of_one_study, thresholds_of
from mcads_node.report.identity import object_uid, revision_number, told_apart
from mcads_node.report.making import Making, begin_object
from mcads_node.report.translation import Translator, translator
from mcads_node.result import ImageReading, Referenced, Rendition, ReportContext


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
        As `of_one_study`.
    """
    completed = of_one_study(readings)
    completed.sort(key=lambda reading: (VIEW_ORDER.index(reading.view), reading.header.SOPInstanceUID))
    return Draft(readings=tuple(completed), algorithm=algorithm, context=context, rendition=rendition)


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
        What else the document's identity follows from, besides images, thresholds, rules of triage, revision
        and variant.
    """
    rendition, algorithm, context = made_of.rendition, made_of.algorithm, made_of.context
    uid = object_uid(
        rendition.kind,
        [str(reading.header.SOPInstanceUID) for reading in made_of.readings],
        algorithm,
        thresholds_of(made_of.readings),
        detail=told_apart(rendition, context, detail, beside(made_of.readings)),
        revision=context.revision,
    )
    making = Making(rendition=rendition, sop_instance_uid=uid, algorithm=algorithm, context=context)
    document = begin_object(made_of.source, making, sop_class_uid, modality)
    document.InstanceNumber = revision_number(context)
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
