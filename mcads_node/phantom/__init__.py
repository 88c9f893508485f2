"""A synthetic chest radiograph that says it is one: for the demo, and for tests that need a full-size DX.

The picture is computed as an X-ray makes it: the path lengths through tissue, air and bone are summed along
every ray, attenuated exponentially, veiled by scatter, given quantum noise, and shown as the logarithm.
Nothing in it comes from a person.

Lengths are millimetres in the detector's plane: x to the viewer's right from the middle, y down from the top
edge; the field is always `FIELD` high, so that the anatomy does not depend on the number of pixels.
"""

from __future__ import annotations

from io import BytesIO
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from mcads_node.instance import View
from mcads_node.phantom.anatomy import lateral_attenuation, pa_attenuation

#: height of the field in mm
FIELD = 400.0
#: log attenuation at which the display is half bright, and the steepness around it
MIDDLE, STEEPNESS = 2.75, 1.55
#: scattered radiation that reaches the detector everywhere behind the body, as a fraction of the beam
SCATTER = 0.012
#: quanta per pixel in the open beam, for a pixel of 0.16 mm
QUANTA = 60000.0

#: letters of the burnt-in text, seven rows of five pixels each, most significant bit to the left
_LETTERS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "T": (31, 4, 4, 4, 4, 4, 4),
}


def radiograph(
    view: View = View.PA, rows: int = 2500, columns: int = 2048, bits: int = 12, study: str = "1"
) -> Dataset:
    """Draw the phantom as a Digital X-Ray Image - For Presentation (PS3.3 A.26).

    Parameters
    ----------
    view
        PA, or LATERAL (a left lateral, the patient facing the viewer's left).
    rows, columns
        The matrix, at least 64 each; pixels are square, ``FIELD / rows`` mm.
    bits
        Bits Stored, 8 … 16, in 16 allocated.
    study
        Names the study: equal names give equal UIDs, and equal arguments give equal bytes.

    Returns
    -------
    Dataset
        MONOCHROME2, unsigned, with file meta for Explicit VR Little Endian.

    Raises
    ------
    ValueError
        If the phantom has no such view, or the size or the depth is out of bounds.
    """
    if view not in (View.PA, View.LATERAL):
        raise ValueError(f"the phantom has a PA and a LATERAL view, not {view}")
    if min(rows, columns) < 64 or not 8 <= bits <= 16:
        raise ValueError(f"expected at least 64 × 64 pixels of 8…16 bits, got {rows} × {columns} of {bits}")
    pixels = np.round(_picture(view, rows, columns) * (2**bits - 1)).astype("<u2")
    dataset = Dataset()
    _add_identity(dataset, view, study)
    _add_acquisition(dataset, view, FIELD / rows)
    _add_pixels(dataset, pixels, bits)
    return dataset


def save(dataset: Dataset) -> bytes:
    """Encode a phantom as a Part 10 file (PS3.10), Explicit VR Little Endian."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _picture(view: View, rows: int, columns: int) -> NDArray[np.float32]:
    """Draw the radiograph: float32, rows × columns, 0…1, bright where attenuated."""
    # the anatomy has no detail below half a millimetre: drawn coarsely and enlarged, noise at full resolution
    coarse = max(1, round(rows / 1250))
    pitch = FIELD / rows * coarse
    shape = (-(-rows // coarse), -(-columns // coarse))
    x = ((np.arange(shape[1]) + 0.5) * pitch - columns / rows * FIELD / 2).astype(np.float32)
    y = ((np.arange(shape[0]) + 0.5) * pitch).astype(np.float32)
    draw = pa_attenuation if view is View.PA else lateral_attenuation
    attenuation = _enlarge(draw(x, y), coarse)[:rows, :columns]

    transmitted = np.exp(-attenuation)
    behind_body = 1 - np.exp(-2 * attenuation)
    transmitted += np.float32(SCATTER) * behind_body
    seed = np.random.default_rng(2500 if view is View.PA else 2501)
    noise = seed.standard_normal(transmitted.shape, dtype=np.float32)
    quanta = np.float32(QUANTA * (FIELD / rows / 0.16) ** 2) * transmitted
    density = -np.log(transmitted) + noise / np.sqrt(quanta)
    low = 1 / (1 + np.exp(STEEPNESS * MIDDLE))
    shown = (1 / (1 + np.exp(-np.float32(STEEPNESS) * (density - np.float32(MIDDLE)))) - low) / (1 - low)
    _write(shown, "PHANTOM", right=False)
    _write(shown, "L", right=True)
    clipped: NDArray[np.float32] = np.clip(shown, 0, 1).astype(np.float32)
    return clipped


def _enlarge(coarse: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Enlarge by a whole factor, linear between the pixels' centres."""
    for axis in (0, 1):
        length = coarse.shape[axis]
        position = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
        first = np.minimum(position.astype(np.intp), length - 2)
        weight = (position - first).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        coarse = coarse.take(first, axis) * (1 - weight) + coarse.take(first + 1, axis) * weight
    return coarse


