"""The pictures made of one radiograph: the heatmap in source geometry with its caption, and the thumbnail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Algorithm, Heatmap
from mcads_node.instance import Radiograph
from mcads_node.report.caption import caption
from mcads_node.report.contour import LEVEL, outlines
from mcads_node.report.drawing import (
    LOWEST_SHOWN,
    Grey,
    Rgb,
    centres,
    encode_picture,
    grey_levels,
    heat_over,
    outline_over,
    shrink,
    shrunk_shape,
)
from mcads_node.resample import to_source
from mcads_node.result import Rendition

THUMBNAIL_SIDE = 440


@dataclass(frozen=True, kw_only=True, eq=False)
class CaptionedHeatmap:
    """A heatmap as it is shown: the source's matrix at rows 0 … and columns 0 …, a caption below it."""

    #: uint8, rows × columns × 3, caption included
    pixels: Rgb
    #: rows and columns of the image part, from the top left corner
    shape: tuple[int, int]
    #: every text of the caption
    texts: tuple[str, ...]


def captioned_heatmap(
    radiograph: Radiograph, heatmap: Heatmap, algorithm: Algorithm, rendition: Rendition
) -> CaptionedHeatmap:
    """Draw one heatmap over its radiograph, and a caption strip below, where it covers no anatomy.

    Parameters
    ----------
    radiograph
        The image, in source geometry.
    heatmap
        Of the same image.
    algorithm
        Its name, version and caution are in the caption.
    rendition
        Style, language, and the longest side of the image part. A pixel-level map is always drawn filled.

    Raises
    ------
    ReportImpossible
        The heatmap is of another image, or there is no such style or language.
    """
    if rendition.style not in STYLES:
        raise ReportImpossible(f"heatmap style: expected one of {', '.join(STYLES)}, found another")
    shape = _shape(radiograph)
    if rendition.max_side is not None:
        shape = shrunk_shape(shape, rendition.max_side)
    if not heatmap.has_areas:
        # outlines of single pixels are noise
        rendition = replace(rendition, style="filled")
    picture = _DRAW[rendition.style](radiograph, heatmap, shape)
    strip = caption(radiograph, heatmap, algorithm, rendition, shape)
    pixels = np.zeros((shape[0] + strip.height, strip.width, 3), dtype=np.uint8)
    pixels[: shape[0], : shape[1]] = picture
    pixels[shape[0] :] = strip.pixels()
    return CaptionedHeatmap(pixels=pixels, shape=shape, texts=tuple(strip.texts))


def thumbnail(radiograph: Radiograph, heatmap: Heatmap | None) -> bytes:
    """Draw a small picture of a radiograph.

    Parameters
    ----------
    radiograph
        The image.
    heatmap
        What to draw over it; usually that of the strongest finding.

    Returns
    -------
    bytes
        Picture file, at most 440 pixels on its longer side: as many as the page has room for.
    """
    return encode_picture(_filled(radiograph, heatmap, shrunk_shape(_shape(radiograph), THUMBNAIL_SIDE)))


def _shape(radiograph: Radiograph) -> tuple[int, int]:
    rows, columns = radiograph.pixels.shape
    return rows, columns


def _filled(radiograph: Radiograph, heatmap: Heatmap | None, shape: tuple[int, int]) -> Rgb:
    picture = heat_over(shrink(_grey_of(radiograph), shape), None)
    if heatmap is None:
        return picture
    _refuse_another(radiograph, heatmap)
    rows, columns = (centres(new, old) for new, old in zip(shape, _shape(radiograph), strict=True))
    box = _shown(heatmap, rows, columns)
    activation = to_source(heatmap.activation, heatmap.geometry, rows[box[0]], columns[box[1]])
    picture[box] = heat_over(picture[box][..., 0], activation)
    return picture


def _shown(heatmap: Heatmap, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[slice, slice]:
    """Find where anything of a map is drawn: most of an image lies outside, and stays as it is.

    Between cells a map is never above the larger one: no row is above what the largest of each row of cells
    would give, and likewise no column.
    """
    activation, geometry = heatmap.activation, heatmap.geometry
    inside = np.array([geometry.top + geometry.side // 2]), np.array([geometry.left + geometry.side // 2])
    highest_in_row = to_source(activation.max(axis=1, keepdims=True), geometry, rows, inside[1])[:, 0]
    highest_in_column = to_source(activation.max(axis=0, keepdims=True), geometry, inside[0], columns)[0]
    return _span(highest_in_row >= LOWEST_SHOWN), _span(highest_in_column >= LOWEST_SHOWN)


def _span(holds: NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(holds)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


#: grey levels of the radiograph that is being drawn: its thumbnail and every heatmap begin with them
_GREY: WeakKeyDictionary[Radiograph, Grey] = WeakKeyDictionary()


def _grey_of(radiograph: Radiograph) -> Grey:
    if radiograph not in _GREY:
        _GREY[radiograph] = grey_levels(radiograph.pixels)
    return _GREY[radiograph]


def _contour(radiograph: Radiograph, heatmap: Heatmap, shape: tuple[int, int]) -> Rgb:
    """Outline where at least half of the map's maximum is reached."""
    _refuse_another(radiograph, heatmap)
    grey = heat_over(shrink(_grey_of(radiograph), shape), None)
    # from centres of the source's pixels to centres of the picture's: columns, then rows
    factor = np.array(shape[::-1]) / radiograph.pixels.shape[::-1]
    lines = outlines(heatmap.activation, heatmap.geometry, LEVEL)
    return outline_over(grey, [(line + 0.5) * factor - 0.5 for line in lines])


def _refuse_another(radiograph: Radiograph, heatmap: Heatmap) -> None:
    geometry = heatmap.geometry
    if (geometry.rows, geometry.columns) != radiograph.pixels.shape:
        raise ReportImpossible(f"the heatmap is of a {geometry.rows} × {geometry.columns} image")


_DRAW: Final[Mapping[str, Callable[[Radiograph, Heatmap, tuple[int, int]], Rgb]]] = MappingProxyType(
    {"filled": _filled, "contour": _contour}
)
STYLES: Final = tuple(_DRAW)
