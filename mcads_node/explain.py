"""Explain: findings become heatmaps (the step between infer and report).

Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2) weighs each channel of a feature map by the mean
gradient of a finding's logit, sums the channels and keeps what speaks for the finding. The feature map here
is the last convolutional one after its activation, ReLU or ReLU6, which is what the head reads: the gradient
so ends at the head, and one forward pass serves every finding. (torchxrayvision's own network holds the same
map when a hook on ``features`` is asked after the run: its ReLU works in place.) No hook is set, no graph of
the network is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcads_node.classifier import Classifier, Inference
from mcads_node.errors import ModelUnusable
from mcads_node.finding import Finding, Heatmap, Presence
from mcads_node.instance import ModelGeometry

#: name of the method in a `Heatmap`
METHOD = "grad-cam"


def explain(
    classifier: Classifier, inference: Inference, geometry: ModelGeometry, *, top_finding: bool = False
) -> tuple[Heatmap, ...]:
    """Make the heatmap of every finding that is present.

    Parameters
    ----------
    classifier
        The one that made `inference`.
    inference
        Of the radiograph.
    geometry
        Where the model's input lies in the source.
    top_finding
        Where nothing is present, explain the finding that comes nearest to its threshold; its `Heatmap` says
        that it is not positive.

    Returns
    -------
    tuple of Heatmap
        In the order of the findings.

    Raises
    ------
    ModelUnusable
        The model's device failed, or its feature map holds values that are not finite.
    """
    shown = [finding for finding in inference.findings if finding.presence is Presence.PRESENT]
    if not shown and top_finding:
        shown = [max(inference.findings, key=lambda finding: finding.score - finding.threshold)]
    return grad_cam(classifier, inference, shown, geometry)


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
        The model's device failed, or its feature map holds values that are not finite.
    """
    if not findings:
        return ()
    column = {output.label: i for i, output in enumerate(classifier.manifest.outputs)}
    try:
        maps = _maps(classifier, inference.feature_map, [column[f.label] for f in findings])
        finite = bool(torch.isfinite(maps).all())
    except RuntimeError as error:
        raise ModelUnusable(f"model {classifier.algorithm.name}: explaining failed: {error}") from error
    if not finite:
        raise ModelUnusable(f"model {classifier.algorithm.name}: expected finite heatmaps, found others")
    return tuple(
        Heatmap(
            finding=finding,
            method=METHOD,
            activation=activation,
            geometry=geometry,
            positive=finding.presence is Presence.PRESENT,
        )
        for finding, activation in zip(findings, _normalised(maps), strict=True)
    )


def _maps(classifier: Classifier, feature_map: Tensor, columns: list[int]) -> Tensor:
    """Grad-CAM before normalisation: float64, len(columns) × h × w, ≥ 0."""
    feature_map = feature_map.detach().requires_grad_()
    with torch.enable_grad():
        logits = classifier.head(feature_map)[0, columns]
        each = torch.eye(len(columns), dtype=logits.dtype, device=logits.device)
        (gradients,) = torch.autograd.grad(logits, feature_map, each, is_grads_batched=True)
    # double: a faint map is a small difference of large sums; dividing by its maximum shows their rounding
    weights = gradients[:, 0].double().mean(dim=(2, 3))
    return torch.einsum("ck,khw->chw", weights, feature_map[0].detach().double()).relu()


def _normalised(maps: Tensor) -> NDArray[np.float32]:
    peaks = maps.amax(dim=(1, 2), keepdim=True)
    scaled = torch.where(peaks > 0, maps / torch.where(peaks > 0, peaks, 1.0), 0.0)
    return np.asarray(scaled.cpu().numpy(), dtype=np.float32)
