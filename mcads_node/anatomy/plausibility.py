"""Whether masks of lungs and heart can be what they are said to be, as rules; each refusal is a sentence.

The limits are wide and made by hand, from anatomy: they are to catch masks that make no sense, such as those
of a wrong, turned or inverted image. They were not fitted, and nobody has measured how often they err.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mcads_node.anatomy.shape import Shape
from mcads_node.structure import HEART, LEFT_LUNG, RIGHT_LUNG

#: of the square that a structure covers: at least, at most
_SHARES: Mapping[str, tuple[float, float]] = {
    RIGHT_LUNG: (0.03, 0.40),
    LEFT_LUNG: (0.03, 0.40),
    HEART: (0.02, 0.30),
}
#: of a mask that lies in one piece
_WHOLE = 0.9
#: the smaller lung through the larger: below, one is collapsed, veiled, or not found
_SMALLER_LUNG = 1 / 3
#: from centre to centre of the lungs, of the square's side
_LUNGS_APART = 0.15
#: a ratio beyond these is none of a chest
LEAST_RATIO, GREATEST_RATIO = 0.25, 0.85


def mask_refusals(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Say what speaks against the masks of lungs and heart.

    Parameters
    ----------
    shapes
        Of the structures, by name; all three are there.

    Returns
    -------
    tuple of str
        Each a sentence for a radiologist; empty: the masks are plausible.
    """
    of_each = tuple(said for name in _SHARES for said in _of_one(name, shapes[name]))
    # of masks that are too small, or in pieces, places say nothing
    return of_each or tuple(_of_places(shapes))


def ratio_refusals(ratio: float) -> tuple[str, ...]:
    """Say what speaks against a cardiothoracic ratio."""
    if LEAST_RATIO <= ratio <= GREATEST_RATIO:
        return ()
    return (f"The heart would be {ratio:.0%} as wide as the thorax, which cannot be.",)


def _of_one(name: str, shape: Shape) -> Iterator[str]:
    low, high = _SHARES[name]
    structure = name.lower()
    if not low <= shape.share <= high:
        yield f"The mask of the {structure} covers {shape.share:.0%} of the image, which cannot be."
    elif shape.whole < _WHOLE:
        yield f"The mask of the {structure} is in pieces."
    else:
        first, last = shape.columns
        if first == 0 or last == shape.piece.shape[1] - 1:
            yield f"The {structure} reaches the edge of what the model saw: its width is not known."


def _of_places(shapes: Mapping[str, Shape]) -> Iterator[str]:
    right, left, heart = shapes[RIGHT_LUNG], shapes[LEFT_LUNG], shapes[HEART]
    side = heart.piece.shape[1]
    if min(right.share, left.share) < _SMALLER_LUNG * max(right.share, left.share):
        yield "The mask of one lung is less than a third of that of the other."
    # as radiographs are hung: the patient's left is on the viewer's right
    if left.centre[1] - right.centre[1] < _LUNGS_APART * side:
        yield "The masks of the lungs do not lie side by side, the right one on the left of the image."
    if not right.centre[1] < heart.centre[1] < left.centre[1]:
        yield "The mask of the heart does not lie between those of the lungs."
    if not min(right.rows[0], left.rows[0]) < heart.centre[0] < max(right.rows[1], left.rows[1]):
        yield "The mask of the heart does not lie at the height of the lungs."
