"""The evidence of a result: its source images, fit to be referred to, and the references themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from mcads_node.errors import ReportImpossible
from mcads_node.instance import View
from mcads_node.report import content_items, identity, source
from mcads_node.result import ImageReading

#: frontal images first, as a radiologist reads them
VIEW_ORDER: Final = (View.PA, View.AP, View.LATERAL, View.OTHER, View.UNKNOWN)
#: purpose of a reference to an image that something was made of, CID 7202
SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")

#: what a reference to an image cannot do without
_NEEDED: Final = (
    ("StudyInstanceUID", "Study Instance UID (0020,000D)"),
    ("SeriesInstanceUID", "Series Instance UID (0020,000E)"),
    ("SOPClassUID", "SOP Class UID (0008,0016)"),
    ("SOPInstanceUID", "SOP Instance UID (0008,0018)"),
)
#: transfer syntaxes that may lose, and by which method (PS3.3 C.7.6.1.1.5.1). Lossless encoding has its own,
#: so a device that chose one of these most likely lost something: unless its header denies it, what is made
#: of the image says so. "00" would be a claim that nobody made
_LOSSY: Final[Mapping[str, str]] = MappingProxyType(
    {
        JPEGBaseline8Bit: "ISO_10918_1",
        JPEGExtended12Bit: "ISO_10918_1",
        JPEGLSNearLossless: "ISO_14495_1",
        JPEG2000: "ISO_15444_1",
        HTJ2K: "ISO_15444_15",
    }
)
#: those that cannot but lose, whatever the header says
_ALWAYS_LOSSY: Final = (JPEGBaseline8Bit, JPEGExtended12Bit)


def referable_header(header: Dataset) -> Dataset:
    """Complete a source's header, and see that it has the UIDs by which it is referred to.

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        As it was read, however odd; not changed.

    Raises
    ------
    ReportImpossible
        If a UID is absent or malformed.
    """
    complete = source.complete_header(header)
    _mark_lossy(complete, getattr(header, "file_meta", {}).get("TransferSyntaxUID", ""))
    missing = [name for keyword, name in _NEEDED if not complete.get(keyword)]
    if missing:
        raise ReportImpossible(f"the source has no valid {', '.join(missing)}: a result cannot refer to it")
    return complete


def _mark_lossy(complete: Dataset, transfer_syntax_uid: str) -> None:
    """Say of a source that was encoded with loss that it was, where its header does not."""
    said = complete.get("LossyImageCompression")
    denied = said == "00" and transfer_syntax_uid not in _ALWAYS_LOSSY
    if transfer_syntax_uid in _LOSSY and said != "01" and not denied:
        complete.LossyImageCompression = "01"
        complete.LossyImageCompressionMethod = _LOSSY[transfer_syntax_uid]
        # of what the header denies, it gives no ratio that could be meant
        complete.pop("LossyImageCompressionRatio", None)


def of_one_study(readings: Sequence[ImageReading]) -> list[ImageReading]:
    """Complete the headers of a study's readings, and see that they are one.

    Raises
    ------
    ReportImpossible
        There is no image, images are of different studies or share a UID, or a UID that a reference needs is
        absent or malformed.
    """
    if not readings:
        raise ReportImpossible("no image of the study was read: a result needs at least one")
    completed = [replace(reading, header=_referable_header_of(reading)) for reading in readings]
    if len({reading.header.StudyInstanceUID for reading in completed}) > 1:
        raise ReportImpossible(
            "the images are of different studies: one Study Instance UID (0020,000D) expected"
        )
    if len({reading.header.SOPInstanceUID for reading in completed}) < len(completed):
        raise ReportImpossible("two images share a SOP Instance UID (0008,0018)")
    return completed


#: of the readings that a report is being made of: each of its objects asks for them
_REFERABLE: WeakKeyDictionary[ImageReading, Dataset] = WeakKeyDictionary()


def _referable_header_of(reading: ImageReading) -> Dataset:
    if reading not in _REFERABLE:
        _REFERABLE[reading] = referable_header(reading.header)
    return _REFERABLE[reading]


def thresholds_of(readings: Iterable[ImageReading]) -> dict[str, float]:
    """Give every threshold by image and label: another one makes another result."""
    return {
        f"{reading.header.SOPInstanceUID} {finding.label}": finding.threshold
        for reading in readings
        for finding in reading.findings
    }


def beside(readings: Sequence[ImageReading]) -> str:
    """Name the models and rules that speak of the images besides what reads: others make other results."""
    models = identity.beside(reading.anatomy.algorithm for reading in readings if reading.anatomy is not None)
    return "/".join(filter(None, (models, triage_rules_of(readings))))


def triage_rules_of(readings: Iterable[ImageReading]) -> str:
    """Name the rules of triage that images were held against."""
    digests = {reading.triage.digest for reading in readings if reading.triage is not None}
    return f"triage {','.join(sorted(digests))}" if digests else ""


def reference(header: Dataset, purpose: Code | None = None) -> Dataset:
    """Refer to a source, and say what for."""
    item = content_items.instance_reference(header.SOPClassUID, header.SOPInstanceUID)
    if purpose is not None:
        item.PurposeOfReferenceCodeSequence = content_items.code_sequence(purpose)
    return item


def referenced_series(headers: Iterable[Dataset]) -> list[Dataset]:
    """List sources by series, for the Common Instance Reference module (PS3.3 C.12.2)."""
    by_series: dict[str, list[Dataset]] = {}
    for header in headers:
        by_series.setdefault(str(header.SeriesInstanceUID), []).append(reference(header))
    items = []
    for uid, references in by_series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = references
        items.append(item)
    return items


def inherit_loss(made: Dataset, headers: Iterable[Dataset]) -> None:
    """Say whether a source was compressed with loss, and how and how much where the source says it."""
    lossy = next((header for header in headers if header.get("LossyImageCompression") == "01"), None)
    made.LossyImageCompression = "00" if lossy is None else "01"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if lossy is not None and lossy.get(keyword):
            made[keyword] = lossy[keyword]


def burned_in(headers: Iterable[Dataset]) -> str:
    """Burned In Annotation (0028,0301) of what shows the sources' pixels: YES where one of theirs is."""
    return "YES" if any(header.get("BurnedInAnnotation") == "YES" for header in headers) else "NO"
