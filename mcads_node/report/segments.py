"""What every segmentation has: its grid, one bit a pixel, and a frame for each segment (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.tag import Tag

from mcads_node.errors import ReportImpossible
from mcads_node.report import identity
from mcads_node.report.content_items import code_sequence
from mcads_node.report.evidence import SOURCE_IMAGE, inherit_loss, reference, referenced_series

Mask = NDArray[np.bool_]

_SEGMENTATION: Final = Code("113076", "DCM", "Segmentation")
#: the first that a source has: distances at the detector are not those in the patient, but a viewer needs a
#: grid, and without a calibration they are what Pixel Spacing holds (PS3.3 10.7.1.3)
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def write_segments(
    made: Dataset, header: Dataset, masks: Sequence[Mask], segments: Sequence[Dataset]
) -> None:
    """Write the modules of a BINARY segmentation with a frame for each segment.

    Parameters
    ----------
    made: pydicom.dataset.Dataset
        Has its SOP Instance UID already.
    header: pydicom.dataset.Dataset
        Of the source, from `referable_header`.
    masks: Sequence[ndarray of bool]
        Rows × columns of the source, at least one.
    segments: Sequence[pydicom.dataset.Dataset]
        Items of Segment Sequence, one a mask, without their numbers.

    Raises
    ------
    ReportImpossible
        The source has no spacing, or no orientation of its rows and columns.
    """
    spacing, orientation = _placed(header)
    made.PatientOrientation = orientation
    _write_pixels(made, masks)
    inherit_loss(made, [header])
    for number, segment in enumerate(segments, start=1):
        segment.SegmentNumber = number
    made.SegmentSequence = list(segments)
    _write_frames(made, header, len(masks), spacing)
    made.ReferencedSeriesSequence = referenced_series([header])


def _placed(header: Dataset) -> tuple[list[str], list[str]]:
    """Give spacing and orientation; without them viewers fail on a segmentation, rather than leave it out.

    Raises
    ------
    ReportImpossible
        The source lacks one or both, with their tags.
    """
    spacing = next((list(header[keyword].value) for keyword in _SPACINGS if header.get(keyword)), [])
    orientation = list(header.get("PatientOrientation") or ())
    missing = []
    if len(spacing) != 2:
        missing.append("Pixel Spacing (0028,0030) or Imager Pixel Spacing (0018,1164)")
    if len(orientation) != 2:
        missing.append("Patient Orientation (0020,0020)")
    if missing:
        raise ReportImpossible(f"the source has no {', no '.join(missing)}: a segmentation needs both")
    return spacing, orientation


def _write_pixels(made: Dataset, areas: Sequence[Mask]) -> None:
    """Image Pixel and Segmentation Image modules: one bit a pixel, frames end to end without padding."""
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = areas[0].shape
    made.NumberOfFrames = len(areas)
    made.BitsAllocated, made.BitsStored, made.HighBit = 1, 1, 0
    made.PixelRepresentation = 0
    made.SegmentationType = "BINARY"
    made.SegmentsOverlap = "YES" if np.sum(areas, axis=0, dtype=np.uint16).max() > 1 else "NO"
    data = np.packbits(np.stack(areas), bitorder="little").tobytes()
    made.PixelData = data if len(data) % 2 == 0 else data + b"\0"


def _write_frames(made: Dataset, header: Dataset, frames: int, spacing: Sequence[str]) -> None:
    """Multi-frame Functional Groups and Multi-frame Dimension modules: a frame for each segment."""
    organization = identity.derive_uid("dimensions", made.SOPInstanceUID)
    made.DimensionOrganizationSequence = [_with(DimensionOrganizationUID=organization)]
    index = _with(
        DimensionOrganizationUID=organization,
        DimensionIndexPointer=Tag("ReferencedSegmentNumber"),
        FunctionalGroupPointer=Tag("SegmentIdentificationSequence"),
        DimensionDescriptionLabel="Segment Number",
    )
    made.DimensionIndexSequence = [index]
    measures = _with(PixelSpacing=spacing)
    made.SharedFunctionalGroupsSequence = [_with(PixelMeasuresSequence=[measures])]
    made.PerFrameFunctionalGroupsSequence = [_frame(number, header) for number in range(1, frames + 1)]


def _frame(number: int, header: Dataset) -> Dataset:
    origin = reference(header, SOURCE_IMAGE)
    origin.SpatialLocationsPreserved = "YES"
    derivation = _with(DerivationCodeSequence=code_sequence(_SEGMENTATION), SourceImageSequence=[origin])
    return _with(
        FrameContentSequence=[_with(DimensionIndexValues=[number])],
        DerivationImageSequence=[derivation],
        SegmentIdentificationSequence=[_with(ReferencedSegmentNumber=number)],
    )


def _with(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
