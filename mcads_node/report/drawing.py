"""Pixels: colours, the colour map, heat and outlines over grey, and picture files.

Nothing here knows DICOM or what a finding is; Pillow is at home here.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Grey = NDArray[np.uint8]
Rgb = NDArray[np.uint8]

GROUND: Colour = (11, 13, 17)
PANEL: Colour = (24, 28, 34)
LINE: Colour = (62, 69, 79)
DIM: Colour = (158, 166, 176)
INK: Colour = (238, 240, 242)
AMBER: Colour = (255, 186, 66)
ALARM: Colour = (190, 24, 32)
#: an outline on a radiograph, and its edges: together seen on black, on any grey, and on white
OUTLINE: Colour = (0, 229, 255)
OUTLINE_EDGE: Colour = (0, 0, 0)

#: activation below which nothing is drawn: the source's grey stays as it is
LOWEST_SHOWN = 0.3
#: how much of the colour covers the grey at most; anatomy must shine through
OPACITY = 0.55
#: activation range over which the colour fades in
FADE = 0.25

#: inferno (S. van der Walt and N. Smith, CC0) at 0, 0.1 … 1: perceptually uniform, luminance only rises
_INFERNO = (
    (0, 0, 4),
    (22, 11, 57),
    (66, 10, 104),
    (106, 23, 110),
    (147, 38, 103),
    (188, 55, 84),
    (221, 81, 58),
    (243, 120, 25),
    (252, 165, 10),
    (246, 215, 70),
    (252, 255, 164),
)
#: where on inferno the lowest shown activation lies; darker purples cannot be told from lung
_FIRST_COLOUR = 0.25


def colour_map() -> Rgb:
    """Colour of each activation level 0…255, 256 × 3; constant below `LOWEST_SHOWN`, where none is drawn."""
    share = np.clip((np.arange(256) / 255 - LOWEST_SHOWN) / (1 - LOWEST_SHOWN), 0, 1)
    position = _FIRST_COLOUR + (1 - _FIRST_COLOUR) * share
    channels = [
        np.interp(position, np.linspace(0, 1, 11), channel) for channel in zip(*_INFERNO, strict=True)
    ]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


def _blend_table() -> Rgb:
    """Colour by activation level × 256 + grey level, 65536 × 3: the whole blending in one look-up."""
    ramp = np.clip((np.arange(256) / 255 - LOWEST_SHOWN) / FADE, 0, 1)
    alpha = (OPACITY * ramp * ramp * (3 - 2 * ramp))[:, None, None]
    grey = np.arange(256)[None, :, None]
    blended = alpha * colour_map()[:, None, :] + (1 - alpha) * grey
    return np.round(blended).astype(np.uint8).reshape(-1, 3)


_BLEND = _blend_table()
#: worked on at once: what stays in a processor's cache
_BLOCK_PIXELS = 1 << 17
#: share of the room that a picture takes at least where whole pixels are put together
_NEAR = 0.75
#: lowest level of 0…255 that is drawn
FIRST_SHOWN = int(np.ceil(LOWEST_SHOWN * 255))


def grey_levels(pixels: NDArray[np.float32]) -> Grey:
    """Map −1024 … 1024 to 0 … 255, rounded; rows × columns."""
    levels = np.empty(pixels.shape, dtype=np.uint8)
    rows = max(1, _BLOCK_PIXELS // pixels.shape[1])
    for first in range(0, len(pixels), rows):
        scaled = pixels[first : first + rows] * np.float32(255 / 2048)
        scaled += np.float32(128)
        np.clip(scaled, 0, 255, out=scaled)
        levels[first : first + rows] = scaled
    return levels


def heat_over(grey: Grey, activation: NDArray[np.float32] | None) -> Rgb:
    """Draw activation over grey.

    Parameters
    ----------
    grey
        uint8, rows × columns.
    activation
        float32, rows × columns, 0…1; where it is below `LOWEST_SHOWN`, grey stays exactly as it is.

    Returns
    -------
    numpy.ndarray
        uint8, rows × columns × 3.
    """
    if activation is None:
        picture = np.empty((*grey.shape, 3), dtype=np.uint8)
        for channel in range(3):
            picture[..., channel] = grey
        return picture
    level = (np.clip(activation, 0, 1) * np.float32(255)).astype(np.uint16)
    level <<= 8
    level |= grey
    # one look-up of whole pixels; below LOWEST_SHOWN the table gives the grey itself
    return np.take(_BLEND, level, axis=0)


def outline_over(picture: Rgb, lines: Sequence[NDArray[np.floating]]) -> Rgb:
    """Draw lines over a picture, crisp, as wide as can be seen on the whole of it.

    Parameters
    ----------
    picture
        uint8, rows × columns × 3; not changed.
    lines
        Each n × 2: column and row of its points; (0, 0) is the centre of the first pixel.

    Returns
    -------
    numpy.ndarray
        uint8, rows × columns × 3.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width = outline_width(max(picture.shape[:2]))
    for colour, wide in ((OUTLINE_EDGE, width + 2 * max(1, width // 3)), (OUTLINE, width)):
        for line in lines:
            points = [(float(column), float(row)) for column, row in line]
            draw.line(points, fill=colour, width=wide, joint="curve")
    return np.asarray(image)


def outline_width(longer_side: int) -> int:
    """Pixels: 2 at least, and two of a screen that shows 1000."""
    return max(2, round(longer_side / 450))


def shrunk_shape(shape: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Rows and columns that fit `longer_side` at the same aspect ratio; never larger than `shape`.

    Whole pixels of the source are put together where that gives at least `_NEAR` of what there is room for.
    """
    whole = -(-max(shape) // longer_side)
    if max(shape) >= _NEAR * whole * longer_side and not (shape[0] % whole or shape[1] % whole):
        return shape[0] // whole, shape[1] // whole
    factor = min(1.0, longer_side / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def shrink(grey: Grey, shape: tuple[int, int]) -> Grey:
    """Resample grey to fewer rows and columns, averaging."""
    if grey.shape == shape:
        return grey
    whole = grey.shape[0] // shape[0]
    if grey.shape == (shape[0] * whole, shape[1] * whole):
        return np.asarray(Image.fromarray(grey).reduce(whole))
    # to a quarter or less: by whole pixels first, which is quick, and then from twice of what is wanted
    resized = Image.fromarray(grey).resize((shape[1], shape[0]), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(resized)


def centres(new: int, old: int) -> NDArray[np.intp]:
    """Give the places, of `old` in a row, at the centres of fewer, larger pixels."""
    return np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)


def encode_picture(picture: Rgb) -> bytes:
    """Give an RGB picture as a file (PPM); equal pictures give equal bytes.

    A radiograph has noise: as PNG it took 6 ms of processor time to write and 3 to read, for a quarter of the
    bytes.
    """
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PPM")
    return buffer.getvalue()


def decode_picture(data: bytes) -> Image.Image:
    """RGB picture of a file of the node's own making: PPM, or PNG, as nodes before wrote them."""
    with Image.open(BytesIO(data), formats=("PPM", "PNG")) as image:
        return image.convert("RGB")
