"""The Secondary Capture Image around finished pixels (PS3.3 A.8.1): what every capture of the node has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm
from mcads_node.report import identity, source, wording
from mcads_node.report.translation import Translator, translator
from mcads_node.result import Rendition, ReportContext, ResultObject

#: purpose of a reference in Source Image Sequence (0008,2112), CID 7202
_SOURCE_PURPOSE: Final = ("121322", "DCM", "Source image for image processing operation")
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
#: what a reference to a source cannot do without
_NEEDED: Final = (
    ("StudyInstanceUID", "Study Instance UID (0020,000D)"),
    ("SeriesInstanceUID", "Series Instance UID (0020,000E)"),
    ("SOPClassUID", "SOP Class UID (0008,0016)"),
    ("SOPInstanceUID", "SOP Instance UID (0008,0018)"),
)


#: what Rows (0028,0010) and Columns (0028,0011) hold, of VR US
LARGEST_SIDE: Final = 65535


@dataclass(frozen=True, kw_only=True)
class Making:
    """What a capture needs besides its pixels and its sources."""

    rendition: Rendition
    sop_instance_uid: str
    algorithm: Algorithm
    context: ReportContext
    #: Spatial Locations Preserved of every source reference; empty where the capture is a page, not an image
    preserved: str = ""

    @property
    def tr(self) -> Translator:
        """Texts in the rendition's language."""
        return translator(self.rendition.language)


def usable_header(header: Dataset) -> Dataset:
    """Complete a source's header, and see that it names what every result must refer to.

    Raises
    ------
    ReportImpossible
        If a UID is absent or malformed.
    """
    complete = source.complete_header(header)
    _mark_lossy(complete, getattr(header, "file_meta", {}).get("TransferSyntaxUID", ""))
    missing = [name for keyword, name in _NEEDED if not complete.get(keyword)]
    if missing:
        raise ReportImpossible(f"the source has no valid {', '.join(missing)}: a capture cannot refer to it")
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


def secondary_capture(headers: Sequence[Dataset], pixels: NDArray[np.uint8], making: Making) -> Dataset:
    """Write all modules of a capture but what is peculiar to its kind.

    Parameters
    ----------
    headers: Sequence[pydicom.dataset.Dataset]
        Of its sources, from `usable_header`, all of one study.
    pixels: numpy.ndarray
        uint8, rows × columns × 3.
    making: Making
        Its kind, identity, maker and times.
    """
    if max(pixels.shape) > LARGEST_SIDE:
        raise ReportImpossible(f"a picture of {pixels.shape[0]} rows: Rows (0028,0010) holds {LARGEST_SIDE}")
    capture = Dataset()
    first = headers[0]
    source.copy_patient_and_study(first, capture)
    source.copy_request_attributes(first, capture)
    source.stamp_equipment(capture, making.algorithm)
    source.stamp_dates(capture, making.context)
    capture.DateOfSecondaryCapture = capture.ContentDate
    capture.TimeOfSecondaryCapture = capture.ContentTime
    capture.SOPClassUID = SecondaryCaptureImageStorage
    capture.SOPInstanceUID = making.sop_instance_uid
    _add_series(capture, making)
    _add_image(capture, pixels)
    _inherit(capture, headers)
    capture.SourceImageSequence = [_source_reference(header, making.preserved) for header in headers]
    capture.ReferencedSeriesSequence = _referenced_series(headers)
    comment = (making.tr(making.algorithm.caution), making.tr(wording.UNVERIFIED))
    capture.ImageComments = " — ".join(filter(None, comment))
    return capture


def result_object(capture: Dataset, making: Making) -> ResultObject:
    """Encode a finished capture in the transfer syntax of its rendition.

    Raises
    ------
    ReportImpossible
        The transfer syntax is neither Explicit VR Little Endian nor RLE Lossless.
    """
    return ResultObject(
        kind=making.rendition.kind,
        sop_class_uid=SecondaryCaptureImageStorage,
        sop_instance_uid=making.sop_instance_uid,
        series_instance_uid=capture.SeriesInstanceUID,
        transfer_syntax_uid=making.rendition.transfer_syntax_uid,
        data=_encoded(source.finish(capture), making.rendition.transfer_syntax_uid),
        variant=making.rendition.variant,
    )


def _encoded(plain: bytes, transfer_syntax_uid: str) -> bytes:
    if transfer_syntax_uid == ExplicitVRLittleEndian:
        return plain
    if transfer_syntax_uid != RLELossless:
        raise ReportImpossible(
            f"a capture in transfer syntax {UID(transfer_syntax_uid).name}: "
            "expected Explicit VR Little Endian or RLE Lossless"
        )
    dataset = dcmread(BytesIO(plain))
    # the plugin by name: another one packs the same pixels into other bytes, and pydicom's own takes 15 times
    # as long (measured: 4.9 s for 2500 × 2048)
    dataset.compress(RLELossless, encoding_plugin="gdcm", generate_instance_uid=False)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Make an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _add_series(capture: Dataset, making: Making) -> None:
    """General Series and SC Equipment modules, as the rendition has them."""
    capture.Modality = making.rendition.modality
    capture.ConversionType = "WSD"
    capture.BodyPartExamined = "CHEST"
    identity.stamp_series(capture, making.rendition, making.algorithm, making.context.installation)


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


def _inherit(capture: Dataset, headers: Sequence[Dataset]) -> None:
    """Carry over what stays true of pixels that come from the sources: identity burnt in, and lossy steps."""
    burned = any(header.get("BurnedInAnnotation") == "YES" for header in headers)
    capture.BurnedInAnnotation = "YES" if burned else "NO"
    lossy = next((header for header in headers if header.get("LossyImageCompression") == "01"), None)
    capture.LossyImageCompression = "00" if lossy is None else "01"
    if lossy is not None:
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if lossy.get(keyword):
                capture[keyword] = lossy[keyword]


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _source_reference(header: Dataset, preserved: str) -> Dataset:
    item = _reference(header)
    item.PurposeOfReferenceCodeSequence = [code(*_SOURCE_PURPOSE)]
    if preserved:
        item.SpatialLocationsPreserved = preserved
    return item


def _referenced_series(headers: Iterable[Dataset]) -> list[Dataset]:
    """List the sources by series, for the Common Instance Reference module (PS3.3 C.12.2)."""
    by_series: dict[str, list[Dataset]] = {}
    for header in headers:
        by_series.setdefault(str(header.SeriesInstanceUID), []).append(_reference(header))
    items = []
    for uid, references in by_series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = references
        items.append(item)
    return items
