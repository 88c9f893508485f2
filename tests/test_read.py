"""Reading: the same picture in every encoding, and real files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian
from torchxrayvision.datasets import normalize

from mcads_node.instance import View
from mcads_node.read import radiograph as read
from tests import encodings
from tests.encodings import data_set, deepened, encapsulated, part10, picture
from tests.reading import LOSSLESS, expected, pixels_of, radiograph_of
from tests.shared_data import data_dir


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_lossless_encoding_is_the_same_picture(name: str) -> None:
    radiograph = radiograph_of(LOSSLESS[name]())
    assert radiograph.pixels.dtype == np.float32
    np.testing.assert_allclose(radiograph.pixels, expected(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("signed", [False, True])
def test_every_bit_depth_is_the_same_picture(bits: int, signed: bool) -> None:
    stored = deepened(picture(), bits) - (1 << (bits - 1) if signed else 0)
    ds = data_set(stored, bits_stored=bits, signed=signed)
    half_a_step = 1024 / ((1 << bits) - 1)
    np.testing.assert_allclose(pixels_of(ds), expected(), rtol=0, atol=half_a_step + 1e-3)


@pytest.mark.parametrize(
    ("encode", "bits", "tolerance"),
    [
        (encodings.dcmtk_jpeg("+eb"), 8, 60.0),
        (encodings.dcmtk_jpeg("+ee"), 12, 60.0),
        (encodings.jpeg_ls_near_lossless, 12, 1.0),
        (lambda ds: encodings.jpeg_2000(ds, "1.2.840.10008.1.2.4.91"), 12, 60.0),
    ],
    ids=["JPEG baseline", "JPEG extended 12 bit", "JPEG-LS near-lossless", "JPEG 2000"],
)
def test_lossy_encodings_are_nearly_the_same_picture(
    encode: Callable[[Dataset], bytes], bits: int, tolerance: float
) -> None:
    data = encode(data_set(deepened(picture(), bits), bits_stored=bits))
    difference = np.abs(radiograph_of(data).pixels - expected())
    assert difference.mean() < tolerance / 8 + 1
    assert np.percentile(difference, 99) < tolerance + 1


@pytest.mark.parametrize(
    ("syntax", "name", "tolerance"),
    [("201", "lossless", 0.0), ("202", "lossless", 0.0), ("203", "lossless", 0.0), ("203", "lossy", 4.0)],
)
def test_htj2k(syntax: str, name: str, tolerance: float) -> None:
    values = encodings.htj2k_values()
    ds = data_set(values, bits_stored=12)
    data = encapsulated(ds, encodings.HTJ2K[name], f"1.2.840.10008.1.2.4.{syntax}")
    np.testing.assert_allclose(
        radiograph_of(data).pixels, normalize(values, 4095), rtol=0, atol=tolerance + 1e-3
    )


def test_every_transfer_syntax_is_decoded_by_some_test_above() -> None:
    written = {str(read.read_dataset(make()).file_meta.TransferSyntaxUID) for make in LOSSLESS.values()}
    lossy = {f"1.2.840.10008.1.2.4.{part}" for part in (50, 51, 81, 201, 202, 203)}
    assert written | lossy == set(read.TRANSFER_SYNTAXES)
    assert len(set(read.TRANSFER_SYNTAXES)) == len(read.TRANSFER_SYNTAXES)


def test_a_lossy_overshoot_is_clipped_and_not_wrapped() -> None:
    """A 12 bit JPEG of a 10 bit picture may decode to more than 1023: the brightest must not turn dark."""
    stored = deepened(picture(), 10)
    twelve = data_set(stored + 5, bits_stored=12)
    data = encodings.dcmtk_jpeg("+ee")(twelve)
    ds = read.read_dataset(data)
    ds.BitsStored, ds.HighBit = 10, 9
    pixels = read.read_radiograph(ds).pixels
    assert pixels[picture() > 250].min() > 900


def test_high_bit_above_the_stored_bits() -> None:
    ds = data_set(picture().astype(np.int64) << 4, bits_stored=12)
    ds.BitsStored, ds.HighBit = 8, 11
    np.testing.assert_allclose(pixels_of(ds), expected(), atol=1e-3)


def test_odd_numbers_of_pixels() -> None:
    image = picture(7, 5)
    for data in (part10(data_set(image, bits_stored=8)), encodings.rle(data_set(image, bits_stored=8))):
        np.testing.assert_allclose(radiograph_of(data).pixels, normalize(image, 255), atol=1e-3)


def test_8_bit_big_endian_words() -> None:
    ds = data_set(picture(), bits_stored=8)
    ds["PixelData"].VR = "OW"
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    np.testing.assert_allclose(radiograph_of(part10(ds, ExplicitVRBigEndian)).pixels, expected(), atol=1e-3)


def test_the_data_set_is_left_unchanged() -> None:
    ds = read.read_dataset(LOSSLESS["VOI LUT"]())
    before = part10(ds)
    read.read_radiograph(ds)
    assert part10(ds) == before


@pytest.mark.parametrize(
    ("name", "shape", "view", "syntax"),
    [
        ("dicom/nema_RG1_J2KI.dcm", (1955, 1841), View.PA, "1.2.840.10008.1.2.4.91"),
        ("dicom/CR-MONO1-10-chest_fuji_headerless.dcm", (440, 440), View.PA, ImplicitVRLittleEndian),
        ("dicom/nhsx_google_nih_dx.dcm", (1024, 1024), View.UNKNOWN, ImplicitVRLittleEndian),
        (
            "dicom_negative/fodicom_CR_teeth_modalityLUT.dcm",
            (1576, 1976),
            View.UNKNOWN,
            "1.2.840.10008.1.2.4.70",
        ),
        ("dicom_negative/nema_RG2_JPLY_hip.dcm", (2140, 1760), View.UNKNOWN, "1.2.840.10008.1.2.4.51"),
        ("dicom_negative/nema_RG3_J2KR_leg.dcm", (1760, 1760), View.AP, "1.2.840.10008.1.2.4.90"),
    ],
)
def test_real_files(
    name: str, shape: tuple[int, int], view: View, syntax: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ds = read.read_dataset((data_dir() / name).read_bytes())
    radiograph = read.read_radiograph(ds)
    assert ds.file_meta.TransferSyntaxUID == UID(syntax)
    assert radiograph.pixels.shape == shape
    assert radiograph.view is view
    assert radiograph.pixels.std() > 150
    assert capfd.readouterr() == ("", "")
