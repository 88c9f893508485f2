"""Checks of what was read: whether an image is what its header says, as far as a model depends on it.

None of them changes a pixel. An image whose polarity or grey scale is in doubt is still analysed, but no
presence is claimed of it: a second inversion, or a window of the node's own, would be a guess.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mcads_node.instance import InputCheck, Verdict, View
from mcads_node.read.attributes import code_string, named, quoted
from mcads_node.resample import geometry_for

#: of the 2048 steps of display values, between the 1st and the 99th percentile; 1,328 radiographs of NIH
#: ChestX-ray14 have 0.40 at least
_LEAST_CONTRAST = 0.1
#: by how many standard deviations both lungs must outshine the mediastinum. Measured on the same radiographs:
#: 5 of 1,328 are marked (one is indeed inverted, of the others one lung is opaque or out of the field), and
#: inverted on purpose 97 % are
_INVERTED = 0.1
#: fields of the centre square, as fractions: top, bottom, left, right
_MEDIASTINUM = (0.30, 0.75, 0.45, 0.60)
_LUNGS = ((0.20, 0.60, 0.20, 0.38), (0.20, 0.60, 0.64, 0.82))


def failed_checks(ds: Dataset, pixels: NDArray[np.float32], view: View) -> tuple[InputCheck, ...]:
    """Give every check of the polarity and the grey scale that did not pass.

    Parameters
    ----------
    ds
        The source's data set.
    pixels
        float32, rows × columns, −1024 … 1024: as read, after polarity.
    view
        The content says nothing about the polarity of a lateral.
    """
    checks = (_header_polarity(ds), _content_polarity(pixels, view), _contrast(pixels))
    return tuple(check for check in checks if check is not None)


def _header_polarity(ds: Dataset) -> InputCheck | None:
    """Compare Presentation LUT Shape with Photometric Interpretation; None where they agree.

    The DX Image module (PS3.3 C.8.11.3) ties them: IDENTITY with MONOCHROME2, INVERSE with MONOCHROME1, and
    neither asks for a second inversion. CR has no Presentation LUT Shape; where one is there all the same, it
    may be meant as in a presentation state, where it would decide alone. So a contradiction is not resolved.
    """
    shape = code_string(ds, "PresentationLUTShape")
    photometric = code_string(ds, "PhotometricInterpretation")
    expected = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    if shape in ("", expected):
        return None
    return InputCheck(
        name="polarity",
        verdict=Verdict.UNDETERMINED,
        reason=f"{named('PresentationLUTShape')} is {quoted(shape)}, which contradicts "
        f"{named('PhotometricInterpretation')} {quoted(photometric)}: black and white may be exchanged.",
    )


def _content_polarity(pixels: NDArray[np.float32], view: View) -> InputCheck | None:
    """In a frontal chest radiograph at least one lung is darker than the mediastinum between them."""
    if view in (View.LATERAL, View.OTHER):
        return None
    spread = float(pixels.std())
    brightest = _field(pixels, _MEDIASTINUM) + _INVERTED * spread
    if spread == 0 or min(_field(pixels, lung) for lung in _LUNGS) <= brightest:
        return None
    return InputCheck(
        name="polarity",
        verdict=Verdict.UNDETERMINED,
        reason="Both lung fields are brighter than the mediastinum: black and white may be exchanged.",
    )


def _contrast(pixels: NDArray[np.float32]) -> InputCheck | None:
    """Find an image that its header leaves nearly black, white or grey."""
    low, high = np.percentile(pixels[::4, ::4], (1, 99))
    used = float(high - low) / 2048
    if used >= _LEAST_CONTRAST:
        return None
    return InputCheck(
        name="contrast",
        verdict=Verdict.UNDETERMINED,
        reason=f"The image fills {used:.0%} of the grey scale: its display settings do not fit its pixels.",
    )


def _field(pixels: NDArray[np.float32], field: tuple[float, float, float, float]) -> float:
    rows_there, columns_there = pixels.shape
    geometry = geometry_for(rows_there, columns_there, 1)
    top, bottom, left, right = (int(fraction * geometry.side) for fraction in field)
    rows = slice(geometry.top + top, geometry.top + max(bottom, top + 1))
    columns = slice(geometry.left + left, geometry.left + max(right, left + 1))
    return float(pixels[rows, columns].mean())
