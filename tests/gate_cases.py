"""Images that fail a check of the gate each, by header or by content, and short ways to put them to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mcads_node import phantom
from mcads_node.config import CHECKS
from mcads_node.gate import Reconstruction, failed_checks
from mcads_node.instance import InputCheck, Radiograph, View
from mcads_node.read.radiograph import read_radiograph
from mcads_node.resample import geometry_for, model_input
from tests.headers import header

Pixels = NDArray[np.float32]

INPUT = 224


@cache
def chest() -> Pixels:
    """Draw the phantom, from the front."""
    return read_radiograph(phantom.radiograph(rows=300, columns=250)).pixels


def radiograph(pixels: Pixels | None = None, view: View = View.PA, **attributes: object) -> Radiograph:
    """Make a radiograph, of the phantom where no pixels are given."""
    shown = chest() if pixels is None else np.ascontiguousarray(pixels, dtype=np.float32)
    return Radiograph(header=header(**attributes), pixels=shown, view=view)


def square_of(pixels: Pixels) -> Pixels:
    """Give what the model sees of an image."""
    rows, columns = pixels.shape
    return model_input(pixels, geometry_for(rows, columns, INPUT))


def checks_of(image: Radiograph) -> tuple[InputCheck, ...]:
    """Put an image to the gate, each check leading to what it leads to by default."""
    return failed_checks(image, square_of(image.pixels), CHECKS)


def names_of(image: Radiograph) -> list[str]:
    """Names of the checks that an image fails."""
    return [check.name for check in checks_of(image)]


def _collimated() -> Pixels:
    made = np.full_like(chest(), -1024)
    made[60:210, 50:190] = chest()[60:210, 50:190]
    return made


def _region(meaning: str) -> list[Dataset]:
    return [header(CodeMeaning=meaning)]


#: what is done to the picture, and the check that finds it
ALTERED: dict[str, tuple[str, Callable[[], Pixels]]] = {
    "inverted": ("polarity", lambda: -chest()),
    "a quarter turn": ("orientation", lambda: np.rot90(chest())),
    "half a turn": ("orientation", lambda: np.rot90(chest(), 2)),
    "three quarter turns": ("orientation", lambda: np.rot90(chest(), 3)),
    "flipped up-down": ("orientation", lambda: chest()[::-1]),
    "noise": ("chest", lambda: np.random.default_rng(1).uniform(-1024, 1024, (300, 250)).astype(np.float32)),
    "stripes": ("chest", lambda: np.tile(1000 * np.sin(np.arange(300) / 9).astype(np.float32), (300, 1))),
    "faint": ("contrast", lambda: (chest() / 20 + 300).astype(np.float32)),
    "blank": ("contrast", lambda: np.full((300, 250), -1024, np.float32)),
    "collimated": ("collimation", _collimated),
    "too dark": ("exposure", lambda: (chest() * 2 - 1100).clip(-1024, 1024)),
    "too bright": ("exposure", lambda: (chest() * 2 + 900).clip(-1024, 1024)),
    "few grey levels": ("grey-levels", lambda: np.rint(chest() / 128) * np.float32(128)),
}

#: what the header says, and the check that finds it
SAID: list[tuple[str, Radiograph]] = [
    ("intent", radiograph(PixelIntensityRelationship="LIN")),
    ("derived", radiograph(ConversionType="WSD")),
    ("body-part", radiograph(BodyPartExamined="CHEST", SeriesDescription="Left knee")),
    ("body-part", radiograph(BodyPartExamined="CHEST", AnatomicRegionSequence=_region("Hip joint"))),
    ("view", radiograph(view=View.LATERAL)),
    ("view", radiograph(view=View.OTHER)),
    ("age", radiograph(PatientAge="017Y")),
    ("age", radiograph(PatientAge="003D")),
    ("age", radiograph(PatientBirthDate="20100102", StudyDate="20280101")),
    ("photometric", radiograph(PhotometricInterpretation="MONOCHROME2", PresentationLUTShape="INVERSE")),
    ("photometric", radiograph(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY")),
    ("photometric", radiograph(PhotometricInterpretation="MONOCHROME2", PresentationLUTShape="LIN OD")),
    ("burned-in", radiograph(BurnedInAnnotation="YES")),
    ("grey-levels", radiograph(BitsStored=10, LargestImagePixelValue=1024)),
    ("size", radiograph(chest()[::2, ::2])),
    ("size", radiograph(np.pad(chest(), ((0, 230), (0, 0)), mode="edge"))),
]


def made_anew_badly() -> tuple[InputCheck, ...]:
    """Check an image that an autoencoder made anew worse than the site allows."""
    image, anew = radiograph(), Reconstruction(error=0.0612, limit=0.05)
    return failed_checks(image, square_of(image.pixels), CHECKS, anew)


@cache
def said_by_the_gate() -> dict[str, tuple[str, ...]]:
    """Give every sentence that the cases above make, by check."""
    images = [image for _, image in SAID] + [radiograph(make()) for _, make in ALTERED.values()]
    told: dict[str, dict[str, None]] = {name: {} for name in CHECKS}
    told["reconstruction"] = dict.fromkeys(each.reason for each in made_anew_badly())
    for image in images:
        for check in checks_of(image):
            told[check.name][check.reason] = None
    return {name: tuple(reasons) for name, reasons in told.items()}
