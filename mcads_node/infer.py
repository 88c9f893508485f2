"""Infer: a model's input becomes one `Finding` per label (the step between read and explain)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mcads_node.classifier import Classifier, Inference
from mcads_node.engine.scores import scores_of
from mcads_node.errors import ConfigError, InstanceUnreadable, ModelUnusable, Problem
from mcads_node.finding import Finding, presence_of
from mcads_node.instance import InputCheck
from mcads_node.model_store.manifest import Manifest


def infer(
    classifier: Classifier,
    model_input: NDArray[np.float32],
    thresholds: Mapping[str, float],
    checks: tuple[InputCheck, ...],
) -> Inference:
    """Classify one radiograph.

    Parameters
    ----------
    classifier
        A loaded model.
    model_input
        float32, S × S, in the model's range (−1024…1024); S is the classifier's input size.
    thresholds
        The route's own, by label; the manifest's apply to all other labels.
    checks
        Checks of the input that did not pass; one that ended undetermined makes every presence undetermined.

    Returns
    -------
    Inference
        Scores are sigmoid outputs after operating-point normalisation, 0…1, 0.5 at the operating point; with
        probabilities where the classifier has a calibration.

    Raises
    ------
    ConfigError
        A threshold is not in 0…1, or is set for a label the model does not have.
    InstanceUnreadable
        The input holds values that are not finite, or not in the model's range.
    ModelUnusable
        The model gave values that are not finite, or its device failed.
    ValueError
        The input has another shape or type.
    """
    _check_thresholds(classifier.manifest, thresholds)
    _check_input(classifier.manifest, model_input)
    feature_map, logits = classifier.forward(np.ascontiguousarray(model_input)[None, None])
    if not np.isfinite(logits).all():
        raise ModelUnusable(
            f"model {classifier.algorithm.name}: expected finite outputs, found "
            f"{int((~np.isfinite(logits)).sum())} of {logits.size} that are not"
        )
    scores = scores_of(logits, classifier.operating_points)[0].tolist()
    findings = _findings(classifier.manifest, scores, thresholds, checks)
    if classifier.calibration is not None:
        # after the presence is decided: thresholds are of scores, whatever they are as probabilities
        points = {o.label: o.operating_point for o in classifier.manifest.outputs if o.operating_point}
        findings = classifier.calibration.apply(findings, points)
    return Inference(findings=findings, feature_map=feature_map)


def _findings(
    manifest: Manifest, scores: list[float], thresholds: Mapping[str, float], checks: tuple[InputCheck, ...]
) -> tuple[Finding, ...]:
    limits = manifest.thresholds | dict(thresholds)
    return tuple(
        Finding(
            label=output.label,
            score=score,
            threshold=limits[output.label],
            presence=presence_of(score, limits[output.label], checks),
        )
        for output, score in zip(manifest.outputs, scores, strict=True)
        if output.operating_point is not None
    )


def _check_thresholds(manifest: Manifest, thresholds: Mapping[str, float]) -> None:
    faults = manifest.threshold_faults(thresholds)
    if faults:
        raise ConfigError(
            [
                Problem(file="routes", line=None, key=f"analyse.thresholds.{label}", message=fault)
                for label, fault in faults.items()
            ]
        )


def _check_input(manifest: Manifest, model_input: NDArray[np.float32]) -> None:
    size, low, high = manifest.input.size, manifest.input.low, manifest.input.high
    if model_input.shape != (size, size) or model_input.dtype != np.float32:
        raise ValueError(
            f"expected float32 {size} × {size}, got {model_input.dtype} "
            f"{' × '.join(map(str, model_input.shape))}"
        )
    least, most = float(model_input.min()), float(model_input.max())
    # resizing rounds; NaN compares as false, and so is refused here too
    slack = 1e-3 * (high - low)
    if not (low - slack <= least and most <= high + slack):
        raise InstanceUnreadable(
            f"the radiograph as the model sees it: expected values in {low:g}…{high:g}, "
            f"found {least:g}…{most:g}"
        )
