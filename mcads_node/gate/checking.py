"""All checks of one image, and what each that failed leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mcads_node.gate.fault import Fault
from mcads_node.gate.field import field_faults
from mcads_node.gate.frontal import frontal_faults
from mcads_node.gate.grey import contrast_faults, exposure_faults, level_faults
from mcads_node.gate.header import header_faults
from mcads_node.gate.reconstruction import Reconstruction, reconstruction_faults
from mcads_node.instance import InputCheck, Radiograph, Verdict, View

#: pixels along the longer side of what the checks of the whole image look at
_SAMPLE = 256


def failed_checks(
    radiograph: Radiograph,
    square: NDArray[np.float32],
    verdicts: Mapping[str, Verdict],
    anew: Reconstruction | None = None,
) -> tuple[InputCheck, ...]:
    """Give every check that an image did not pass, and what that leads to.

    Parameters
    ----------
    radiograph
        As it was read.
    square
        float32, S × S, −1024 … 1024: the model's input, which is what most checks of the content look at.
    verdicts
        What a check that fails leads to, by its name; one that leads to `Verdict.PASS` is not told.
    anew
        How well an autoencoder made the image anew; None: none was asked.
    """
    return tuple(
        InputCheck(name=fault.check, verdict=verdicts[fault.check], reason=fault.reason)
        for fault in _faults(radiograph, square, anew)
        if verdicts[fault.check] is not Verdict.PASS
    )


def _faults(
    radiograph: Radiograph, square: NDArray[np.float32], anew: Reconstruction | None
) -> Iterator[Fault]:
    yield from header_faults(radiograph, len(square))
    sample = sample_of(radiograph.pixels)
    blank = list(contrast_faults(sample))
    yield from blank
    if blank:
        # of noise nothing more can be said
        return
    yield from level_faults(sample)
    narrow = list(field_faults(sample))
    yield from narrow
    if not narrow:
        # a border in the middle is not an exposure
        yield from exposure_faults(sample)
    if radiograph.view not in (View.LATERAL, View.OTHER):
        yield from frontal_faults(square, narrow=bool(narrow))
    if anew is not None:
        yield from reconstruction_faults(anew)


def sample_of(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take every n-th pixel, so that at most 256 × 256 are left: values as they are, nothing averaged."""
    step = -(-max(pixels.shape) // _SAMPLE)
    first = min(step // 2, min(pixels.shape) - 1)
    return pixels[first::step, first::step]
