"""Secondary captures: what a heatmap and a summary page are in DICOM (PS3.3 A.8.1, Secondary Capture Image).

The heatmap's caption extends Rows below the image instead of covering anatomy. Row r, column c of the source
stays row r, column c of the capture, so Spatial Locations Preserved (0028,135A) is YES, PixelSpacing holds,
and a viewer may carry a measurement or a pointer over; only where the image was made smaller is it NO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import DSfloat

from mcads_node.finding import COMBINED, GRAD_CAM, PLI, Algorithm, Heatmap
from mcads_node.instance import Radiograph
from mcads_node.report import identity, source, wording
from mcads_node.report.content_items import code_sequence
from mcads_node.report.evidence import VIEW_ORDER, beside, of_one_study, referable_header, thresholds_of
from mcads_node.report.making import Making, result_object
from mcads_node.report.overlay import captioned_heatmap, thumbnail
from mcads_node.report.sc import secondary_capture
from mcads_node.report.summary_page import summary_page
from mcads_node.report.translation import translator
from mcads_node.result import ImageReading, ObjectKind, Rendition, ReportContext, ResultObject

__all__ = ["heatmap_capture", "summary_capture", "thumbnail"]

#: Derivation Code (0008,9215) by explanation method, with the meaning that PS3.16 gives it
_GRADIENT_WEIGHTED: Final = Code("130403", "DCM", "Gradient-weighted class activation")
_DERIVATION: Final = {
    GRAD_CAM: _GRADIENT_WEIGHTED,
    COMBINED: _GRADIENT_WEIGHTED,
    PLI: Code("130404", "DCM", "Saliency"),
}
#: what a destination gets that asks for nothing else
HEATMAP: Final = Rendition(kind=ObjectKind.HEATMAP)
SUMMARY: Final = Rendition(kind=ObjectKind.SUMMARY)
#: IS holds at most 2^31 − 1; the number below is multiplied by 100
_LARGEST_NUMBER: Final = 10_000_000


def heatmap_capture(
    radiograph: Radiograph,
    heatmap: Heatmap,
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition = HEATMAP,
) -> ResultObject:
    """Make the secondary capture of one heatmap.

    Parameters
    ----------
    radiograph: Radiograph
        The image, in source geometry; its own window is in its pixels.
    heatmap: Heatmap
        Of the same image.
    algorithm: Algorithm
        Who made it.
    context: ReportContext
        Times. The revision is no part of a heatmap: it speaks of its image alone, and stays as it is when the
        study's report is revised.
    rendition: Rendition
        How a destination wants it.

    Returns
    -------
    ResultObject
        RGB, 8 bit; equal arguments give equal bytes.

    Raises
    ------
    ReportImpossible
        If the source's header lacks a UID that the capture must name, the heatmap is of another image, or
        there is no such language, style or transfer syntax.
    """
    header = referable_header(radiograph.header)
    labels = ",".join(finding.label for finding in heatmap.findings)
    drawn = captioned_heatmap(radiograph, heatmap, algorithm, rendition)
    full_size = drawn.shape == radiograph.pixels.shape
    claim = (labels, heatmap.method, str(heatmap.positive), heatmap.finding.presence, str(drawn.shape))
    uid = identity.object_uid(
        ObjectKind.HEATMAP,
        [header.SOPInstanceUID],
        algorithm,
        {finding.label: finding.threshold for finding in heatmap.findings},
        detail=identity.told_apart(rendition, context, *claim),
    )
    making = Making(
        rendition=rendition,
        sop_instance_uid=uid,
        algorithm=algorithm,
        context=context,
        method=heatmap.method,
    )
    capture = secondary_capture([header], drawn.pixels, making, preserved="YES" if full_size else "NO")
    capture.InstanceNumber = _heatmap_number(header, heatmap, algorithm)
    capture.DerivationDescription = wording.derivation_text(heatmap, algorithm, making.tr)
    if heatmap.method in _DERIVATION:
        capture.DerivationCodeSequence = code_sequence(_DERIVATION[heatmap.method])
    capture.PatientOrientation = header.get("PatientOrientation") or ""
    _add_spacing(capture, header, (drawn.shape[0], drawn.shape[1]), radiograph.pixels.shape)
    return result_object(capture, rendition)


def summary_capture(
    readings: Sequence[ImageReading],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition = SUMMARY,
) -> ResultObject:
    """Make the secondary capture of the summary page of a study.

    Parameters
    ----------
    readings: Sequence[ImageReading]
        All images of the study that were read, at least one, in any order.
    algorithm: Algorithm
        Who read them.
    context: ReportContext
        Times, revision, and what was not read.
    rendition: Rendition
        How a destination wants it.

    Returns
    -------
    ResultObject
        RGB, 8 bit; equal arguments give equal bytes.

    Raises
    ------
    ReportImpossible
        As `of_one_study`, or there is no such language or transfer syntax.
    """
    ordered = sorted(of_one_study(readings), key=_page_order)
    headers = [reading.header for reading in ordered]
    uid = identity.object_uid(
        ObjectKind.SUMMARY,
        [header.SOPInstanceUID for header in headers],
        algorithm,
        thresholds_of(ordered),
        detail=identity.told_apart(rendition, context, beside(ordered)),
        revision=context.revision,
    )
    making = Making(rendition=rendition, sop_instance_uid=uid, algorithm=algorithm, context=context)
    local = replace(context, created=source.local_time(context.created, headers[0]))
    page = summary_page(ordered, algorithm, local, translator(rendition.language))
    capture = secondary_capture(headers, page.pixels(), making)
    capture.InstanceNumber = identity.revision_number(context)
    capture.DerivationDescription = wording.summary_derivation_text(ordered, making.tr)
    capture.PatientOrientation = ""
    return result_object(capture, rendition)


def _page_order(reading: ImageReading) -> tuple[int, int, int, str]:
    header = reading.header
    numbers = (_number(header, "SeriesNumber"), _number(header, "InstanceNumber"))
    return VIEW_ORDER.index(reading.view), *numbers, str(header.SOPInstanceUID)


def _number(header: Dataset, keyword: str) -> int:
    value = header.get(keyword)
    return int(value) if isinstance(value, int) else 0


def _heatmap_number(header: Dataset, heatmap: Heatmap, algorithm: Algorithm) -> int:
    """Give Instance Number: the source's × 100 + the label's place, so that an image's maps stay together.

    Of a combined map, of which an image has one, the first place.
    """
    label = heatmap.finding.label
    place = algorithm.labels.index(label) if label in algorithm.labels else len(algorithm.labels)
    if heatmap.combined:
        place = 0
    return abs(_number(header, "InstanceNumber")) % _LARGEST_NUMBER * 100 + place + 1


def _add_spacing(
    capture: Dataset, header: Dataset, shape: tuple[int, int], source_shape: tuple[int, ...]
) -> None:
    """Write Pixel Spacing, only where the source's is calibrated (PS3.3 10.7.1.3), scaled with the image."""
    spacing = header.get("PixelSpacing")
    values = [float(value) for value in spacing] if spacing else []
    calibration = header.get("PixelSpacingCalibrationType")
    detector = header.get("ImagerPixelSpacing")
    differs = bool(detector) and [float(value) for value in detector] != values
    if len(values) != 2 or min(values) <= 0 or not (calibration or differs):
        return
    capture.PixelSpacing = [
        DSfloat(value * old / new, auto_format=True)
        for value, old, new in zip(values, source_shape, shape, strict=True)
    ]
    for keyword in ("PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"):
        if header.get(keyword):
            capture[keyword] = header[keyword]
