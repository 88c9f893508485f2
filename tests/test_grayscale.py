"""Padding, Modality LUT, VOI LUT and windows."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from torchxrayvision.datasets import normalize

from mcads_node.read.decode import decode
from mcads_node.read.grayscale import to_display
from tests import encodings
from tests.encodings import data_set, deepened, part10, picture
from tests.reading import expected, pixels_of, radiograph_of


def _ramp(bits: int, **attributes: Any) -> Dataset:
    return data_set(np.arange(1 << bits).reshape(16, -1), bits_stored=bits, **attributes)


def test_padding_is_darkest_whatever_the_polarity() -> None:
    ds = _ramp(10, PixelPaddingValue=1023, PixelPaddingRangeLimit=1000)
    plain = pixels_of(_ramp(10)).ravel()
    padded = pixels_of(ds).ravel()
    assert (padded[1000:] == -1024).all()
    np.testing.assert_array_equal(padded[:1000], plain[:1000])
    ds = _ramp(10, photometric="MONOCHROME1", PixelPaddingValue=0)
    inverted = pixels_of(ds).ravel()
    assert inverted[0] == -1024
    np.testing.assert_allclose(inverted[1:], plain[::-1][1:], atol=1e-3)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_signed_padding(syntax: str) -> None:
    stored = np.arange(-2048, 2048).reshape(64, 64)
    ds = data_set(stored, bits_stored=12, signed=True)
    ds.add_new("PixelPaddingValue", "SS", -2048)
    pixels = radiograph_of(part10(ds, syntax)).pixels.ravel()
    assert (pixels[:1] == -1024).all()
    np.testing.assert_allclose(pixels[1:], normalize(np.arange(4096), 4095)[1:], atol=1e-3)


def test_padding_that_is_no_stored_value_is_found_in_the_whole_word() -> None:
    stored = np.arange(4096).reshape(64, 64)
    stored[0] = 0xFFFF
    pixels = pixels_of(data_set(stored, bits_stored=12, PixelPaddingValue=0xFFFF))
    assert (pixels[0] == -1024).all()
    assert pixels[-1, -1] == 1024


def test_a_modality_lut_is_the_first_stage_and_clamps_its_ends() -> None:
    lut = encodings.item([4, 2, 8], [10, 20, 30, 50], ModalityLUTType="US")
    ds = data_set(np.array([[0, 2, 3], [4, 5, 255]]), bits_stored=8, ModalityLUTSequence=[lut])
    np.testing.assert_allclose(
        pixels_of(ds), -1024 + 2048 * (np.array([[10, 10, 20], [30, 50, 50]]) - 10) / 40, atol=1e-3
    )


def test_a_voi_lut_after_a_rescale_with_a_negative_first_value() -> None:
    # input −5 … 4: the first value mapped is −3
    lut = encodings.item([4, 0x10000 - 3, 8], [0, 51, 102, 255])
    stored = np.arange(10).reshape(2, 5)
    ds = data_set(stored, bits_stored=8, VOILUTSequence=[lut], RescaleSlope="1", RescaleIntercept="-5")
    ds.WindowCenter, ds.WindowWidth = "1", "0"
    expected = normalize(np.array([[0, 0, 0, 51, 102], [255] * 5]), 255)
    np.testing.assert_allclose(pixels_of(ds), expected, atol=1e-3)


def test_8_bit_lut_data_in_words_and_in_bytes() -> None:
    expected = pixels_of(data_set(255 - picture(), bits_stored=8))
    for vr, value in (("US", list(range(255, -1, -1))), ("OW", bytes(range(255, -1, -1)))):
        lut = Dataset()
        lut.add_new("LUTDescriptor", "US", [256, 0, 8])
        lut.add_new("LUTData", vr, value)
        ds = data_set(picture(), bits_stored=8, VOILUTSequence=[lut])
        np.testing.assert_allclose(pixels_of(ds), expected, atol=1e-3)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_lut_data_in_words_of_either_byte_order(syntax: str) -> None:
    big = syntax == ExplicitVRBigEndian
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [256, 0, 16])
    lut.add_new("LUTData", "OW", (np.arange(256) * 257).astype(">u2" if big else "<u2").tobytes())
    data = part10(data_set(picture(), bits_stored=8, VOILUTSequence=[lut]), syntax)
    np.testing.assert_allclose(radiograph_of(data).pixels, expected(), atol=1e-3)


def test_65536_entries_are_declared_as_0() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [0, 0, 16])
    lut.add_new("LUTData", "OW", np.arange(65536, dtype="<u2").tobytes())
    deep = deepened(picture(), 16)
    np.testing.assert_allclose(
        pixels_of(data_set(deep, bits_stored=16, VOILUTSequence=[lut])), expected(), atol=1e-3
    )


@pytest.mark.parametrize(
    ("center", "width", "function", "value", "shown"),
    [
        # the examples of PS3.3 C.11.2.1.2.1: width 4096, center 2048; width 1; width 100, center 50
        (2048, 4096, "LINEAR", 0, 0.0),
        (2048, 4096, "LINEAR", 4095, 1.0),
        (2048, 4096, None, 2047, 2047 / 4095),
        (2048, 1, "LINEAR", 2047, 0.0),
        (2048, 1, "LINEAR", 2048, 1.0),
        (50, 100, "", 0, 0.0),
        (50, 100, "", 99, 1.0),
        (50, 100, "", 4000, 1.0),
        (50, 100, "LINEAR_EXACT", 25, 0.25),
        (50, 100, "LINEAR_EXACT", 100, 1.0),
        (50, 0.5, "LINEAR_EXACT", 50, 0.5),
        (50, 100, "SIGMOID", 50, 0.5),
        (50, 100, "SIGMOID", 75, 1 / (1 + np.exp(-1))),
        (50, 1, "SIGMOID", 4095, 1.0),
    ],
)
def test_window_functions(
    center: float, width: float, function: str | None, value: int, shown: float
) -> None:
    ds = data_set(np.full((2, 2), value), bits_stored=12, WindowCenter=str(center), WindowWidth=str(width))
    if function is not None:
        ds.VOILUTFunction = function
    np.testing.assert_allclose(pixels_of(ds), -1024 + 2048 * shown, atol=1e-3)


@given(st.integers(1, 16), st.booleans(), st.booleans(), st.integers(0, 2**16 - 1))
def test_the_range_depends_on_the_bits_and_never_on_the_content(
    bits: int, signed: bool, monochrome1: bool, word: int
) -> None:
    value = word & ((1 << bits) - 1)
    stored = np.full((2, 2), value - (1 << (bits - 1) if signed else 0))
    ds = data_set(stored, bits_stored=bits, signed=signed, photometric=f"MONOCHROME{1 if monochrome1 else 2}")
    brightness = value / ((1 << bits) - 1)
    shown = 1 - brightness if monochrome1 else brightness
    np.testing.assert_allclose(pixels_of(ds), -1024 + 2048 * shown, atol=1e-3)


@pytest.mark.parametrize("bits", [8, 16])
def test_nothing_of_the_images_size_is_made_beside_the_image(bits: int) -> None:
    """A few blocks and tables, but no second copy of all pixels, of 64 bits least of all."""
    rows, columns = 1500, 1200
    stored = (np.arange(rows * columns) % (1 << bits)).reshape(rows, columns)
    ds = data_set(stored, bits_stored=bits, WindowCenter="100", WindowWidth="180")
    words = decode(ds)
    tracemalloc.start()
    try:
        pixels = to_display(words, ds)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pixels.dtype == np.float32
    assert peak < pixels.nbytes + 5 * 2**20
