"""The exposed field: how much of an image the collimator left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mcads_node.gate.fault import Fault

#: of the image, within the field; 1,328 radiographs of NIH ChestX-ray14 have 0.63 at least
_LEAST_FIELD = 0.5
#: side of the blocks that an image is looked at in
_BLOCK = 8
#: a block is flat that varies by less than so much of what the whole image does
_FLAT = 0.04
#: a row or column of blocks is of the field where so many of its blocks are not flat: letters are not enough
_LEAST_IN_ROW = 0.25
#: smaller images have too few blocks to say
_LEAST_SIDE = 64


def field_faults(sample: NDArray[np.float32]) -> Iterator[Fault]:
    """Find an image most of which is a flat border.

    Parameters
    ----------
    sample
        float32, rows × columns, −1024 … 1024: pixels of the whole image, not all alike.
    """
    share = field_share(sample)
    if share < _LEAST_FIELD:
        reason = f"Only {share:.0%} of the image lies within the collimated field: the rest is a flat border."
        yield Fault(check="collimation", reason=reason)


def field_share(sample: NDArray[np.float32]) -> float:
    """Measure the rectangle that holds everything of an image that is not flat, as a share of the image."""
    if min(sample.shape) < _LEAST_SIDE:
        return 1.0
    down, across = (side // _BLOCK for side in sample.shape)
    blocks = sample[: down * _BLOCK, : across * _BLOCK].reshape(down, _BLOCK, across, _BLOCK)
    varied = blocks.std(axis=(1, 3)) >= _FLAT * sample.std()
    shares: tuple[float, float] = (_extent(varied.mean(axis=1)) / down, _extent(varied.mean(axis=0)) / across)
    return shares[0] * shares[1]


def _extent(profile: NDArray[np.float64]) -> int:
    """Count the blocks from the first to the last of the field."""
    within = np.flatnonzero(profile >= _LEAST_IN_ROW)
    return int(within[-1] - within[0] + 1) if within.size else 0
