"""What a browser shows of a study: ``look.mjs`` opens OHIF; screenshots are compared with our pictures."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mcads_node.report.drawing import decode_picture
from tests.programs import require_program
from tests.viewer.server import HERE

#: how long the page may take for one step
STEP_SECONDS = 30
#: pictures are compared at this many pixels a side: words of the viewer on top of them count little
_SIDE = 128

Picture = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The page with one series in its viewport."""

    screenshot: Path
    #: all text of the page, and that of the viewport alone
    text: str
    overlay: str
    #: where the viewport lies in the screenshot: x, y, width, height
    pane: tuple[float, float, float, float]
    #: errors that OHIF's error boundary caught, and told the user of
    caught: tuple[str, ...]

    def viewport(self) -> Picture:
        """Give what the viewport shows: height × width × 3, 0…1."""
        page = np.asarray(decode_picture(self.screenshot.read_bytes()).convert("RGB"), np.float64) / 255
        left, top, width, height = (round(each) for each in self.pane)
        return page[top : top + height, left : left + width]

    def part_of(self, rows: int, columns: int) -> Picture:
        """Give the part where an image of this matrix lies: in the middle, as large as fits."""
        whole = self.viewport()
        scale = min(whole.shape[0] / rows, whole.shape[1] / columns)
        height, width = round(rows * scale), round(columns * scale)
        top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
        return whole[top : top + height, left : left + width]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What one visit to the viewer brought to light."""

    descriptions: tuple[str, ...]
    shown: Mapping[str, Shown]
    #: a page that crashed, an exception nobody caught, a step that took too long
    crashes: tuple[str, ...]
    #: errors in the browser's console
    console: tuple[str, ...]


def visit(url: str, series: Mapping[str, str], screenshots: Path) -> Visit:
    """Open a study in OHIF and show series by series; screenshots are written as ``<name>.png``.

    Parameters
    ----------
    url
        The viewer's page of the study.
    series
        Series Description (0008,103E) by a name for the screenshot, in the order in which to show them.
    """
    node, chromium = require_program("node"), require_program("chromium")
    screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        asked = {
            "chromium": chromium,
            "profile": profile,
            "url": url,
            "folder": str(screenshots),
            "series": [{"name": name, "description": text} for name, text in series.items()],
            "seconds": STEP_SECONDS,
        }
        done = subprocess.run(
            [node, str(HERE / "look.mjs")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return Visit(
        descriptions=tuple(answer["descriptions"]),
        shown={each["name"]: _shown(each) for each in answer["shown"]},
        crashes=tuple(answer["crashes"]),
        console=tuple(answer["console"]),
    )


def _shown(told: dict[str, object]) -> Shown:
    pane = told["pane"]
    assert isinstance(pane, dict)
    assert isinstance(told["caught"], list)
    return Shown(
        screenshot=Path(str(told["screenshot"])),
        text=str(told["text"]),
        overlay=str(told["overlay"]),
        pane=(pane["x"], pane["y"], pane["width"], pane["height"]),
        caught=tuple(map(str, told["caught"])),
    )


def likeness(shown: Shown, picture: NDArray[np.uint8]) -> float:
    """Correlate what a viewport shows with the picture that it should show: 1 for the same, 0 for another."""
    part = shown.part_of(picture.shape[0], picture.shape[1])
    small = [_small(part), _small(picture / 255)]
    if min(np.std(each) for each in small) < 0.01:
        # a plain surface is like nothing
        return 0.0
    one, other = ((each - each.mean()) / each.std() for each in small)
    return float(np.mean(one * other))


def _small(picture: Picture) -> Picture:
    """Average a picture down to `_SIDE` pixels a side, whatever its shape; flat."""
    image = Image.fromarray(np.round(picture * 255).astype(np.uint8))
    small = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    return small.ravel() / 255


def amount_of(colour: str, picture: Picture) -> float:
    """Fraction of a picture (0…1) that is plainly ``red`` or ``amber``."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    if colour == "red":
        found = (red > 0.55) & (green < 0.25) & (blue < 0.3)
    else:
        found = (red > 0.85) & (green > 0.6) & (green < 0.85) & (blue < 0.4)
    return float(found.mean())
