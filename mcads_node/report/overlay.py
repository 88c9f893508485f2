"""The pictures made of one radiograph: the heatmap in source geometry with its caption, and the thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcads_node.finding import Algorithm, Heatmap
from mcads_node.instance import Radiograph
from mcads_node.report import wording
from mcads_node.report.drawing import (
    ALARM,
    AMBER,
    DIM,
    INK,
    LOWEST_SHOWN,
    PANEL,
    Page,
    Rgb,
    encode_png,
    grey_levels,
    heat_over,
    line_height,
    sample,
    shrink,
    shrunk_shape,
    text_width,
    wrap,
)
from mcads_node.resample import to_source

THUMBNAIL_SIDE = 512
#: a caption cannot be read on a narrower strip; narrower images get black columns on their right
NARROWEST = 480


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
    radiograph: Radiograph, heatmap: Heatmap, algorithm: Algorithm, max_side: int | None = None
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
    max_side
        Longest side of the image part in pixels; None keeps the source's matrix exactly.
    """
    shape = _shape(radiograph)
    if max_side is not None:
        shape = shrunk_shape(shape, max_side)
    picture = _heat(radiograph, heatmap, shape)
    strip = _caption(radiograph, heatmap, algorithm, max(shape[1], NARROWEST))
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
        PNG, at most 512 pixels on its longer side.
    """
    return encode_png(_heat(radiograph, heatmap, shrunk_shape(_shape(radiograph), THUMBNAIL_SIDE)))


def _shape(radiograph: Radiograph) -> tuple[int, int]:
    rows, columns = radiograph.pixels.shape
    return rows, columns


def _heat(radiograph: Radiograph, heatmap: Heatmap | None, shape: tuple[int, int]) -> Rgb:
    activation: NDArray[np.float32] | None = None
    if heatmap is not None:
        geometry = heatmap.geometry
        if (geometry.rows, geometry.columns) != radiograph.pixels.shape:
            raise ValueError(f"the heatmap is of a {geometry.rows} × {geometry.columns} image")
        activation = to_source(heatmap.activation, geometry)
        activation = activation if activation.shape == shape else sample(activation, shape)
    return heat_over(shrink(grey_levels(radiograph.pixels), shape), activation)


def _caption(radiograph: Radiograph, heatmap: Heatmap, algorithm: Algorithm, width: int) -> Page:
    """Write the strip: caution, title and score, warnings, method and source; legend on the right."""
    size = max(15, round(width / 54))
    pad, small = size, round(size * 0.8)
    strip = Page(width)
    top = _caution(strip, algorithm.caution, round(size * 1.3), pad) if algorithm.caution else 0
    legend_width = round(width * 0.24)
    room = width - legend_width - 3 * pad
    below_legend = _legend(strip, (width - pad - legend_width, top + pad), legend_width, small)

    y = strip.text((pad, top + pad // 2), wording.heatmap_title(heatmap), round(size * 1.4), room, bold=True)
    y = strip.text((pad, y), wording.score_text(heatmap.finding, algorithm), size, room)
    y = strip.text((pad, y), wording.UNVERIFIED, size, room, bold=True, fill=AMBER)
    for check in radiograph.checks:
        y = strip.text((pad, y), f"Input: {check.reason}", small, room, fill=AMBER)
    made = f"{wording.method_name(heatmap.method)} · {wording.model_text(algorithm)}"
    y = strip.text((pad, y), made, small, room, fill=DIM)
    origin = (f"Source: {wording.source_text(radiograph.header)}", wording.field_text(heatmap.geometry))
    y = strip.text((pad, y), " · ".join(filter(None, origin)), small, room, fill=DIM)
    strip.reach(max(y, below_legend) + pad // 2)
    return strip


def _caution(strip: Page, text: str, size: int, pad: int) -> int:
    """Draw the model's caution on a loud band across the strip; return the y below."""
    room = strip.width - 2 * pad
    bottom = line_height(size) * len(wrap(text, size, room, bold=True)) + pad
    strip.box((0, 0, strip.width, bottom), ALARM)
    strip.text((pad, pad // 2), text, size, room, bold=True)
    return bottom


def _legend(strip: Page, at: tuple[int, int], width: int, size: int) -> int:
    x, y = at
    y = strip.text((x, y), "Relative activation", size, width, fill=INK)
    bar = (x, y + size // 4, x + width, y + size // 4 + round(size * 1.2))
    strip.box((bar[0] - 1, bar[1] - 1, bar[2] + 1, bar[3] + 1), None, PANEL)
    strip.legend(bar)
    y = bar[3] + size // 4
    low, high = f"{LOWEST_SHOWN:.1f}", "1.0"
    strip.text((x, y), low, size, width, fill=INK)
    y_end = strip.text((x + width - text_width(high, size), y), high, size, width, fill=INK)
    return strip.text((x, y_end), "lower: not drawn", size, width, fill=DIM) + line_height(size) // 4
