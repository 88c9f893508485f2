"""Masks made by hand, and what was found in them: lungs and heart as ellipses of known widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcads_node.finding import Algorithm
from mcads_node.report.structure_codes import structure_codes
from mcads_node.resample import geometry_for
from mcads_node.structure import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyReading, Mask, Structures
from tests.report_samples import CAUTION

SIZE = 128
NAMES = tuple(structure_codes())

SEGMENTATION = Algorithm(
    name="pspnet-chestx-det",
    version="0.1.0+1",
    weights_digest="fedcba98" * 8,
    device_uid="2.25.240318766182937451862930174650192837",
    labels=NAMES,
)
MEASURED = AnatomyReading(algorithm=SEGMENTATION, cardiothoracic_ratio=0.5234)
REFUSED = AnatomyReading(
    algorithm=SEGMENTATION,
    refusals=(
        "The mask of the heart is in pieces.",
        "The heart would be 93% as wide as the thorax, which cannot be.",
    ),
)
OTHER = replace(SEGMENTATION, weights_digest="0" * 64, device_uid="2.25.7", caution=CAUTION)


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """In shares of the square's side."""

    row: float
    column: float
    height: float
    width: float

    def drawn(self, size: int = SIZE) -> Mask:
        y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
        inside: Mask = ((y - self.row) / self.height) ** 2 + ((x - self.column) / self.width) ** 2 <= 0.25
        return inside


#: a chest whose heart is half as wide as the thorax: 0.4 of the image, from lung to lung 0.8
CHEST: Mapping[str, Ellipse] = {
    RIGHT_LUNG: Ellipse(row=0.5, column=0.25, height=0.7, width=0.3),
    LEFT_LUNG: Ellipse(row=0.5, column=0.75, height=0.7, width=0.3),
    HEART: Ellipse(row=0.6, column=0.52, height=0.3, width=0.4),
}


def masks(**other: Ellipse | Mask) -> dict[str, Mask]:
    """Draw the chest, some structures otherwise: ``heart=``, ``left_lung=``, ``right_lung=``."""
    named = {name.replace("_", " ").title(): each for name, each in other.items()}
    drawn = {name: np.zeros((SIZE, SIZE), bool) for name in NAMES}
    for name, each in {**CHEST, **named}.items():
        drawn[name] = each.drawn() if isinstance(each, Ellipse) else each
    return drawn


def structures(
    drawn: Mapping[str, Mask], rows: int = 90, columns: int = 70, algorithm: Algorithm = SEGMENTATION
) -> Structures:
    """Make what a model would have found, sure of each pixel."""
    found: dict[str, NDArray[np.float32]] = {
        name: np.where(mask, 0.9, 0.1).astype(np.float32) for name, mask in drawn.items()
    }
    geometry = geometry_for(rows, columns, SIZE)
    return Structures(algorithm=algorithm, probabilities=found, threshold=0.5, geometry=geometry)
