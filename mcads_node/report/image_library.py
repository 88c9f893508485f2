"""The Image Library of a report (TID 1600), written by hand.

highdicom's demands Imager Pixel Spacing and a two-valued Patient Orientation, which a typical CR has not;
here an image has the descriptors that its header tells. Heatmaps are not in it: they are made of the
findings, not the findings of them, and a destination that takes reports alone would be left with references
to nothing. The key object selection has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from mcads_node.instance import View
from mcads_node.report import content_items
from mcads_node.result import ImageReading

IMAGE_LIBRARY: Final = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP: Final = Code("126200", "DCM", "Image Library Group")
_MODALITY: Final = Code("121139", "DCM", "Modality")
_IMAGE_VIEW: Final = Code("111031", "DCM", "Image View")
_ROWS: Final = Code("110910", "DCM", "Pixel Data Rows")
_COLUMNS: Final = Code("110911", "DCM", "Pixel Data Columns")
_PIXELS: Final = Code("{pixels}", "UCUM", "Pixels")
_MILLIMETRE: Final = Code("mm", "UCUM", "mm")

#: CID 33, those that a radiograph may come under
_MODALITIES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "CR": Code("CR", "DCM", "Computed Radiography"),
        "DX": Code("DX", "DCM", "Digital Radiography"),
        "RF": Code("RF", "DCM", "Radiofluoroscopy"),
        "RG": Code("RG", "DCM", "Radiographic imaging"),
    }
)
#: CID 4010
_VIEWS: Final[Mapping[View, Code]] = MappingProxyType(
    {
        View.PA: Code("272479007", "SCT", "postero-anterior"),
        View.AP: Code("399348003", "SCT", "antero-posterior"),
        View.LATERAL: Code("399067008", "SCT", "lateral"),
    }
)
#: when the image was made: the first pair whose date the header has
_MOMENTS: Final = (
    ("Acquisition", Code("126201", "DCM", "Acquisition Date"), Code("126202", "DCM", "Acquisition Time")),
    ("Content", Code("111018", "DCM", "Content Date"), Code("111019", "DCM", "Content Time")),
    ("Study", Code("111060", "DCM", "Study Date"), Code("111061", "DCM", "Study Time")),
)
#: by place among the two values
_ORIENTATIONS: Final = (
    Code("111044", "DCM", "Patient Orientation Row"),
    Code("111043", "DCM", "Patient Orientation Column"),
)
#: Imager Pixel Spacing is row spacing, column spacing
_SPACINGS: Final = (
    Code("111066", "DCM", "Vertical Pixel Spacing"),
    Code("111026", "DCM", "Horizontal Pixel Spacing"),
)

#: every code that it may write
CODES: Final = (
    IMAGE_LIBRARY,
    IMAGE_LIBRARY_GROUP,
    _MODALITY,
    _IMAGE_VIEW,
    _ROWS,
    _COLUMNS,
    _PIXELS,
    _MILLIMETRE,
    *_MODALITIES.values(),
    *_VIEWS.values(),
    *(name for _, *names in _MOMENTS for name in names),
    *_ORIENTATIONS,
    *_SPACINGS,
)


def image_library(readings: Sequence[ImageReading]) -> Dataset:
    """Write the library of the source images.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        In the order of the report; headers from `complete_header`.

    Returns
    -------
    pydicom.dataset.Dataset
        CONTAINER (111028, DCM, "Image Library") with one group.
    """
    entries = [_entry(reading) for reading in readings]
    group = content_items.container(IMAGE_LIBRARY_GROUP, entries)
    return content_items.container(IMAGE_LIBRARY, [group])


def _entry(reading: ImageReading) -> Dataset:
    """TID 1601: the image, and in TID 1602 and 1603 what is known of it."""
    header = reading.header
    entry = content_items.reference((header.SOPClassUID, header.SOPInstanceUID))
    descriptors = [*_descriptors(reading), *_geometry(header)]
    if descriptors:
        entry.ContentSequence = descriptors
    return entry


def _descriptors(reading: ImageReading) -> Iterator[Dataset]:
    header = reading.header
    modality = _MODALITIES.get(str(header.get("Modality") or ""))
    if modality is not None:
        yield content_items.coded(_MODALITY, modality, "HAS ACQ CONTEXT")
    if reading.view in _VIEWS:
        yield content_items.coded(_IMAGE_VIEW, _VIEWS[reading.view], "HAS ACQ CONTEXT")
    for prefix, date_name, time_name in _MOMENTS:
        date, time = header.get(f"{prefix}Date"), header.get(f"{prefix}Time")
        if date:
            yield content_items.date(date_name, str(date), "HAS ACQ CONTEXT")
            if time:
                yield content_items.time(time_name, str(time), "HAS ACQ CONTEXT")
            return


def _geometry(header: Dataset) -> Iterator[Dataset]:
    for name, keyword in ((_ROWS, "Rows"), (_COLUMNS, "Columns")):
        count = header.get(keyword)
        if isinstance(count, int) and count > 0:
            yield content_items.number(name, count, _PIXELS, "HAS ACQ CONTEXT")
    orientation = _pair(header, "PatientOrientation")
    for name, direction in zip(_ORIENTATIONS, orientation, strict=False):
        yield content_items.text(name, direction, "HAS ACQ CONTEXT")
    spacing = [float(value) for value in _pair(header, "ImagerPixelSpacing")]
    if spacing and min(spacing) > 0:
        for name, value in zip(_SPACINGS, spacing, strict=True):
            yield content_items.number(name, value, _MILLIMETRE, "HAS ACQ CONTEXT")


def _pair(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Values of an attribute that has two, or nothing: one of two says too little."""
    value = header.get(keyword)
    values = () if value is None or isinstance(value, str) else tuple(map(str, value))
    return values if len(values) == 2 and all(values) else ()
