"""Segmentation: for each finding, the area where its map is high, in the pixels of the source (PS3.3 A.51).

A map says where the model looked, which is not where a lesion ends: every description says so, the property's
category is a Spatial and Relational Concept and no structure, and nothing is to be measured on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import SegmentationStorage

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Heatmap
from mcads_node.instance import Radiograph
from mcads_node.report import codes, identity, wording
from mcads_node.report.annotation import (
    annotation,
    content_description,
    in_order,
    line,
    making_of,
    meaning,
)
from mcads_node.report.content_items import code_sequence
from mcads_node.report.contour import LEVEL, cutoff
from mcads_node.report.evidence import (
    SOURCE_IMAGE,
    inherit_loss,
    referable_header,
    reference,
    referenced_series,
)
from mcads_node.report.making import Making, result_object
from mcads_node.resample import to_source
from mcads_node.result import Rendition, ReportContext, ResultObject

#: CID 7150; not Morphologically Abnormal Structure: the area is the model's, not the patient's
_CATEGORY: Final = Code("309825002", "SCT", "Spatial and Relational Concept")
_SEGMENTATION: Final = Code("113076", "DCM", "Segmentation")
#: the first that a source has: distances at the detector are not those in the patient, but a viewer needs a
#: grid, and without a calibration they are what Pixel Spacing holds (PS3.3 10.7.1.3)
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")

_Mask = NDArray[np.bool_]


def segmentation(
    radiograph: Radiograph,
    heatmaps: Sequence[Heatmap],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition,
) -> ResultObject | None:
    """Make the segmentation of one image, a BINARY segment a finding.

    Parameters
    ----------
    radiograph: Radiograph
        The image, in source geometry.
    heatmaps: Sequence[Heatmap]
        Of the same image, in any order.
    algorithm: Algorithm
        Who made them.
    context: ReportContext
        Times. As of a heatmap's capture, the revision is no part of it.
    rendition: Rendition
        Language, series number and description.

    Returns
    -------
    ResultObject or None
        Explicit VR Little Endian; equal arguments give equal bytes. None where no heatmap marks a pixel.

    Raises
    ------
    ReportImpossible
        If the source has no spacing or no orientation of its rows and columns, its header lacks a UID that
        must be named, a heatmap is of another image, or a label has no code.
    """
    header = referable_header(radiograph.header)
    marked = [(heatmap, area_of(heatmap)) for heatmap in in_order(radiograph, heatmaps)]
    marked = [(heatmap, area) for heatmap, area in marked if area.any()]
    if not marked:
        return None
    spacing, orientation = _placed(header)
    shown, areas = [heatmap for heatmap, _ in marked], [area for _, area in marked]
    making = making_of(header, shown, algorithm, context, rendition)
    made = annotation(header, making, SegmentationStorage, "SEG")
    made.ContentDescription = content_description(shown[0], making)
    made.PatientOrientation = orientation
    # type 1 here; the version of a model is the device
    made.DeviceSerialNumber = algorithm.device_uid
    _write_pixels(made, areas)
    inherit_loss(made, [header])
    made.SegmentSequence = [
        _segment(number, heatmap, header, making) for number, heatmap in enumerate(shown, start=1)
    ]
    _write_frames(made, header, len(areas), spacing)
    made.ReferencedSeriesSequence = referenced_series([header])
    return result_object(made, rendition)


def area_of(heatmap: Heatmap) -> _Mask:
    """Find the pixels that an outline of the same map encloses: bool, rows × columns of the source."""
    area: _Mask = to_source(heatmap.activation, heatmap.geometry) >= cutoff(heatmap.activation, LEVEL)
    return area


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


def _write_pixels(made: Dataset, areas: Sequence[_Mask]) -> None:
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


def _segment(number: int, heatmap: Heatmap, header: Dataset, making: Making) -> Dataset:
    """Describe one segment (PS3.3 C.8.20.4)."""
    finding, algorithm, tr = heatmap.finding, making.algorithm, making.tr
    of = codes.finding_code(finding.label)
    segment = Dataset()
    segment.SegmentNumber = number
    # the caution and the meaning stand before a finding's name: lists of segments are cut on the right
    segment.SegmentLabel = line(
        wording.short_caution(algorithm, tr), "AI:", wording.heatmap_title(heatmap, tr)
    )
    segment.SegmentDescription = (
        f"{meaning(heatmap, making)}; {wording.derivation_text(heatmap, algorithm, tr)}"[:1024]
    )
    segment.SegmentAlgorithmType = "AUTOMATIC"
    segment.SegmentAlgorithmName = line(f"{heatmap.method} of {algorithm.name}")
    segment.SegmentationAlgorithmIdentificationSequence = [_identification(heatmap, algorithm)]
    segment.SegmentedPropertyCategoryCodeSequence = code_sequence(_CATEGORY)
    segment.SegmentedPropertyTypeCodeSequence = code_sequence(of.code)
    if of.site is not None:
        segment.AnatomicRegionSequence = code_sequence(of.site)
    segment.TrackingID = f"{of.code.meaning} ({wording.source_text(header)})"
    # the report's: what it says of this finding is found again here
    segment.TrackingUID = identity.tracking_uid(str(header.SOPInstanceUID), finding.label, algorithm)
    return segment


def _identification(heatmap: Heatmap, algorithm: Algorithm) -> Dataset:
    """Algorithm Identification (PS3.3 10.16), with the values of the report's TID 4019."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = code_sequence(codes.ARTIFICIAL_INTELLIGENCE)
    item.AlgorithmName = algorithm.name
    item.AlgorithmVersion = algorithm.version
    parameters = [
        f"weights SHA-256: {algorithm.weights_digest}",
        f"explanation: {heatmap.method}",
        f"area: at or above {LEVEL:g} of the map's maximum",
    ]
    if algorithm.caution:
        parameters.append(f"caution: {algorithm.caution}")
    item.AlgorithmParameters = "; ".join(parameters)
    return item


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
