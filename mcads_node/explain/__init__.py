"""Explain: findings become heatmaps (the step between infer and report); a module for each method.

Only pixel-level maps need gradients, and so torch: their module is imported when the first is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcads_node.classifier import Classifier, Inference
from mcads_node.explain.combined import combined
from mcads_node.explain.grad_cam import grad_cam
from mcads_node.finding import COMBINED, GRAD_CAM, PLI, Finding, Heatmap, Presence
from mcads_node.instance import ModelGeometry

__all__ = ["combined", "explain", "grad_cam", "shown_findings"]


def explain(
    classifier: Classifier,
    inference: Inference,
    model_input: NDArray[np.float32],
    geometry: ModelGeometry,
    methods: Sequence[str],
    *,
    top_finding: bool = False,
) -> tuple[Heatmap, ...]:
    """Make the heatmaps of an image's findings, by each of some methods.

    Parameters
    ----------
    classifier
        The one that made `inference`.
    inference
        Of the radiograph.
    model_input
        float32, S × S: what was classified.
    geometry
        Where it lies in the source.
    methods
        Some of ``grad-cam``, ``grad-cam-combined`` and ``pli``, each once.
    top_finding
        Where nothing is present, explain the finding that comes nearest to its threshold; its `Heatmap` says
        that it is not positive. A combined map is of present findings only, and then there is none.

    Returns
    -------
    tuple of Heatmap
        By method, as they are given; within one, in the order of the findings.

    Raises
    ------
    ModelUnusable
        The model's device failed, or what it gave is not finite.
    """
    shown = shown_findings(inference, top_finding=top_finding)
    made: list[Heatmap] = []
    if not shown:
        return ()
    # the combined map is made of the others: they are needed for both, and cost next to nothing
    single = grad_cam(classifier, inference, shown, geometry) if {GRAD_CAM, COMBINED} & set(methods) else ()
    for method in methods:
        if method == GRAD_CAM:
            made += single
        elif method == COMBINED:
            made += combined(single)
        elif method == PLI:
            by_gradients = importlib.import_module("mcads_node.explain.pli")
            made += by_gradients.pli(classifier, model_input, shown, geometry)
    return tuple(made)


def shown_findings(inference: Inference, *, top_finding: bool) -> tuple[Finding, ...]:
    """Choose what is explained: what is present, or the finding nearest to its threshold where asked for."""
    present = tuple(finding for finding in inference.findings if finding.presence is Presence.PRESENT)
    if present or not top_finding:
        return present
    return (max(inference.findings, key=lambda finding: finding.score - finding.threshold),)