def _write(picture: NDArray[np.float32], text: str, *, right: bool) -> None:
    """Burn text into an upper corner, as a lead marker would be."""
    rows = [" ".join(f"{_LETTERS[letter][line]:05b}" for letter in text) for line in range(7)]
    glyphs = np.array([[pixel == "1" for pixel in row] for row in rows])
    size = max(1, min(round(picture.shape[0] / 420), picture.shape[1] // 64))
    marker = np.kron(glyphs, np.ones((size, size), dtype=bool))
    margin = 6 * size
    height, width = marker.shape
    left = picture.shape[1] - margin - width if right else margin
    picture[margin : margin + height, left : left + width][marker] = 0.95


def _uid(*parts: str) -> str:
    return f"2.25.{uuid5(NAMESPACE_URL, '/'.join(('mcads-node phantom', *parts))).int}"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _add_identity(dataset: Dataset, view: View, study: str) -> None:
    """Patient, General Study, General and DX Series, Equipment, SOP Common."""
    number = 1 if view is View.PA else 2
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = _uid(study, view, "instance")
    dataset.PatientName = "Phantom^MCADS"
    dataset.PatientID = "PHANTOM"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = _uid(study)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20250101"
    dataset.StudyTime = "120000"
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = f"12000{number}"
    dataset.StudyID = "PHANTOM"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Synthetic chest phantom (no patient)"
    dataset.SeriesInstanceUID = _uid(study, view, "series")
    dataset.SeriesNumber = number
    dataset.SeriesDescription = f"Synthetic phantom {view}"
    dataset.InstanceNumber = 1
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.Manufacturer = "MCADS"
    dataset.ManufacturerModelName = "Synthetic chest phantom"
    dataset.DeviceSerialNumber = "PHANTOM"
    dataset.SoftwareVersions = "1"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _add_acquisition(dataset: Dataset, view: View, pitch: float) -> None:
    """DX Anatomy Imaged, DX Detector, DX Positioning, Acquisition Context."""
    dataset.BodyPartExamined = "CHEST"
    dataset.AnatomicRegionSequence = [_code("43799004", "SCT", "Chest")]
    dataset.ImageLaterality = "U"
    dataset.DetectorType = "DIRECT"
    dataset.ImagerPixelSpacing = [round(pitch, 6)] * 2
    dataset.PixelSpacing = [round(pitch, 6)] * 2
    dataset.PixelSpacingCalibrationType = "GEOMETRY"
    dataset.PixelSpacingCalibrationDescription = "Drawn at this size"
    dataset.PatientOrientation = ["L", "F"] if view is View.PA else ["P", "F"]
    dataset.ViewPosition = "PA" if view is View.PA else "LL"
    code = ("272479007", "SCT", "postero-anterior")
    if view is View.LATERAL:
        code = ("399173006", "SCT", "left lateral")
    dataset.ViewCodeSequence = [_code(*code)]
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = []
    dataset.PatientOrientationCodeSequence = [_code("10904000", "SCT", "erect")]
    dataset.PositionerType = "NONE"
    dataset.AcquisitionContextSequence = []


def _add_pixels(dataset: Dataset, pixels: NDArray[np.uint16], bits: int) -> None:
    """General Image, Image Pixel, DX Image, VOI LUT."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.AcquisitionNumber = 1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    # says of identity (PS3.3 C.7.6.1.1.1): the word PHANTOM identifies no one
    dataset.BurnedInAnnotation = "NO"
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    dataset.PixelData = pixels.tobytes()
