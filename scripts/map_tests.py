"""What can be asked of heatmaps: whether they change with the weights, and find what a score rests on.

Adebayo et al., Sanity Checks for Saliency Maps (NeurIPS 2018): a map that stays the same when the network's
weights are shuffled does not show what the network learnt. Petsiuk et al., RISE (BMVC 2018): a map is good
when the score falls fast as the places it calls important are deleted, here compared with places drawn at
random, of the same size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from mcads_node.architectures import ARCHITECTURES
from mcads_node.classifier import Classifier
from mcads_node.engine import EngineSettings
from mcads_node.engine.scores import sigmoid
from mcads_node.engine.torch_engine import open_torch
from mcads_node.instance import ModelGeometry
from mcads_node.model_store.store import ModelStore, VerifiedWeights
from mcads_node.resample import to_source

Map = NDArray[np.float32]

#: what is shuffled, from the head downwards: how much of the network's matrices and kernels
LEVELS = {"head": 0.0, "upper third": 1 / 3, "upper two thirds": 2 / 3, "all": 1.0}
#: patches on a side, which are deleted as a whole, and steps of a curve
GRID, STEPS = 14, 7


def shuffled(store: ModelStore, name: str, share: float, seed: int = 0) -> Classifier:
    """Load a model with the values within each of its upper tensors in another order; the head's always.

    Batch normalisation stays, so that signals keep about their size.
    """
    manifest, weights = store.manifest(name), store.read(name)
    state = load(weights.data)
    network = ARCHITECTURES[manifest.architecture](len(manifest.outputs))
    # in the network's own order, which that of the file need not be
    matrices = [key for key in network.module.state_dict() if key in state and state[key].ndim > 1]
    drawn = torch.Generator().manual_seed(seed)
    for key in matrices[-max(1, math.ceil(share * len(matrices))) :]:
        flat = state[key].flatten()
        state[key] = flat[torch.randperm(len(flat), generator=drawn)].reshape(state[key].shape)
    changed = VerifiedWeights(data=save(state), digest=weights.digest)
    return Classifier(manifest, open_torch(manifest, changed, EngineSettings(device="cpu")), changed)


def likeness(one: Map, other: Map) -> tuple[float, float] | None:
    """Rank correlation (Spearman) and structural similarity of two maps; None where one of them is flat."""
    if not (np.ptp(one) and np.ptp(other)):
        return None
    side = max(one.shape[0], 64)
    correlation = float(spearmanr(one.ravel(), other.ravel()).statistic)
    grown = [to_source(each, square(side)) for each in (one, other)]
    similarity = structural_similarity(*grown, data_range=1.0)  # type: ignore[no-untyped-call]
    return correlation, float(similarity)


def deletion(classifier: Classifier, picture: Map, order: Sequence[int], labels: Sequence[str]) -> float:
    """Area under the outputs of some labels as patches become the image's mean, in an order; 1 at its start.

    Parameters
    ----------
    classifier
        The model.
    picture
        float32, S × S, in the model's range.
    order
        Of the GRID × GRID patches, counted row by row.
    labels
        Whose sigmoid outputs are averaged.
    """
    size = picture.shape[0]
    rank = np.empty(GRID * GRID, dtype=np.intp)
    rank[np.asarray(order)] = np.arange(GRID * GRID)
    cell = np.arange(size) * GRID // size
    place = rank.reshape(GRID, GRID)[np.ix_(cell, cell)]
    deleted = [place < step * GRID * GRID // STEPS for step in range(STEPS + 1)]
    batch = np.where(deleted, picture.mean(), picture).astype(np.float32)
    columns = [[each.label for each in classifier.manifest.outputs].index(label) for label in labels]
    outputs = sigmoid(classifier.forward(batch[:, None])[1])
    curve = outputs[:, columns].mean(axis=1).astype(np.float64)
    return float(np.trapezoid(curve / curve[0]) / STEPS)


def by_map(activation: Map, size: int) -> list[int]:
    """Order patches by the mean of a map in them, highest first."""
    spread = to_source(activation, square(size))
    cell = np.arange(size) * GRID // size
    sums = np.zeros((GRID, GRID))
    np.add.at(sums, (cell[:, None], cell[None, :]), spread)
    return [int(each) for each in np.argsort(-sums.ravel(), kind="stable")]


def at_random(count: int, seed: int) -> list[list[int]]:
    """Draw orders of the patches."""
    stream = np.random.default_rng(seed)
    return [[int(each) for each in stream.permutation(GRID * GRID)] for _ in range(count)]


def displaced(order: Sequence[int], count: int, seed: int) -> list[list[int]]:
    """Move an order elsewhere, round the edges: as connected as it is, but in the wrong place."""
    stream = np.random.default_rng(seed)
    rows, columns = np.divmod(np.asarray(order), GRID)
    moves = stream.integers(GRID // 4, GRID - GRID // 4 + 1, size=(count, 2))
    return [
        [int(each) for each in (rows + down) % GRID * GRID + (columns + right) % GRID]
        for down, right in moves
    ]


def square(side: int) -> ModelGeometry:
    """Geometry of an image that is the model's input, or a map of that side."""
    return ModelGeometry(rows=side, columns=side, top=0, left=0, side=side, size=side)
