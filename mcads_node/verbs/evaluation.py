"""A site's own audit of a model: the verbs ``models evaluate``, ``calibrate`` and ``thresholds``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcads_node.calibration import (
    CalibratedModel,
    Calibration,
    Interval,
    LabelCalibration,
    Method,
    Provenance,
    Unsealed,
    write_calibration,
)
from mcads_node.errors import NodeError, PermanentError
from mcads_node.estimate import Estimate
from mcads_node.evaluation.fitting import CannotFit, Fitted, fit
from mcads_node.evaluation.metrics import LabelMetrics, judge, silent
from mcads_node.evaluation.plots import draw_reliability, draw_roc
from mcads_node.evaluation.sample import Sample
from mcads_node.evaluation.thresholds import Target, as_yaml, at_target
from mcads_node.verbs.person import administrator
from mcads_node.verbs.scored import ScoredSet


def evaluate(
    scored: ScoredSet, out: Path | None, progress: Callable[[int, int], None] = silent
) -> dict[str, Any]:
    """Judge every label; write plots and ``metrics.json`` into `out`.

    Raises
    ------
    NodeError
        A file cannot be written.
    """
    samples = scored.samples()
    metrics = judge(samples, scored.patients, progress)
    told = _told(scored, metrics)
    if out is not None:
        _write(scored, list(zip(samples, metrics, strict=True)), told, out)
    return told


def find_thresholds(scored: ScoredSet, target: Target) -> dict[str, Any]:
    """Find the thresholds that reach a target, as plain values and as YAML."""
    found = at_target(scored.samples(), target, scored.patients)
    return _told(scored, found) | {"yaml": as_yaml(found)}


def calibrate(scored: ScoredSet, site: str, method: Method, target: Path) -> Calibration:
    """Fit a calibration, and write it to `target`, which is not there yet.

    Raises
    ------
    PermanentError
        No label can be calibrated, or there is a file already.
    NodeError
        The file cannot be written.
    """
    if target.exists():
        raise PermanentError(f"{target}: there is a file already; results may name it. Give another --out")
    points = {o.label: o.operating_point for o in scored.manifest.outputs if o.operating_point is not None}
    labels: dict[str, LabelCalibration] = {}
    left_out = {
        label: "it is not in the file of labels"
        for label in scored.manifest.labels
        if label not in scored.labels
    }
    for sample in scored.samples():
        try:
            labels[sample.label] = _fitted(
                fit(sample, points[sample.label], method, patients=scored.patients)
            )
        except CannotFit as error:
            left_out[sample.label] = str(error)
    if not labels:
        reasons = "; ".join(f"{label}: {why}" for label, why in left_out.items())
        raise PermanentError(f"no label can be calibrated: {reasons}")
    calibration = Unsealed(
        site=site,
        model=CalibratedModel(
            name=scored.manifest.name,
            version=scored.manifest.version,
            weights_digest=scored.algorithm.weights_digest,
        ),
        method=method,
        provenance=Provenance(
            created=datetime.now(UTC).replace(microsecond=0),
            by=administrator(),
            images=len(scored.images),
            patients=scored.patients if scored.has_patients else None,
            left_out=len(scored.left_out),
            data_digest=scored.data_digest,
        ),
        labels=labels,
        left_out=left_out,
    ).seal()
    write_calibration(target, calibration)
    return calibration


def _fitted(fitted: Fitted) -> LabelCalibration:
    return LabelCalibration(
        curve=fitted.curve,
        positives=fitted.positives,
        negatives=fitted.negatives,
        ece_before=_interval(fitted.ece_before),
        ece_after=_interval(fitted.ece_after),
        log_loss_before=_interval(fitted.log_loss_before),
        log_loss_after=_interval(fitted.log_loss_after),
    )


def _interval(estimate: Estimate) -> Interval:
    # no reader needs more digits, and a person compares them
    return Interval(**{name: round(value, 5) for name, value in asdict(estimate).items()})


def _told(scored: ScoredSet, metrics: Sequence[LabelMetrics]) -> dict[str, Any]:
    mark = scored.algorithm.calibration
    return {
        "model": scored.manifest.name,
        "version": scored.algorithm.version,
        "weights_digest": scored.algorithm.weights_digest,
        "caution": scored.manifest.caution,
        "calibration": None if mark is None else {"site": mark.site, "digest": mark.digest},
        "own_thresholds": dict(scored.thresholds),
        "images": len(scored.images),
        "patients": scored.patients if scored.has_patients else None,
        "data_digest": scored.data_digest,
        "left_out": [asdict(each) for each in scored.left_out],
        "interval": "95 %, bootstrap by patient" if scored.has_patients else "95 %, bootstrap by image",
        "labels": [asdict(each) for each in metrics],
    }


def _write(
    scored: ScoredSet, judged: list[tuple[Sample, LabelMetrics]], told: dict[str, Any], out: Path
) -> None:
    file = out / "metrics.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise NodeError(f"{os.fspath(file)} cannot be written: {error.strerror}") from error
    whose = f"{scored.patients} patients" if scored.has_patients else "patients not told"
    title = f"{scored.manifest.name} {scored.algorithm.version} · {len(scored.images)} images, {whose}"
    if scored.manifest.caution:
        title += f" · {scored.manifest.caution}"
    draw_roc(judged, f"ROC · {title}", out / "roc.png")
    mark = scored.algorithm.calibration
    kind = "scores, read as if they were probabilities"
    if mark is not None:
        kind = f"probabilities calibrated at {mark.site}, and of other {kind}"
    draw_reliability(judged, f"Reliability of {kind} · {title}", out / "reliability.png")
