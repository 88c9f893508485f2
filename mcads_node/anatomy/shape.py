"""Sizes and places of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from mcads_node.structure import Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """The largest piece of a mask; specks beside it would make it as wide as the image."""

    #: bool, S × S: the piece
    piece: Mask
    #: of the square that the whole mask covers, 0…1
    share: float
    #: of the mask that the piece holds, 0…1; 0 where the mask is empty
    whole: float

    @property
    def centre(self) -> tuple[float, float]:
        """Mean row and column."""
        rows, columns = np.nonzero(self.piece)
        return float(rows.mean()), float(columns.mean())

    @property
    def columns(self) -> tuple[int, int]:
        """First and last column."""
        found = np.flatnonzero(self.piece.any(axis=0))
        return int(found[0]), int(found[-1])

    @property
    def rows(self) -> tuple[int, int]:
        """First and last row."""
        found = np.flatnonzero(self.piece.any(axis=1))
        return int(found[0]), int(found[-1])


def shape_of(mask: Mask) -> Shape:
    """Measure a mask (bool, S × S)."""
    pixels = int(mask.sum())
    if not pixels:
        return Shape(piece=mask, share=0.0, whole=0.0)
    pieces: NDArray[np.intp] = label(mask, connectivity=2)  # type: ignore[no-untyped-call]
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    return Shape(piece=pieces == largest, share=pixels / mask.size, whole=float(sizes[largest]) / pixels)
