"""Radiographs, their altered copies and other pictures: what the gate's model is fitted to, and measured on.

Patients are split in two by the digest of their number: one half to fit and set thresholds on, the other to
measure on. Nothing of one half is ever used for the other.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import skimage
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.errors import InvalidDicomError

from mcads_node.errors import InstanceUnreadable
from mcads_node.read.radiograph import read_dataset, read_radiograph

Pixels = NDArray[np.float32]

#: what files raise that are no pictures, or damaged on purpose
UNREADABLE = (OSError, UnidentifiedImageError, InvalidDicomError, ValueError, AttributeError, RuntimeError)

#: darkest and brightest, as `Radiograph` has them
DARK, BRIGHT = -1024.0, 1024.0


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One frontal radiograph."""

    file: Path
    patient: str
    view: str

    @property
    def held_out(self) -> bool:
        return hashlib.sha256(self.patient.encode()).digest()[-1] % 2 == 1

    def pixels(self) -> Pixels:
        return picture(self.file)


def labelled(images: Path, labels: Path) -> list[Labelled]:
    """Read a table with the columns file, patient and view."""
    with labels.open(encoding="utf-8", newline="") as table:
        return [
            Labelled(file=images / row["file"], patient=row["patient"], view=row["view"])
            for row in csv.DictReader(table)
        ]


def picture(file: Path) -> Pixels:
    """Read an image file, or a DICOM object as the node reads it."""
    if file.suffix == ".dcm":
        return read_radiograph(read_dataset(file.read_bytes())).pixels
    with Image.open(file) as image:
        return grey(np.asarray(image.convert("L"), np.float32) / 255)


def grey(shown: NDArray[np.floating]) -> Pixels:
    """Bring 0 … 1 to the range of a `Radiograph`."""
    return (DARK + (BRIGHT - DARK) * shown).astype(np.float32)


# --- copies


def _collimated(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Keep a quarter to two fifths of the area, somewhere; the border is black or white."""
    rows, columns = pixels.shape
    share = np.sqrt(rng.uniform(0.25, 0.4))
    height, width = int(rows * share), int(columns * share)
    top, left = rng.integers(0, rows - height + 1), rng.integers(0, columns - width + 1)
    made = np.full_like(pixels, rng.choice([DARK, BRIGHT]))
    made[top : top + height, left : left + width] = pixels[top : top + height, left : left + width]
    return made


def _overexposed(pixels: Pixels, _: np.random.Generator) -> Pixels:
    low = np.quantile(_middle(pixels), 0.3)
    return grey(np.clip((pixels - low) / max(BRIGHT - low, 1), 0, 1))


def _underexposed(pixels: Pixels, _: np.random.Generator) -> Pixels:
    high = np.quantile(_middle(pixels), 0.7)
    return grey(np.clip((pixels - DARK) / max(high - DARK, 1), 0, 1))


def _middle(pixels: Pixels) -> Pixels:
    rows, columns = pixels.shape
    return pixels[rows // 5 : -(rows // 5), columns * 3 // 20 : -(columns * 3 // 20)]


def _blank(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Keep a twentieth of the contrast, around some grey."""
    return (rng.uniform(-900, 900) + (pixels - pixels.mean()) / 20).clip(DARK, BRIGHT).astype(np.float32)


def _noise(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return rng.uniform(DARK, BRIGHT, pixels.shape).astype(np.float32)


def _posterised(pixels: Pixels, _: np.random.Generator) -> Pixels:
    return grey(np.floor((pixels - DARK) / (BRIGHT - DARK) * 15.99) / 15)


def _quadrant(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Show the upper or lower quarter of one side only, without a border."""
    rows, columns = (side // 2 for side in pixels.shape)
    top, left = rng.integers(0, 2) * rows, rng.integers(0, 2) * columns
    return np.ascontiguousarray(pixels[top : top + rows, left : left + columns])


#: name → the checks one of which should find it, and how it is made
COPIES: dict[str, tuple[tuple[str, ...], Callable[[Pixels, np.random.Generator], Pixels]]] = {
    "inverted": (("polarity",), lambda pixels, _: -pixels),
    "turned by 90°": (("orientation",), lambda pixels, _: np.rot90(pixels).copy()),
    "turned by 180°": (("orientation",), lambda pixels, _: np.rot90(pixels, 2).copy()),
    "turned by 270°": (("orientation",), lambda pixels, _: np.rot90(pixels, 3).copy()),
    "flipped up-down": (("orientation",), lambda pixels, _: pixels[::-1].copy()),
    "inverted and turned by 90°": (("orientation",), lambda pixels, _: -np.rot90(pixels)),
    "collimated to 25–40 %": (("collimation",), _collimated),
    "30 % of the middle black": (("exposure",), _overexposed),
    "30 % of the middle white": (("exposure",), _underexposed),
    "a twentieth of the contrast": (("contrast",), _blank),
    "noise": (("chest",), _noise),
    "16 grey levels": (("grey-levels",), _posterised),
    "one quarter of the chest": (("chest", "orientation", "polarity"), _quadrant),
}


def disturbed(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Make a copy that is still a frontal chest: tilted, shifted, closer or further, with another border."""
    side = len(pixels)
    border = float(rng.choice([DARK, DARK, 0.0, BRIGHT]))
    image = Image.fromarray(pixels).rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=border)
    scaled = int(side * rng.uniform(0.75, 1.15))
    if scaled >= side or rng.random() < 0.5:
        kept = min(side, side * side // scaled, scaled)
        top, left = rng.integers(0, side - kept + 1, 2)
        box = image.crop((left, top, left + kept, top + kept))
        return np.asarray(box.resize((side, side), Image.Resampling.BILINEAR))
    made = np.full((side, side), border, np.float32)
    top, left = rng.integers(0, side - scaled + 1, 2)
    made[top : top + scaled, left : left + scaled] = np.asarray(image.resize((scaled, scaled)))
    return made


# --- what is no frontal chest


def other_pictures(folders: list[Path]) -> Iterator[tuple[str, Pixels]]:
    """Give pictures of other things: of folders, and those that scikit-image and pydicom ship; each once.

    In colour they are taken in grey, and of several frames the first, although the node declines both.
    """
    seen: list[NDArray[np.floating]] = []
    bundled = sorted((Path(skimage.__file__).parent / "data").iterdir())
    bundled += sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
    for file in [*(each for folder in folders for each in sorted(folder.iterdir())), *bundled]:
        try:
            pixels = _any_picture(file)
        except (*UNREADABLE, InstanceUnreadable):
            continue
        if min(pixels.shape) < 48 or pixels.std() == 0:
            continue
        small = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BOX)).ravel()
        small = (small - small.mean()) / (small.std() or 1)
        # many of the bundled files are one picture in several encodings
        if all((small * other).mean() < 0.98 for other in seen):
            seen.append(small)
            yield file.name, pixels


def _any_picture(file: Path) -> Pixels:
    if file.suffix != ".dcm":
        return picture(file)
    try:
        return read_radiograph(read_dataset(file.read_bytes())).pixels
    except InstanceUnreadable:
        values = np.asarray(pydicom.dcmread(file).pixel_array, np.float32)
    if values.shape[-1] == 3:
        values = values.mean(axis=-1)
    while values.ndim > 2:
        values = values[0]
    low, high = np.percentile(values, (0.1, 99.9))
    return grey(np.clip((values - low) / max(high - low, 1e-6), 0, 1))
