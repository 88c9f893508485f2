"""Grad-CAM: which cells of the feature map speak for a finding.

Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2) weighs each channel of a feature map by the mean
gradient of a finding's logit, sums the channels and keeps what speaks for the finding. The feature map here
is the last convolutional one after its activation, ReLU or ReLU6, which is what the head reads. The head is
global average pooling and a linear layer, so the gradient of a logit is the layer's weight, divided by the
number of cells, in every cell: no backward pass is made, and one forward pass serves every finding, whichever
engine made it. (torchxrayvision's own network holds the same map when a hook on ``features`` is asked after
the run: its ReLU works in place.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcads_node.classifier import Classifier, Inference
from mcads_node.errors import ModelUnusable
from mcads_node.finding import GRAD_CAM, Finding, Heatmap, Presence
from mcads_node.instance import ModelGeometry


def grad_cam(
    classifier: Classifier, inference: Inference, findings: Sequence[Finding], geometry: ModelGeometry
) -> tuple[Heatmap, ...]:
    """Make the Grad-CAM of each of `findings`, all at once.

    Parameters
    ----------
    classifier
        The one that made `inference`.
    inference
        Of the radiograph.
    findings
        Which to explain; may be empty.
    geometry
        Where the model's input lies in the source.

    Returns
    -------
    tuple of Heatmap
        As `findings`; ``activation`` is float32, h × w of the feature map, divided by its own maximum: 0…1,
        or all zero where nothing speaks for the finding.

    Raises
    ------
    ModelUnusable
        Its feature map holds values that are not finite.
    """
    if not findings:
        return ()
    column = {output.label: i for i, output in enumerate(classifier.manifest.outputs)}
    maps = _maps(classifier.head_weights[[column[f.label] for f in findings]], inference.feature_map[0])
    if not np.isfinite(maps).all():
        raise ModelUnusable(f"model {classifier.algorithm.name}: expected finite heatmaps, found others")
    return tuple(
        Heatmap(
            finding=finding,
            method=GRAD_CAM,
            activation=activation,
            geometry=geometry,
            positive=finding.presence is Presence.PRESENT,
        )
        for finding, activation in zip(findings, _normalised(maps), strict=True)
    )


def _maps(head: NDArray[np.float32], feature_map: NDArray[np.float32]) -> NDArray[np.float64]:
    """Grad-CAM before normalisation, of some outputs' weights (n × K): n × h × w, ≥ 0."""
    channels, height, width = feature_map.shape
    # double: a faint map is a small difference of large sums; dividing by its maximum shows their rounding
    weights = head.astype(np.float64) / (height * width)
    sums = weights @ feature_map.reshape(channels, -1).astype(np.float64)
    maps: NDArray[np.float64] = np.maximum(sums, 0.0).reshape(-1, height, width)
    return maps


def _normalised(maps: NDArray[np.float64]) -> NDArray[np.float32]:
    peaks = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(peaks > 0, peaks, 1.0), dtype=np.float32)
