"""Segmentation: for each finding, the area where its map is high, in the pixels of the source (PS3.3 A.51).

A map says where the model looked, which is not where a lesion ends: every description says so, the property's
category is a Spatial and Relational Concept and no structure, and nothing is to be measured on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

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
from mcads_node.report.evidence import referable_header
from mcads_node.report.making import Making, result_object
from mcads_node.report.segments import Mask, write_segments
from mcads_node.resample import to_source
from mcads_node.result import Rendition, ReportContext, ResultObject

#: CID 7150; not Morphologically Abnormal Structure: the area is the model's, not the patient's
_CATEGORY: Final = Code("309825002", "SCT", "Spatial and Relational Concept")


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
    shown, areas = [heatmap for heatmap, _ in marked], [area for _, area in marked]
    making = making_of(header, shown, algorithm, context, rendition)
    made = annotation(header, making, SegmentationStorage, "SEG")
    made.ContentDescription = content_description(shown[0], making)
    # type 1 here; the version of a model is the device
    made.DeviceSerialNumber = algorithm.device_uid
    write_segments(made, header, areas, [_segment(heatmap, header, making) for heatmap in shown])
    return result_object(made, rendition)


def area_of(heatmap: Heatmap) -> Mask:
    """Find the pixels that an outline of the same map encloses: bool, rows × columns of the source."""
    area: Mask = to_source(heatmap.activation, heatmap.geometry) >= cutoff(heatmap.activation, LEVEL)
    return area


def _segment(heatmap: Heatmap, header: Dataset, making: Making) -> Dataset:
    """Describe one segment (PS3.3 C.8.20.4)."""
    finding, algorithm, tr = heatmap.finding, making.algorithm, making.tr
    of = codes.finding_code(finding.label)
    segment = Dataset()
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
