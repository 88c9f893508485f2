"""Pixels: the colour map, heat over grey, and a page on which text, boxes and bars are drawn.

Nothing here knows DICOM or what a finding is; Pillow is at home here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

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
    """Colour by activation level and grey level, 256 × 256 × 3: the whole blending in one look-up."""
    ramp = np.clip((np.arange(256) / 255 - LOWEST_SHOWN) / FADE, 0, 1)
    alpha = (OPACITY * ramp * ramp * (3 - 2 * ramp))[:, None, None]
    grey = np.arange(256)[None, :, None]
    return np.round(alpha * colour_map()[:, None, :] + (1 - alpha) * grey).astype(np.uint8)


_BLEND = _blend_table()
_FIRST_SHOWN = int(np.ceil(LOWEST_SHOWN * 255))


def grey_levels(pixels: NDArray[np.float32]) -> Grey:
    """Map −1024 … 1024 to 0 … 255, rounded; rows × columns."""
    scaled = pixels * np.float32(255 / 2048)
    scaled += np.float32(128)
    np.clip(scaled, 0, 255, out=scaled)
    return scaled.astype(np.uint8)


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
    picture = np.empty((*grey.shape, 3), dtype=np.uint8)
    for channel in range(3):
        picture[..., channel] = grey
    if activation is None:
        return picture
    level = np.clip(activation * np.float32(255), 0, 255).astype(np.uint8).ravel()
    shown = np.flatnonzero(level >= _FIRST_SHOWN)
    picture.reshape(-1, 3)[shown] = _BLEND[level[shown], grey.ravel()[shown]]
    return picture


def shrunk_shape(shape: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Rows and columns that fit `longer_side` at the same aspect ratio; never larger than `shape`."""
    factor = min(1.0, longer_side / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def shrink(grey: Grey, shape: tuple[int, int]) -> Grey:
    """Resample grey to fewer rows and columns, averaging."""
    if grey.shape == shape:
        return grey
    resized = Image.fromarray(grey).resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(resized)


def sample(activation: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Take a smooth map's values at the centres of fewer, larger pixels."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for old, new in zip(activation.shape, shape, strict=True)
    )
    return activation[np.ix_(rows, columns)]


def encode_png(picture: Rgb) -> bytes:
    """PNG file of an RGB picture; equal pictures give equal bytes."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def decode_png(data: bytes) -> Image.Image:
    """RGB picture of a PNG file of the node's own making."""
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        return image.convert("RGB")


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(__file__).with_name("fonts") / name
    # the basic engine: the same glyph positions whether or not libraqm is on the machine
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


class Page:
    """A picture that grows downwards as it is drawn upon, and remembers what was written on it."""

    def __init__(self, width: int, height: int = 1) -> None:
        self._image = Image.new("RGB", (width, height), GROUND)
        self._draw = ImageDraw.Draw(self._image)
        #: every text, in the order of drawing, before it was broken into lines
        self.texts: list[str] = []

    @property
    def width(self) -> int:
        """Columns."""
        return self._image.width

    @property
    def height(self) -> int:
        """Rows so far."""
        return self._image.height

    def reach(self, bottom: int) -> None:
        """Make the page at least `bottom` rows high."""
        if bottom > self.height:
            grown = Image.new("RGB", (self.width, bottom), GROUND)
            grown.paste(self._image)
            self._image, self._draw = grown, ImageDraw.Draw(grown)

    def text(
        self, at: tuple[int, int], text: str, size: int, width: int, *, bold: bool = False, fill: Colour = INK
    ) -> int:
        """Write text, broken into lines at most `width` wide, its top left at (x, y); return the y below."""
        self.texts.append(text)
        x, y = at
        step = line_height(size)
        for line in wrap(text, size, width, bold=bold):
            self.reach(y + step)
            self._draw.text((x, y + step // 2), line, font=_font(size, bold), fill=fill, anchor="lm")
            y += step
        return y

    def word(
        self,
        at: tuple[int, int],
        text: str,
        size: int,
        *,
        anchor: str,
        bold: bool = False,
        fill: Colour = INK,
    ) -> None:
        """Write one line, placed by Pillow's two-letter `anchor`."""
        self.texts.append(text)
        self.reach(at[1] + size)
        self._draw.text(at, text, font=_font(size, bold), fill=fill, anchor=anchor)

    def box(
        self, corners: tuple[int, int, int, int], fill: Colour | None, outline: Colour | None = None
    ) -> None:
        """Draw a rectangle: left, top, right, bottom, the last two outside it."""
        left, top, right, bottom = corners
        self.reach(bottom)
        self._draw.rectangle((left, top, right - 1, bottom - 1), fill=fill, outline=outline)

    def picture(self, at: tuple[int, int], picture: Image.Image) -> None:
        """Put a picture with its top left at (x, y)."""
        self.reach(at[1] + picture.height)
        self._image.paste(picture, at)

    def legend(self, corners: tuple[int, int, int, int]) -> None:
        """Draw the colour map from `LOWEST_SHOWN` on the left to 1 on the right."""
        left, top, right, bottom = corners
        levels = np.linspace(_FIRST_SHOWN, 255, right - left).round().astype(np.intp)
        self.picture(
            (left, top), Image.fromarray(np.repeat(colour_map()[levels][None], bottom - top, axis=0))
        )

    def pixels(self) -> Rgb:
        """Return the page as uint8, rows × columns × 3."""
        return np.asarray(self._image)


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(size * 1.32)


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Pixels that a line takes."""
    return int(np.ceil(_font(size, bold).getlength(text)))


def largest_size(text: str, width: int, sizes: Sequence[int], *, bold: bool = False) -> int:
    """Take the first of the sizes, largest first, at which text fits one line; else the last."""
    return next((size for size in sizes if text_width(text, size, bold=bold) <= width), sizes[-1])


def wrap(text: str, size: int, width: int, *, bold: bool = False) -> list[str]:
    """Break text into lines at most `width` wide; a word that is wider is broken within."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if text_width(longer, size, bold=bold) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and text_width(lines[-1] + letter, size, bold=bold) > width:
                lines.append("")
            lines[-1] += letter
    return lines
