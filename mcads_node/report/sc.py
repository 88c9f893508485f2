"""The Secondary Capture Image around finished pixels (PS3.3 A.8.1): what every capture of the node has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from mcads_node.errors import ReportImpossible
from mcads_node.report import source, wording
from mcads_node.report.evidence import SOURCE_IMAGE, burned_in, inherit_loss, reference, referenced_series
from mcads_node.report.making import Making, begin_object

#: what Rows (0028,0010) and Columns (0028,0011) hold, of VR US
LARGEST_SIDE: Final = 65535


def secondary_capture(
    headers: Sequence[Dataset], pixels: NDArray[np.uint8], making: Making, preserved: str = ""
) -> Dataset:
    """Write all modules of a capture but what is peculiar to its kind.

    Parameters
    ----------
    headers: Sequence[pydicom.dataset.Dataset]
        Of its sources, from `referable_header`, all of one study.
    pixels: numpy.ndarray
        uint8, rows × columns × 3.
    making: Making
        Its kind, identity, maker and times.
    preserved: str
        Spatial Locations Preserved of every source reference; empty where the capture is a page.
    """
    if max(pixels.shape) > LARGEST_SIDE:
        raise ReportImpossible(f"a picture of {pixels.shape[0]} rows: Rows (0028,0010) holds {LARGEST_SIDE}")
    capture = begin_object(headers[0], making, SecondaryCaptureImageStorage, making.rendition.modality)
    source.copy_request_attributes(headers[0], capture)
    capture.ConversionType = "WSD"
    capture.BodyPartExamined = "CHEST"
    capture.DateOfSecondaryCapture = capture.ContentDate
    capture.TimeOfSecondaryCapture = capture.ContentTime
    _add_image(capture, pixels)
    capture.BurnedInAnnotation = burned_in(headers)
    inherit_loss(capture, headers)
    capture.SourceImageSequence = [_source(header, preserved) for header in headers]
    capture.ReferencedSeriesSequence = referenced_series(headers)
    comment = (making.tr(making.algorithm.caution), making.tr(wording.UNVERIFIED))
    capture.ImageComments = " — ".join(filter(None, comment))
    return capture


def _add_image(capture: Dataset, pixels: NDArray[np.uint8]) -> None:
    """Image Pixel module: RGB, colour by pixel."""
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    capture.SamplesPerPixel = 3
    capture.PhotometricInterpretation = "RGB"
    capture.PlanarConfiguration = 0
    capture.Rows, capture.Columns = pixels.shape[:2]
    capture.BitsAllocated, capture.BitsStored, capture.HighBit = 8, 8, 7
    capture.PixelRepresentation = 0
    data = pixels.tobytes()
    capture.PixelData = data if len(data) % 2 == 0 else data + b"\0"


def _source(header: Dataset, preserved: str) -> Dataset:
    item = reference(header, SOURCE_IMAGE)
    if preserved:
        item.SpatialLocationsPreserved = preserved
    return item
