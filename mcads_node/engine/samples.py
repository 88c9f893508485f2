"""Images for comparing two engines: the phantom in several guises, so that no image of a person is needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mcads_node import phantom
from mcads_node.engine.base import Engine
from mcads_node.engine.scores import scores_of
from mcads_node.instance import View
from mcads_node.model_store.manifest import Manifest
from mcads_node.resample import geometry_for, model_input

#: rows and columns of the phantom that is drawn, and its bits
_ROWS, _COLUMNS, _BITS = 560, 456, 12


def sample_inputs(manifest: Manifest) -> NDArray[np.float32]:
    """Draw images as a model sees them.

    Returns
    -------
    ndarray of float32, 8 × 1 × S × S
        A PA and a lateral phantom, each as it is, mirrored, of little contrast, and of much noise.
    """
    low, high, size = manifest.input.low, manifest.input.high, manifest.input.size
    stream = np.random.default_rng(5)
    shown = [guise for view in (View.PA, View.LATERAL) for guise in _guises(_drawn(view, size), stream)]
    stacked = np.stack(shown)[:, None]
    return np.ascontiguousarray(low + (high - low) * stacked.clip(0, 1), dtype=np.float32)


def scores_by(engine: Engine, manifest: Manifest, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the scores of the outputs that are used: N × labels."""
    points = np.array(manifest.operating_points, dtype=np.float32)
    _, logits = engine.forward(inputs)
    return scores_of(logits, points)[:, ~np.isnan(points)]


def _drawn(view: View, size: int) -> NDArray[np.float32]:
    dataset = phantom.radiograph(view, _ROWS, _COLUMNS, _BITS)
    words = np.frombuffer(dataset.PixelData, "<u2").reshape(_ROWS, _COLUMNS)
    shown = words.astype(np.float32) / np.float32(2**_BITS - 1)
    return model_input(shown, geometry_for(_ROWS, _COLUMNS, size))


def _guises(shown: NDArray[np.float32], stream: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    yield shown
    yield shown[:, ::-1]
    yield 0.35 + 0.3 * shown
    yield shown + stream.normal(0, 0.05, shown.shape).astype(np.float32)
