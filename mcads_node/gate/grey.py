"""The grey scale: an image that is blank, clipped at an end, or made of a few grey levels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mcads_node.gate.fault import Fault

#: values of a `Radiograph`
_LOWEST, _RANGE = -1024.0, 2048.0
#: of the grey scale, between the 1st and the 99th percentile; 1,328 radiographs of NIH ChestX-ray14 have 0.40
#: at least
_LEAST_CONTRAST = 0.1
#: of the middle, so near to an end of the grey scale that it counts as clipped; the same radiographs have
#: 0.04 at most
_MOST_CLIPPED, _END = 0.15, 0.01
#: fewer make steps that a model takes for edges; an 8 bit radiograph has some 150 at least
_LEAST_LEVELS = 32


def contrast_faults(sample: NDArray[np.float32]) -> Iterator[Fault]:
    """Find an image that is nearly black, white or grey all over, as its header has it shown.

    Parameters
    ----------
    sample
        float32, rows × columns, −1024 … 1024: pixels of the whole image.
    """
    low, high = np.percentile(sample, (1, 99))
    used = float(high - low) / _RANGE
    if used < _LEAST_CONTRAST:
        reason = f"The image fills {used:.0%} of the grey scale: its display settings do not fit its pixels."
        yield Fault(check="contrast", reason=reason)


def exposure_faults(sample: NDArray[np.float32]) -> Iterator[Fault]:
    """Find clipping in the middle of the image, where the lungs are."""
    for share, end in zip(clipped(sample), ("black", "white"), strict=True):
        if share > _MOST_CLIPPED:
            reason = f"{share:.0%} of the middle of the image is plain {end}: what is there cannot be seen."
            yield Fault(check="exposure", reason=reason)


def level_faults(sample: NDArray[np.float32]) -> Iterator[Fault]:
    """Find too few grey levels; an image of a few pixels cannot have many."""
    levels = np.unique(sample[::2, ::2]).size if sample.size > 4 * _LEAST_LEVELS**2 else _LEAST_LEVELS
    if levels < _LEAST_LEVELS:
        yield Fault(check="grey-levels", reason=f"The image has only {levels} grey levels.")


def clipped(sample: NDArray[np.float32]) -> tuple[float, float]:
    """Measure which share of the middle is at the dark and at the bright end of the grey scale."""
    rows, columns = sample.shape
    top, left = rows // 5, columns * 3 // 20
    middle = (sample[top : rows - top, left : columns - left] - _LOWEST) / _RANGE
    return float((middle <= _END).mean()), float((middle >= 1 - _END).mean())
