"""Fitting a calibration's curves, and saying what they change for patients they were not fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize, minimize_scalar

from mcads_node.calibration import IsotonicCurve, LogisticCurve, Method, raw_output
from mcads_node.calibration.curve import MOST_POINTS, logit, sigmoid
from mcads_node.estimate import Estimate
from mcads_node.evaluation.metrics import ece, log_loss
from mcads_node.evaluation.sample import Sample, estimates, resampled

#: positives (and negatives) below which a curve would follow chance, isotonic regression soonest
FEWEST_TO_FIT: Final = {"temperature": 20, "platt": 20, "isotonic": 100}
#: parts that patients are split into: each is judged by a curve fitted on the others
FOLDS: Final = 5
_SEED: Final = 20_26
#: logarithm of a temperature: from 1/50 to 50
_HOTTEST: Final = 3.912
#: a curve that rises less, as one through the logits of a hundred images, says nothing
_FLATTEST: Final = 1e-3

_Values = NDArray[np.float64]


class CannotFit(Exception):
    """A label cannot be calibrated; its text says why."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One label's curve, and the errors without and with one, of patients that it was not fitted on."""

    curve: LogisticCurve | IsotonicCurve
    positives: int
    negatives: int
    ece_before: Estimate
    ece_after: Estimate
    log_loss_before: Estimate
    log_loss_after: Estimate


def fit(sample: Sample, operating_point: float, method: Method, patients: int) -> Fitted:
    """Fit one label, on all images; judge the method on each fifth of the patients by the other four.

    Parameters
    ----------
    sample
        The label's scores and truths.
    operating_point
        Of the label: sigmoid output that became the score 0.5.
    method
        Which curve.
    patients
        How many there are; `Sample.patients` are numbers below it.

    Raises
    ------
    CannotFit
        There are too few images, or the scores do not rise with the finding.
    """
    if few := sample.too_few(FEWEST_TO_FIT[method]):
        raise CannotFit(few)
    held_out = np.empty(len(sample.scores))
    for inside, outside in _splits(sample):
        curve = fit_curve(method, sample.scores[inside], sample.truth[inside], operating_point)
        held_out[outside] = curve(sample.scores[outside], operating_point)
    judged = _judge(sample, held_out, patients)
    return Fitted(
        curve=fit_curve(method, sample.scores, sample.truth, operating_point),
        positives=sample.positives,
        negatives=sample.negatives,
        **judged,
    )


def fit_curve(
    method: Method, scores: _Values, truth: NDArray[np.bool_], operating_point: float
) -> LogisticCurve | IsotonicCurve:
    """Fit a curve that never falls.

    Raises
    ------
    CannotFit
        The scores do not rise with the finding.
    """
    if method == "isotonic":
        return _isotonic(scores, truth)
    odds = logit(raw_output(scores, operating_point))
    slope, intercept = _temperature(odds, truth) if method == "temperature" else _platt(odds, truth)
    if not slope > _FLATTEST:
        raise CannotFit("its scores do not rise with the finding")
    return LogisticCurve(slope=min(slope, 100.0), intercept=float(np.clip(intercept, -100, 100)))


def _temperature(odds: _Values, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Guo et al., ICML 2017: one number, of which the logits' size depends and not their sign."""
    found = minimize_scalar(
        lambda t: _loss(odds * np.exp(-t), truth), bounds=(-_HOTTEST, _HOTTEST), method="bounded"
    )
    return float(np.exp(-found.x)), 0.0


def _platt(odds: _Values, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Platt 1999, with his targets, which keep a curve finite where scores and truth part completely."""
    positives = truth.sum()
    negatives = len(truth) - positives
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # logits of about one size: the search then begins near its end
    centre, spread = float(odds.mean()), float(odds.std()) or 1.0
    x = (odds - centre) / spread

    def loss_and_slope(line: _Values) -> tuple[float, _Values]:
        z = line[0] * x + line[1]
        miss = sigmoid(z) - targets
        return _loss(z, targets), np.array([(miss * x).mean(), miss.mean()])

    found = minimize(loss_and_slope, np.zeros(2), jac=True, method="BFGS")
    slope = float(found.x[0]) / spread
    return slope, float(found.x[1]) - slope * centre


def _loss(z: _Values, targets: NDArray[np.bool_] | _Values) -> float:
    return float((np.logaddexp(0, z) - targets * z).mean())


def _isotonic(scores: _Values, truth: NDArray[np.bool_]) -> IsotonicCurve:
    """Pool adjacent violators; each pool is a point at its mean score, drawn in from 0 and 1 (Laplace)."""
    order = np.argsort(scores, kind="stable")
    distinct, place, sizes = np.unique(scores[order], return_inverse=True, return_counts=True)
    shares = np.bincount(place, truth[order]) / sizes
    pools = isotonic_regression(shares, weights=sizes)
    if len(pools.weights) < 2:
        raise CannotFit("its scores do not rise with the finding")
    pool = np.repeat(np.arange(len(pools.weights)), np.diff(pools.blocks))
    at = np.bincount(pool, distinct * sizes) / pools.weights
    level = pools.x[pools.blocks[:-1]]
    kept = np.clip(level, 1 / (pools.weights[0] + 2), 1 - 1 / (pools.weights[-1] + 2))
    points = np.unique(np.linspace(0, len(at) - 1, min(len(at), MOST_POINTS)).astype(np.intp))
    return IsotonicCurve(scores=tuple(at[points].tolist()), probabilities=tuple(kept[points].tolist()))


def _splits(sample: Sample) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Split by patient, those with the finding as evenly as those without."""
    people, whose = np.unique(sample.patients, return_inverse=True)
    has_finding = np.bincount(whose, sample.truth) > 0
    drawn = np.random.default_rng(_SEED).random(len(people))
    fold = np.empty(len(people), dtype=np.intp)
    fold[np.lexsort((drawn, has_finding))] = np.arange(len(people)) % FOLDS
    for number in range(FOLDS):
        outside = fold[whose] == number
        inside = ~outside
        if not (sample.truth[inside].any() and (~sample.truth[inside]).any()):
            raise CannotFit("all images with the finding, or without, are of very few patients")
        if outside.any():
            yield inside, outside


def _judge(sample: Sample, held_out: _Values, patients: int) -> dict[str, Estimate]:
    def errors(weights: _Values) -> dict[str, _Values]:
        return {
            "ece_before": ece(sample.scores, sample.truth, weights),
            "ece_after": ece(held_out, sample.truth, weights),
            "log_loss_before": log_loss(sample.scores, sample.truth, weights),
            "log_loss_after": log_loss(held_out, sample.truth, weights),
        }

    drawn = [errors(counts[:, sample.patients]) for counts in resampled(patients)]
    once = {name: float(value[0]) for name, value in errors(np.ones((1, len(sample.truth)))).items()}
    return estimates(once, {name: np.concatenate([part[name] for part in drawn]) for name in once})
