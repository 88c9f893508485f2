"""What a segmentation model finds in one radiograph, and what is kept of it for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mcads_node.finding import Algorithm
from mcads_node.instance import ModelGeometry

Mask = NDArray[np.bool_]

#: structures that are measured, by the names of torchxrayvision's PSPNet
LEFT_LUNG: Final = "Left Lung"
RIGHT_LUNG: Final = "Right Lung"
HEART: Final = "Heart"


@dataclass(frozen=True, kw_only=True, eq=False)
class Structures:
    """Where the structures of one radiograph lie; they may overlap."""

    #: who found them; its labels are the structures
    algorithm: Algorithm
    #: by structure, in the model's order: float32, S × S, 0…1
    probabilities: Mapping[str, NDArray[np.float32]]
    #: from which on a pixel belongs to a structure
    threshold: float
    #: where the square lies in the source
    geometry: ModelGeometry

    def mask(self, structure: str) -> Mask:
        """Give the pixels of a structure: bool, S × S."""
        mask: Mask = self.probabilities[structure] >= self.threshold
        return mask


@dataclass(frozen=True, kw_only=True)
class AnatomyReading:
    """What a report says of the anatomy in one frontal image."""

    #: the segmentation model
    algorithm: Algorithm
    #: width of the heart through that of the thorax; None: it was not measured
    cardiothoracic_ratio: float | None = None
    #: why it was not, a sentence each for a radiologist; without PHI
    refusals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.cardiothoracic_ratio is None) != bool(self.refusals):
            raise ValueError(f"there is a ratio, or a reason why there is none: {self}")
