"""PLI, the pixel-level map of a finding: guided backpropagation, smoothed over noisy copies of the image.

SmoothGrad (Smilkov et al., 2017, arXiv:1706.03825) averages the gradient of a finding's logit over
copies of the input with Gaussian noise. Of the mean, the absolute value is shown, divided by its 99th
percentile and cut off there, as in the paper: a few extreme pixels would leave all others dark.

The copies go through the network in batches; the backward pass of each finding uses the same forward pass.
(One backward pass for all findings at once, by vmap, took 1.6 to 2 times as long on a CPU, and a third to two
thirds more memory: measured.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mcads_node.classifier import Classifier
from mcads_node.errors import ModelUnusable
from mcads_node.explain.guided import GuidedBackpropagation
from mcads_node.finding import PLI, Finding, Heatmap, Presence
from mcads_node.instance import ModelGeometry

#: noisy copies of an image
SAMPLES: Final = 8
#: standard deviation of the noise, as a share of the range of the image's values
NOISE: Final = 0.1
#: percentile of a map that becomes 1
PERCENTILE: Final = 99.0
#: copies in one pass: each keeps 80 to 160 MB until its gradient is there, and more are hardly quicker
_BATCH: Final = 2


def pli(
    classifier: Classifier,
    model_input: NDArray[np.float32],
    findings: Sequence[Finding],
    geometry: ModelGeometry,
) -> tuple[Heatmap, ...]:
    """Make the pixel-level map of each of `findings`.

    Parameters
    ----------
    classifier
        The one that made the findings.
    model_input
        float32, S × S, in the model's range: what was classified.
    findings
        Which to explain; may be empty.
    geometry
        Where the model's input lies in the source.

    Returns
    -------
    tuple of Heatmap
        As `findings`; ``activation`` is float32, S × S, 0…1, or all zero where no pixel matters. The noise
        follows from the image: the same image gives the same maps.

    Raises
    ------
    ModelUnusable
        The model's device failed or has not enough memory, or the maps are not finite.
    """
    if not findings:
        return ()
    column = {output.label: i for i, output in enumerate(classifier.manifest.outputs)}
    copies = noisy_copies(model_input)
    gradients = smooth_gradients(classifier, copies, [column[finding.label] for finding in findings])
    return tuple(
        Heatmap(
            finding=finding,
            method=PLI,
            activation=_normalised(gradient),
            geometry=geometry,
            positive=finding.presence is Presence.PRESENT,
        )
        for finding, gradient in zip(findings, gradients, strict=True)
    )


def noisy_copies(model_input: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add Gaussian noise to `SAMPLES` copies of an image, always the same to the same image.

    Parameters
    ----------
    model_input
        float32, S × S.

    Returns
    -------
    ndarray of float32, SAMPLES × S × S
        Not cut off at the ends of the model's range.
    """
    seed = hashlib.sha256(np.ascontiguousarray(model_input, dtype="<f4").tobytes()).digest()
    noise = np.random.default_rng(list(seed)).standard_normal((SAMPLES, *model_input.shape), dtype=np.float32)
    return model_input + noise * np.float32(NOISE * np.ptp(model_input))


def smooth_gradients(
    classifier: Classifier, copies: NDArray[np.float32], columns: Sequence[int]
) -> NDArray[np.float64]:
    """Average the guided gradients of some outputs over copies of an image.

    Parameters
    ----------
    classifier
        The model.
    copies
        float32, N × S × S.
    columns
        Of the outputs.

    Returns
    -------
    ndarray of float64, len(columns) × S × S

    Raises
    ------
    ModelUnusable
        The model's device failed or has not enough memory, or the gradients are not finite.
    """
    total = np.zeros((len(columns), *copies.shape[1:]))
    try:
        for start in range(0, len(copies), _BATCH):
            total += _guided_gradients(classifier, copies[start : start + _BATCH], columns)
    except RuntimeError as error:
        raise ModelUnusable(f"model {classifier.algorithm.name}: explaining failed: {error}") from error
    if not np.isfinite(total).all():
        raise ModelUnusable(f"model {classifier.algorithm.name}: expected finite gradients, found others")
    return total / len(copies)


def _guided_gradients(
    classifier: Classifier, batch: NDArray[np.float32], columns: Sequence[int]
) -> NDArray[np.float64]:
    """Sum over the batch of the guided gradients: len(columns) × S × S."""
    network = classifier.network
    device = next(network.module.parameters()).device
    inputs = torch.from_numpy(batch[:, None]).to(device).requires_grad_()
    with torch.enable_grad(), GuidedBackpropagation():
        # of the sum: the copies do not see one another
        logits = network.logits(inputs).sum(dim=0)
    # the graph goes with the last of them
    maps = [
        torch.autograd.grad(logits[column], inputs, retain_graph=place + 1 < len(columns))[0]
        for place, column in enumerate(columns)
    ]
    return np.stack([each[:, 0].double().sum(dim=0).cpu().numpy() for each in maps])


def _normalised(gradient: NDArray[np.float64]) -> NDArray[np.float32]:
    magnitude = np.abs(gradient)
    # of a map that is zero but for a few pixels, the percentile is zero
    peak = float(np.percentile(magnitude, PERCENTILE)) or float(magnitude.max())
    return np.asarray((magnitude / peak).clip(0, 1) if peak > 0 else magnitude, dtype=np.float32)
