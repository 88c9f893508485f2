import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter
from skimage.draw import polygon2mask

from mcads_node.report.contour import Polygon, cutoff, outlines
from mcads_node.resample import geometry_for, to_source

SHAPES = [(700, 560), (503, 901), (90, 70), (300, 1000), (512, 512)]


def hot(row: int, column: int, cells: tuple[int, int] = (7, 7)) -> NDArray[np.float32]:
    activation = np.zeros(cells, np.float32)
    activation[row, column] = 1
    return activation


def filled(polygons: tuple[Polygon, ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centres the polygons enclose, holes left out."""
    inside = np.zeros(shape, bool)
    for polygon in polygons:
        inside ^= polygon2mask(shape, polygon[:, ::-1].astype(float))  # type: ignore[no-untyped-call]
    return inside


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("cells", [(7, 7), (14, 14), (5, 9)])
@pytest.mark.parametrize("level", [0.3, 0.5, 0.8])
def test_outlines_follow_the_map_within_a_pixel(
    rows: int, columns: int, cells: tuple[int, int], level: float
) -> None:
    activation = np.random.default_rng(rows).random(cells, dtype=np.float32) ** 2
    geometry = geometry_for(rows, columns, 224)
    spread, lowest = to_source(activation, geometry), level * activation.max()
    wrong = filled(outlines(activation, geometry, level), (rows, columns)) != (spread >= lowest)
    # where the two differ, the map passes the level within a pixel
    change = maximum_filter(spread, 3) - minimum_filter(spread, 3)
    assert np.all(np.abs(spread - lowest)[wrong] <= change[wrong])
    assert wrong.mean() < 0.02


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize(("row", "column"), [(2, 3), (3, 3), (1, 5), (5, 1)])
def test_a_hot_cell_is_outlined_where_the_model_saw_it(
    rows: int, columns: int, row: int, column: int
) -> None:
    (polygon,) = outlines(hot(row, column), geometry_for(rows, columns, 224))
    # by hand: the crop's corner, whole cells of a seventh of its side, and centres at whole numbers
    side = min(rows, columns)
    cell = side / 7
    centre = (
        (columns // 2 - side // 2) + (column + 0.5) * cell - 0.5,
        (rows // 2 - side // 2) + (row + 0.5) * cell - 0.5,
    )
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    assert np.allclose((low + high) / 2, centre, atol=1)
    # half of the maximum lies half a cell away on both sides
    assert np.allclose(high - low, cell, atol=1.5)


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_a_region_at_the_edge_is_closed_along_it(rows: int, columns: int) -> None:
    geometry = geometry_for(rows, columns, 224)
    low = np.array([geometry.left, geometry.top]) - 0.5
    (whole,) = outlines(np.ones((7, 7), np.float32), geometry)
    assert {tuple(point) for point in (whole - low).tolist()} == {
        (x, y) for x in (0, geometry.side) for y in (0, geometry.side)
    }
    (corner,) = outlines(hot(0, 6), geometry)
    assert corner[:, 0].max() == low[0] + geometry.side
    assert corner[:, 1].min() == low[1]


def test_polygons_are_closed_few_pointed_and_the_same_each_time() -> None:
    activation = np.random.default_rng(1).random((14, 14), dtype=np.float32)
    geometry = geometry_for(2500, 2048, 224)
    first, second = outlines(activation, geometry), outlines(activation, geometry)
    assert len(first) > 3
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    for polygon in first:
        assert polygon.dtype == np.float32
        assert np.array_equal(polygon[0], polygon[-1])
        assert 4 <= len(polygon) <= 256
    heights = [np.ptp(polygon, axis=0).max() for polygon in first]
    assert heights[0] == max(heights), "largest first"
    assert max(len(polygon) for polygon in outlines(activation, geometry, max_points=12)) <= 12


def test_a_hole_is_a_polygon_of_its_own() -> None:
    activation = np.ones((7, 7), np.float32)
    activation[3, 3] = 0
    geometry = geometry_for(200, 140, 224)
    outer, hole = outlines(activation, geometry)
    assert np.ptp(outer, axis=0).max() == 140
    assert np.allclose(hole[:-1].mean(axis=0), (69.5, 99.5), atol=1)
    assert not filled((outer, hole), (200, 140))[100, 70]


def test_the_level_is_a_share_of_the_maps_own_maximum() -> None:
    geometry = geometry_for(300, 200, 224)
    (strong,), (faint,) = outlines(hot(3, 3), geometry), outlines(hot(3, 3) * np.float32(0.01), geometry)
    assert np.allclose(strong, faint, atol=0.01)
    plateau = np.full((7, 7), 0.5, np.float32)
    plateau[3, 3] = 1
    (at,) = outlines(plateau, geometry, 0.5)
    assert np.ptp(at, axis=0).tolist() == [200, 200], "at the level is within"


def test_an_empty_map_has_no_outline() -> None:
    empty = np.zeros((7, 7), np.float32)
    assert outlines(empty, geometry_for(90, 70, 224)) == ()
    assert cutoff(empty) == np.inf


@pytest.mark.parametrize("level", [0, -0.1, 1.01, float("nan")])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        outlines(hot(3, 3), geometry_for(90, 70, 224), level)
    with pytest.raises(ValueError, match="5 points"):
        outlines(hot(3, 3), geometry_for(90, 70, 224), max_points=4)


def test_of_noise_the_largest_pieces_are_outlined() -> None:
    noise = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    polygons = outlines(noise, geometry_for(2500, 2048, 224))
    # there are hundreds; simplifying them all would take half a minute of a worker's time
    assert len(polygons) == 32
    assert max(len(polygon) for polygon in polygons) <= 256
