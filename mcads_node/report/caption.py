"""The caption below a heatmap: which finding, how sure, by which model, on which image, and a legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mcads_node.finding import Algorithm, Heatmap
from mcads_node.instance import Radiograph
from mcads_node.report import wording
from mcads_node.report.drawing import ALARM, AMBER, DIM, INK, LOWEST_SHOWN, OUTLINE, PANEL, outline_width
from mcads_node.report.page import Page, line_height, text_width, wrap
from mcads_node.report.sentences import sentence
from mcads_node.report.translation import N_, Translator, translator
from mcads_node.result import Rendition

#: a caption cannot be read on a narrower strip; narrower images get black columns on their right, and so do
#: images more than twice as high as wide, which a screen shows by their height
NARROWEST: Final = 480
#: smallest size of letters in pixels
SMALLEST: Final = 14
_ACTIVATION: Final = N_("Relative activation")
_INFLUENCE: Final = N_("Relative influence of a pixel")
_LOWER: Final = N_("lower: not drawn")
_OUTLINE: Final = N_("Outline: half of the highest activation, or more, lies within")


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """Sizes of letters, which grow with the image: a screen shows a large one smaller."""

    text: int
    small: int
    title: int
    caution: int


def caption(
    radiograph: Radiograph,
    heatmap: Heatmap,
    algorithm: Algorithm,
    rendition: Rendition,
    shape: tuple[int, int],
) -> Page:
    """Write the strip: caution, title and score, warnings, method and source; legend on the right.

    Parameters
    ----------
    radiograph, heatmap, algorithm, rendition
        What it is the caption of.
    shape
        Rows and columns of the picture above it; the strip is as wide, or wider where it could not be read.
    """
    tr = translator(rendition.language)
    width = max(shape[1], NARROWEST, shape[0] // 2)
    size = max(SMALLEST + 1, round(max(width / 54, shape[0] / 66)))
    sizes = _Sizes(
        text=size,
        small=max(SMALLEST, round(size * 0.8)),
        title=round(size * 1.4),
        caution=round(size * 1.3),
    )
    pad = size
    strip = Page(width)
    top = _caution(strip, tr(algorithm.caution), sizes.caution, pad) if algorithm.caution else 0
    legend_width = round(width * 0.24)
    room = width - legend_width - 3 * pad
    at = (width - pad - legend_width, top + pad)
    if rendition.style == "contour":
        below_legend = _outline_legend(strip, at, legend_width, sizes.small, tr)
    else:
        scale = tr(_ACTIVATION if heatmap.has_areas else _INFLUENCE)
        below_legend = _legend(strip, at, (legend_width, sizes.small), scale, tr)

    y = top + pad // 2
    y = strip.text((pad, y), wording.heatmap_title(heatmap, tr), sizes.title, room, bold=True)
    y = strip.text((pad, y), wording.scores_text(heatmap, algorithm, tr), sizes.text, room)
    y = strip.text((pad, y), tr(wording.UNVERIFIED), sizes.text, room, bold=True, fill=AMBER)
    for text in _warnings(radiograph, heatmap, tr):
        y = strip.text((pad, y), text, sizes.small, room, fill=AMBER)
    for text in _origin(radiograph, heatmap, algorithm, tr):
        y = strip.text((pad, y), text, sizes.small, room, fill=DIM)
    strip.reach(max(y, below_legend) + pad // 2)
    return strip


def _warnings(radiograph: Radiograph, heatmap: Heatmap, tr: Translator) -> list[str]:
    warned = [tr("Input: {reason}", reason=sentence(check.reason, tr)) for check in radiograph.checks]
    return warned if heatmap.activation.any() else [*warned, wording.empty_text(heatmap, tr)]


def _origin(
    radiograph: Radiograph, heatmap: Heatmap, algorithm: Algorithm, tr: Translator
) -> tuple[str, str]:
    made = f"{wording.method_name(heatmap.method, tr)} · {wording.model_text(algorithm)}"
    image = tr("Source: {image}", image=wording.source_text(radiograph.header, tr))
    return made, " · ".join(filter(None, (image, wording.field_text(heatmap.geometry, tr))))


def _caution(strip: Page, text: str, size: int, pad: int) -> int:
    """Draw the model's caution on a loud band across the strip; return the y below."""
    room = strip.width - 2 * pad
    bottom = line_height(size) * len(wrap(text, size, room, bold=True)) + pad
    strip.box((0, 0, strip.width, bottom), ALARM)
    strip.text((pad, pad // 2), text, size, room, bold=True)
    return bottom


def _legend(strip: Page, at: tuple[int, int], sizes: tuple[int, int], scale: str, tr: Translator) -> int:
    """Draw the colours in a width, with letters of a size, under what they are the scale of."""
    (x, y), (width, size) = at, sizes
    y = strip.text((x, y), scale, size, width, fill=INK)
    bar = (x, y + size // 4, x + width, y + size // 4 + round(size * 1.2))
    strip.box((bar[0] - 1, bar[1] - 1, bar[2] + 1, bar[3] + 1), None, PANEL)
    strip.legend(bar)
    y = bar[3] + size // 4
    low, high = tr.number(LOWEST_SHOWN), tr.number(1)
    strip.text((x, y), low, size, width, fill=INK)
    y_end = strip.text((x + width - text_width(high, size), y), high, size, width, fill=INK)
    return strip.text((x, y_end), tr(_LOWER), size, width, fill=DIM) + line_height(size) // 4


def _outline_legend(strip: Page, at: tuple[int, int], width: int, size: int, tr: Translator) -> int:
    x, y = at
    middle, thick = y + size // 2, max(outline_width(strip.width), size // 5)
    strip.box((x, middle, x + width // 3, middle + thick), OUTLINE)
    return strip.text((x, y + size + size // 4), tr(_OUTLINE), size, width, fill=INK)
