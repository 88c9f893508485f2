"""The cardiothoracic ratio of one frontal radiograph, or why there is none."""

from __future__ import annotations

import numpy as np

from mcads_node.anatomy.plausibility import mask_refusals, ratio_refusals
from mcads_node.anatomy.shape import Shape, shape_of
from mcads_node.instance import Radiograph
from mcads_node.structure import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyReading, Structures


def read_anatomy(radiograph: Radiograph, structures: Structures) -> AnatomyReading:
    """Measure the masks of a frontal radiograph, where they are plausible.

    Parameters
    ----------
    radiograph
        From the front, and fit for a model; its Patient Orientation is looked at.
    structures
        What a segmentation model found in it.
    """
    shapes = {name: shape_of(structures.mask(name)) for name in (RIGHT_LUNG, LEFT_LUNG, HEART)}
    refusals = _mirrored(radiograph) or mask_refusals(shapes)
    ratio = None if refusals else cardiothoracic_ratio(shapes[HEART], shapes[RIGHT_LUNG], shapes[LEFT_LUNG])
    if ratio is not None:
        refusals = ratio_refusals(ratio)
    return AnatomyReading(
        algorithm=structures.algorithm,
        cardiothoracic_ratio=None if refusals else ratio,
        refusals=refusals,
    )


def cardiothoracic_ratio(heart: Shape, right_lung: Shape, left_lung: Shape) -> float:
    """Divide the transverse diameter of the heart by that of the thorax (Danzer, 1919).

    The heart's is from its rightmost to its leftmost point, wherever these lie: the sum of the greatest
    distances to both sides of any midline. That of the thorax is the greatest from the outer border of one
    lung to that of the other at one height. The ratio of two widths depends on no spacing of pixels.
    """
    first, last = heart.columns
    lungs = right_lung.piece | left_lung.piece
    rows = lungs[lungs.any(axis=1)]
    widths = rows.shape[-1] - rows.argmax(axis=-1) - rows[..., ::-1].argmax(axis=-1)
    return float((last - first + 1) / np.max(widths))


def _mirrored(radiograph: Radiograph) -> tuple[str, ...]:
    """Refuse an image whose rows run to the patient's right: what the model calls left would be right."""
    orientation = list(radiograph.header.get("PatientOrientation") or ())
    if len(orientation) == 2 and str(orientation[0]).startswith("R"):
        return ("Patient Orientation (0020,0020) says that the image is mirrored.",)
    return ()
