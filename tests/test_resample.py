"""The resize against torchxrayvision itself, and the way back to the source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchxrayvision.datasets import XRayCenterCrop, XRayResizer, normalize

from mcads_node.instance import ModelGeometry
from mcads_node.resample import geometry_for, model_input, to_source
from tests.shared_data import data_dir

_LENGTHS = st.integers(1, 400)
_TOLERANCE = 1e-3


def _reference(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    result: NDArray[np.float32] = XRayResizer(size)(XRayCenterCrop()(pixels[None]))[0]
    return result


def _noise(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).random((rows, columns), dtype=np.float32) * 2048) - 1024


@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [
        (2500, 2048, 224),
        (1955, 1841, 512),
        (224, 224, 224),
        (225, 224, 224),
        (223, 300, 224),
        (100, 77, 224),
        (449, 448, 224),
        (1, 1, 224),
        (1, 9, 2),
        (300, 200, 1),
    ],
)
def test_equals_torchxrayvision(rows: int, columns: int, size: int) -> None:
    pixels = _noise(rows, columns)
    ours = model_input(pixels, geometry_for(rows, columns, size))
    assert ours.dtype == np.float32
    assert ours.shape == (size, size)
    np.testing.assert_allclose(ours, _reference(pixels, size), rtol=0, atol=_TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(_LENGTHS, _LENGTHS, st.integers(1, 256), st.sampled_from([-800.0, 0.0, 800.0]), st.integers(0, 9))
def test_equals_torchxrayvision_for_any_shape(
    rows: int, columns: int, size: int, level: float, seed: int
) -> None:
    # a level far from 0 brings out the zeros that scikit-image sees outside the image
    pixels = (_noise(rows, columns, seed) / 5 + np.float32(level)).astype(np.float32)
    ours = model_input(pixels, geometry_for(rows, columns, size))
    np.testing.assert_allclose(ours, _reference(pixels, size), rtol=0, atol=_TOLERANCE)


def test_equals_torchxrayvision_on_real_radiographs() -> None:
    files = sorted((data_dir() / "nih" / "images").glob("*.jpg"))[:40:2]
    assert files
    for file in files:
        with Image.open(file) as image:
            eight_bit = np.asarray(image.convert("L"))
        pixels: NDArray[np.float32] = normalize(eight_bit, 255)
        ours = model_input(pixels, geometry_for(image.height, image.width, 224))
        np.testing.assert_allclose(ours, _reference(pixels, 224), rtol=0, atol=_TOLERANCE)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1024))
def test_the_crop_is_torchxrayvisions(rows: int, columns: int, size: int) -> None:
    geometry = geometry_for(rows, columns, size)
    # views into one row and one column tell where the crop begins, without memory for the picture
    down = np.lib.stride_tricks.as_strided(np.arange(rows), (1, rows, columns), (0, 8, 0))
    across = np.lib.stride_tricks.as_strided(np.arange(columns), (1, rows, columns), (0, 0, 8))
    crop = XRayCenterCrop()
    assert crop(down)[0].shape == (geometry.side, geometry.side)
    assert crop(down)[0, 0, 0] == geometry.top
    assert crop(across)[0, 0, 0] == geometry.left


def test_pixels_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 10 × 20"):
        model_input(np.zeros((20, 10), dtype=np.float32), geometry_for(10, 20, 4))


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(ValueError, match="crop"):
        geometry_for(0, 20, 4)


@given(_LENGTHS, _LENGTHS, st.integers(1, 64), st.integers(1, 64))
def test_a_constant_map_covers_the_crop_and_nothing_else(
    rows: int, columns: int, height: int, width: int
) -> None:
    geometry = geometry_for(rows, columns, 224)
    source = to_source(np.ones((height, width), dtype=np.float32), geometry)
    expected = np.zeros((rows, columns), dtype=np.float32)
    expected[geometry.top : geometry.top + geometry.side, geometry.left : geometry.left + geometry.side] = 1
    assert source.dtype == np.float32
    np.testing.assert_allclose(source, expected, atol=1e-6)


@given(st.integers(8, 300), st.integers(8, 300), st.integers(2, 8), st.data())
def test_a_cell_shows_where_it_lies(rows: int, columns: int, cells: int, data: st.DataObject) -> None:
    """One cell is brightest where `ModelGeometry` documents it, and fades out within a cell."""
    geometry = geometry_for(rows, columns, cells)
    row, column = (data.draw(st.integers(0, cells - 1)) for _ in range(2))
    activation = np.zeros((cells, cells), dtype=np.float32)
    activation[row, column] = 1
    source = to_source(activation, geometry)
    at_row = geometry.top + (row + 0.5) * geometry.side / cells - 0.5
    at_column = geometry.left + (column + 0.5) * geometry.side / cells - 0.5
    nearest = source[round(at_row), round(at_column)]
    assert nearest >= source.max() - 0.51 * 2 * cells / geometry.side
    r, c = np.nonzero(source)
    assert np.abs(r - at_row).max() <= geometry.side / cells + 1e-9
    assert np.abs(c - at_column).max() <= geometry.side / cells + 1e-9


def test_between_cells_it_is_linear_and_beyond_them_constant() -> None:
    geometry = ModelGeometry(rows=8, columns=10, top=0, left=1, side=8, size=8)
    source = to_source(np.array([[0.0, 1.0]], dtype=np.float32), geometry)
    expected = [0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 0]
    np.testing.assert_allclose(source, np.tile(np.array(expected[:10]), (8, 1)), atol=1e-6)


def test_a_map_as_fine_as_the_source_is_itself() -> None:
    activation = _noise(30, 30)
    geometry = geometry_for(30, 30, 224)
    np.testing.assert_allclose(to_source(activation, geometry), activation, rtol=1e-6)


def test_there_and_back() -> None:
    """A smooth picture brought to the model and back lies where it was."""
    r, c = np.mgrid[0:300, 0:260].astype(np.float32)
    picture = np.sin(r / 50) * np.cos(c / 40) * 1000
    geometry = geometry_for(300, 260, 224)
    back = to_source(model_input(picture.astype(np.float32), geometry), geometry)
    inner = slice(geometry.top + 5, geometry.top + geometry.side - 5)
    np.testing.assert_allclose(back[inner, 5:-5], picture[inner, 5:-5], atol=2)


def test_a_part_of_a_spread_map_is_that_part_of_the_whole() -> None:
    geometry = geometry_for(40, 31, 7)
    activation = np.arange(12, dtype=np.float32).reshape(3, 4)
    whole = to_source(activation, geometry)
    rows, columns = np.array([0, 4, 5, 39]), np.array([30, 2])
    np.testing.assert_allclose(
        to_source(activation, geometry, rows, columns), whole[np.ix_(rows, columns)], rtol=1e-6
    )
    assert np.array_equal(whole[:4], np.zeros((4, 31)))
