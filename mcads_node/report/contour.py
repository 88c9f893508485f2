"""Outlines of where a map is high, in the pixels of the source: for heatmaps, presentation states, and tests.

An outline follows the map as `mcads_node.resample.to_source` spreads it over the source, but is found on a
grid of a few hundred lines instead of the source's millions of pixels.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from mcads_node.instance import ModelGeometry

__all__ = ["LEVEL", "cutoff", "outlines"]

Polygon = NDArray[np.float32]

#: share of a map's maximum at and above which an outline encloses it
LEVEL: Final = 0.5
#: how far simplifying may move an outline, in source pixels
TOLERANCE: Final = 0.5
#: grid lines are at most this far apart in source pixels, and so many at least in a cell, where level lines
#: are hyperbolas; as long as there are not too many
_PITCH: Final = 4.0
_LEAST_STEPS: Final = 8
_MOST_LINES: Final = 512
#: a map that falls into more pieces is noise: its smallest ones are left out
_MOST_POLYGONS: Final = 32
#: more points than an outline of a smooth map has; of a map of noise, only so many are looked at
_MOST_POINTS: Final = 1024
#: a region this many times wider than the tolerance keeps its form
_DETAIL: Final = 20


def cutoff(activation: NDArray[np.float32], level: float = LEVEL) -> float:
    """Give the lowest activation that lies within an outline; infinite where the map is empty.

    Parameters
    ----------
    activation
        float32, h × w, ≥ 0.
    level
        Share of the map's maximum, more than 0, at most 1.

    Raises
    ------
    ValueError
        If `level` is none.
    """
    if not 0 < level <= 1:
        raise ValueError(f"expected a level above 0, at most 1, got {level}")
    peak = float(activation.max(initial=0.0))
    # a hair lower: a plateau at exactly the level lies within, whatever float32 made of it
    return peak * level * (1 - 1e-6) if peak > 0 else np.inf


def outlines(
    activation: NDArray[np.float32], geometry: ModelGeometry, level: float = LEVEL, max_points: int = 256
) -> tuple[Polygon, ...]:
    """Outline the region where a map is at or above a share of its maximum.

    Parameters
    ----------
    activation
        float32, h × w, ≥ 0, of any resolution: its cells tile the square that the model saw.
    geometry
        Where the square lies in the source.
    level
        Share of the map's maximum, more than 0, at most 1.
    max_points
        Of one polygon, at least 5; a polygon of more is simplified further than `TOLERANCE`.

    Returns
    -------
    tuple of ndarray of float32, n × 2
        Closed polygons (the last point is the first) of (column, row), largest first, at most 32; a hole is
        a polygon of its own. As in `ModelGeometry`, whole numbers are the centres of pixels: the image
        reaches from −0.5 to columns − 0.5 and rows − 0.5. Where the region reaches the edge of the square,
        the outline runs along it. Empty where the map is.

    Raises
    ------
    ValueError
        If `level` or `max_points` is none.
    """
    if max_points < 5:
        raise ValueError(f"expected at least 5 points, got {max_points}")
    lowest = cutoff(activation, level)
    if not np.isfinite(lowest):
        return ()
    cells = activation.shape
    steps = [_steps(count, geometry.side) for count in cells]
    grid = (
        _interpolation(cells[0], steps[0])
        @ activation.astype(np.float64)
        @ _interpolation(cells[1], steps[1]).T
    )
    # a frame far below closes what reaches the edge; the points in the frame are moved back onto the edge
    framed = np.pad(grid, 1, constant_values=-1e6 * float(activation.max()))
    corner, pitch = np.array([geometry.top, geometry.left]) - 0.5, geometry.side / np.multiply(cells, steps)
    found = find_contours(framed, lowest)  # type: ignore[no-untyped-call]
    inside = [np.clip(points - 1, 0, np.array(grid.shape) - 1) for points in found]
    whole = sorted(((corner + points * pitch)[:, ::-1] for points in inside), key=_area, reverse=True)
    polygons = [_simplified(points, max_points) for points in whole[:_MOST_POLYGONS]]
    return tuple(
        polygon.astype(np.float32) for polygon in polygons if len(polygon) > 3 and _area(polygon) > 0
    )


def _steps(cells: int, side: int) -> int:
    """Grid steps in a cell: even, so that a line runs through its centre, where the map has its kinks."""
    wanted = min(max(side / _PITCH, _LEAST_STEPS * cells), _MOST_LINES) / cells
    return max(2, 2 * round(wanted / 2))


def _interpolation(cells: int, steps: int) -> NDArray[np.float64]:
    """Build the matrix of `to_source`'s interpolation, from cells to the grid's lines, edges included."""
    centres = (np.arange(cells * steps + 1) / steps - 0.5).clip(0, cells - 1)
    nearness: NDArray[np.float64] = 1 - np.abs(centres[:, None] - np.arange(cells))
    return nearness.clip(0, None)


def _simplified(points: NDArray[np.float64], max_points: int) -> NDArray[np.float64]:
    """Leave out points that a straight line nearly goes through (Douglas and Peucker)."""
    # brings scipy.signal: most of a second, and 80 MB, to a worker of which nobody wants outlines
    from skimage.measure import approximate_polygon  # noqa: PLC0415

    tolerance = min(TOLERANCE, float(np.ptp(points, axis=0).max()) / _DETAIL)
    # simplifying takes time with the square of the points: half a minute for the longest outlines of noise
    points = np.concatenate([points[: -1 : -(-len(points) // _MOST_POINTS)], points[-1:]])
    while True:
        points = approximate_polygon(points, tolerance)  # type: ignore[no-untyped-call]
        if len(points) <= max_points:
            return points
        tolerance *= 2


def _area(polygon: NDArray[np.floating]) -> float:
    """Area within a closed polygon."""
    x, y = (polygon - polygon[0]).astype(np.float64).T
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2
