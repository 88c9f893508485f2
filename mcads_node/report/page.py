"""A page on which text, boxes, bars and pictures are drawn; Pillow and the fonts are at home here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mcads_node.report.drawing import FIRST_SHOWN, GROUND, INK, Colour, Rgb, colour_map


class _Font(ImageFont.FreeTypeFont):
    """A font that keeps how its last texts look: most of a page's are those of the page before."""

    @lru_cache(maxsize=1024)  # noqa: B019 - fonts live as long as the process
    def getmask2(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """As Pillow's, which renders anew each time; what it returns is only drawn from."""
        return super().getmask2(*args, **kwargs)


@cache
def _font(size: int, bold: bool) -> _Font:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(__file__).with_name("fonts") / name
    # the basic engine: the same glyph positions whether or not libraqm is on the machine
    return _Font(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A text on a page."""

    #: before it was broken into lines
    text: str
    #: of the font, in pixels
    size: int
    fill: Colour
    #: left, top, right, bottom; the last two outside it
    corners: tuple[int, int, int, int]


class Page:
    """A picture that grows downwards as it is drawn upon, and remembers what was written on it."""

    def __init__(self, width: int, height: int = 1) -> None:
        self._height = height
        #: higher than the page where it has grown: it grows seldom, and by much
        self._image = Image.new("RGB", (width, height), GROUND)
        self._draw = ImageDraw.Draw(self._image)
        #: every text, in the order of drawing
        self.written: list[Written] = []

    @property
    def texts(self) -> list[str]:
        """Every text, in the order of drawing, before it was broken into lines."""
        return [written.text for written in self.written]

    @property
    def width(self) -> int:
        """Columns."""
        return self._image.width

    @property
    def height(self) -> int:
        """Rows so far."""
        return self._height

    def reach(self, bottom: int) -> None:
        """Make the page at least `bottom` rows high."""
        self._height = max(self._height, bottom)
        if bottom > self._image.height:
            grown = Image.new("RGB", (self.width, 2 * bottom), GROUND)
            grown.paste(self._image)
            self._image, self._draw = grown, ImageDraw.Draw(grown)

    def text(
        self, at: tuple[int, int], text: str, size: int, width: int, *, bold: bool = False, fill: Colour = INK
    ) -> int:
        """Write text, broken into lines at most `width` wide, its top left at (x, y); return the y below."""
        x, y = at
        step = line_height(size)
        lines = wrap(text, size, width, bold=bold)
        for line in lines:
            self.reach(y + step)
            self._draw.text((x, y + step // 2), line, font=_font(size, bold), fill=fill, anchor="lm")
            y += step
        widest = max(text_width(line, size, bold=bold) for line in lines)
        self.written.append(Written(text=text, size=size, fill=fill, corners=(x, at[1], x + widest, y)))
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
        self.reach(at[1] + size)
        font = _font(size, bold)
        self._draw.text(at, text, font=font, fill=fill, anchor=anchor)
        left, top, right, bottom = self._draw.textbbox(at, text, font=font, anchor=anchor)
        corners = (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
        self.written.append(Written(text=text, size=size, fill=fill, corners=corners))

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
        levels = np.linspace(FIRST_SHOWN, 255, right - left).round().astype(np.intp)
        self.picture(
            (left, top), Image.fromarray(np.repeat(colour_map()[levels][None], bottom - top, axis=0))
        )

    def pixels(self) -> Rgb:
        """Return the page as uint8, rows × columns × 3."""
        return np.asarray(self._image)[: self._height]


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(size * 1.32)


# the same words are measured again and again, of one page and from page to page
@lru_cache(maxsize=4096)
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
