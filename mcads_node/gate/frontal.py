"""Whether an image looks like a chest from the front, upright, with black and white as they should be.

Two small linear models of a thumbnail answer, both fitted by ``scripts/train_gate``:

* a *template*: its product with the thumbnail tells the eight ways apart in which an image may be shown (four
  quarter turns, each as it is or inverted). A mirrored image is not told: the heart may be on the right;
* the *principal components* of thumbnails of chests: what they leave unexplained of a thumbnail, in the way
  it fits best, is small for a chest and large for most else.

A thumbnail holds ranks, not grey values: neither a window nor any other curve that keeps their order changes
it, and inverting the image inverts it exactly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from mcads_node.errors import ModelUnusable
from mcads_node.gate.fault import Fault
from mcads_node.resample import geometry_for, model_input

_UNLIKE_A_CHEST = "The image does not look like a chest radiograph from the front."
#: what else may be the case is said too: another part of the body now and then fits best when it is inverted
_INVERTED = "Black and white seem to be exchanged, or this is not a chest from the front."
_TURNED = {
    1: "The image seems to lie on its side, or this is not a chest from the front.",
    2: "The image seems to be upside down, or this is not a chest from the front.",
    3: "The image seems to lie on its side, or this is not a chest from the front.",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FrontalModel:
    """What chests look like in thumbnails of n × n pixels."""

    #: float32, n × n
    template: NDArray[np.float32]
    #: float32, n × n
    mean: NDArray[np.float32]
    #: float32, k × n·n, orthonormal rows
    components: NDArray[np.float32]
    #: share of a thumbnail that may stay unexplained
    limit: float


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How an image looks most like a chest."""

    #: quarter turns counter-clockwise that bring it upright, 0 … 3
    turns: int
    #: black and white are exchanged
    inverted: bool
    #: share of its thumbnail that chests do not explain, about 0 … 1
    unexplained: float


def frontal_faults(square: NDArray[np.float32], *, narrow: bool = False) -> Iterator[Fault]:
    """Find an image that is inverted, turned, or of something else.

    Parameters
    ----------
    square
        float32, S × S: the model's input.
    narrow
        Most of the image is a border: how it lies cannot be told, only that it does not look as it should.
    """
    model = frontal_model()
    likeness = likeness_of(thumbnail(square, len(model.mean)), model)
    amiss = likeness.inverted or likeness.turns > 0
    if likeness.unexplained > model.limit or (narrow and amiss):
        yield Fault(check="chest", reason=_UNLIKE_A_CHEST)
        return
    if likeness.inverted:
        yield Fault(check="polarity", reason=_INVERTED)
    if likeness.turns:
        yield Fault(check="orientation", reason=_TURNED[likeness.turns])


def likeness_of(ranks: NDArray[np.float32], model: FrontalModel) -> Likeness:
    """Find the way in which a thumbnail looks most like a chest, and how much it then does."""
    turned = np.stack([np.rot90(ranks, turns) for turns in range(4)]).reshape(4, -1)
    fits = turned @ model.template.ravel()
    # an inverted thumbnail is the negative one
    inverted = bool(-fits.min() > fits.max())
    turns = int(np.argmin(fits) if inverted else np.argmax(fits))
    rest = (-turned if inverted else turned)[turns] - model.mean.ravel()
    explained = model.components @ rest
    unexplained = float(rest @ rest - explained @ explained) / rest.size
    return Likeness(turns=turns, inverted=inverted, unexplained=unexplained)


def thumbnail(square: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Shrink a square to size × size, and put the ranks of its pixels for their values.

    Returns
    -------
    ndarray of float32, size × size
        Mean 0, standard deviation 1; all 0 where the square is of one value.
    """
    rows, columns = square.shape
    # resizing takes what is outside for 0: so it is neither dark nor bright, whatever the window
    small = model_input(square - square.mean(), geometry_for(rows, columns, size))
    low, spread = small.min(), np.ptp(small)
    # in 255 steps, so that what is flat but for rounding has one rank
    steps = np.rint((small - low) * (255 / spread if spread > 0 else 0.0))
    _, places, counts = np.unique(steps, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[places].reshape(small.shape)
    ranks -= ranks.mean()
    result: NDArray[np.float32] = (ranks / (ranks.std() or 1.0)).astype(np.float32)
    return result


@cache
def frontal_model() -> FrontalModel:
    """Give the model that ships with the package."""
    return read_model(files(__package__))


def read_model(folder: Traversable) -> FrontalModel:
    """Read what ``scripts/train_gate`` wrote.

    Raises
    ------
    ModelUnusable
        The tensors are not those that were described.
    """
    description: dict[str, Any] = json.loads((folder / "frontal.json").read_text(encoding="utf-8"))
    data = (folder / "frontal.safetensors").read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != description["sha256"]:
        raise ModelUnusable(
            f"gate/frontal.safetensors: expected SHA-256 {description['sha256']}, found {found}"
        )
    return FrontalModel(**load(data), limit=float(description["unexplained_at_most"]))
