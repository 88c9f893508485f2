"""How good scores are: computed for many weightings of the images at once, as a bootstrap needs it.

Every function takes weights, replicates × images, and gives a value a replicate; the weight of all images 1
gives the value itself. NaN where there is no positive, no negative, or nothing that was called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mcads_node.estimate import Estimate, wilson
from mcads_node.evaluation.sample import REPLICATES, Sample, estimates, resampled

#: bins of the calibration error, each with equally many images (Nguyen and O'Connor, EMNLP 2015): of a rare
#: finding nearly all probabilities lie in the lowest tenth of the scale
BINS: Final = 10
#: a probability of 0 or 1 is taken for one so far from it: the logarithm stays finite
_EDGE: Final = 1e-6

_Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """How good one label is on one set of images; None: too few images, see `note`."""

    label: str
    images: int
    positives: int
    threshold: float
    #: why there are no numbers; empty: there are
    note: str = ""
    auc: Estimate | None = None
    #: at the threshold
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    ppv: Estimate | None = None
    #: of the probability; of a score, read as if it were one
    ece: Estimate | None = None
    brier: Estimate | None = None
    log_loss: Estimate | None = None


def silent(_done: int, _total: int) -> None:
    """Tell nobody how far it is."""


def judge(
    samples: tuple[Sample, ...], patients: int, progress: Callable[[int, int], None] = silent
) -> tuple[LabelMetrics, ...]:
    """Judge every label, with 95 % intervals by a bootstrap over patients.

    Parameters
    ----------
    samples
        One a label, of the same set of images.
    patients
        How many patients there are; `Sample.patients` are numbers below it.
    progress
        Called with the number of resamplings that are judged, and of all.
    """
    judged = [sample for sample in samples if not sample.too_few()]
    judges = {sample.label: _Judge(sample) for sample in judged}
    drawn: dict[str, list[dict[str, _Values]]] = {label: [] for label in judges}
    done = 0
    for counts in resampled(patients) if judges else ():
        for label, judge_of in judges.items():
            drawn[label].append(judge_of.all(counts[:, judge_of.sample.patients]))
        done += len(counts)
        progress(done, REPLICATES)
    return tuple(
        _metrics(sample, judges[sample.label], drawn[sample.label])
        if sample.label in judges
        else _counted(sample)
        for sample in samples
    )


def auc(scores: _Values, truth: NDArray[np.bool_], weights: _Values) -> _Values:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    positive = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truth[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return _ratio((positive * (below + 0.5 * negative)).sum(axis=1), pairs)


def sensitivity(called: NDArray[np.bool_], truth: NDArray[np.bool_], weights: _Values) -> _Values:
    """Share of the positives that are called."""
    return _ratio(weights @ (called & truth), weights @ truth)


def specificity(called: NDArray[np.bool_], truth: NDArray[np.bool_], weights: _Values) -> _Values:
    """Share of the negatives that are not called."""
    return _ratio(weights @ (~called & ~truth), weights @ ~truth)


def ppv(called: NDArray[np.bool_], truth: NDArray[np.bool_], weights: _Values) -> _Values:
    """Share of the called that are positive."""
    return _ratio(weights @ (called & truth), weights @ called)


def brier(probabilities: _Values, truth: NDArray[np.bool_], weights: _Values) -> _Values:
    """Mean squared distance between probability and truth."""
    return _ratio(weights @ (probabilities - truth) ** 2, weights.sum(axis=1))


def log_loss(probabilities: _Values, truth: NDArray[np.bool_], weights: _Values) -> _Values:
    """Mean negative logarithm of the probability of what is true, in nats."""
    kept = np.clip(probabilities, _EDGE, 1 - _EDGE)
    return _ratio(weights @ -np.log(np.where(truth, kept, 1 - kept)), weights.sum(axis=1))


def ece(probabilities: _Values, truth: NDArray[np.bool_], weights: _Values) -> _Values:
    """Give the expected calibration error: mean distance of probability and frequency over `BINS` bins."""
    share = in_bins(probabilities) * (probabilities - truth)[:, None]
    return _ratio(np.abs(weights @ share).sum(axis=1), weights.sum(axis=1))


def in_bins(probabilities: _Values) -> _Values:
    """Say which bin each image is in: images × bins, 0 or 1; equal probabilities are in one bin."""
    edges = np.quantile(probabilities, np.linspace(0, 1, BINS + 1)[1:-1])
    found = np.searchsorted(edges, probabilities, side="right")
    bins: _Values = np.equal(found[:, None], np.arange(BINS)).astype(np.float64)
    return bins


def _ratio(part: _Values, whole: _Values) -> _Values:
    ratio: _Values = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio


class _Judge:
    """All numbers of one label."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self._called = sample.scores >= sample.threshold

    def all(self, weights: _Values) -> dict[str, _Values]:
        """Give each number a replicate."""
        sample, called = self.sample, self._called
        return {
            "auc": auc(sample.scores, sample.truth, weights),
            "sensitivity": sensitivity(called, sample.truth, weights),
            "specificity": specificity(called, sample.truth, weights),
            "ppv": ppv(called, sample.truth, weights),
            "ece": ece(sample.probabilities, sample.truth, weights),
            "brier": brier(sample.probabilities, sample.truth, weights),
            "log_loss": log_loss(sample.probabilities, sample.truth, weights),
        }


def _metrics(sample: Sample, judged: _Judge, drawn: list[dict[str, _Values]]) -> LabelMetrics:
    once = judged.all(np.ones((1, len(sample.truth))))
    values = {name: float(value[0]) for name, value in once.items()}
    found = estimates(values, {name: np.concatenate([part[name] for part in drawn]) for name in values})
    called = sample.scores >= sample.threshold
    return replace(
        _counted(sample),
        auc=found.get("auc"),
        sensitivity=_not_empty(found.get("sensitivity"), sample.patients[sample.truth]),
        specificity=_not_empty(found.get("specificity"), sample.patients[~sample.truth]),
        ppv=_not_empty(found.get("ppv"), sample.patients[called]),
        ece=found.get("ece"),
        brier=found.get("brier"),
        log_loss=found.get("log_loss"),
    )


def _not_empty(share: Estimate | None, patients: NDArray[np.intp]) -> Estimate | None:
    """Widen an interval that a bootstrap cannot see: of all, or none, each resampling is all or none too."""
    if share is None or 0 < share.value < 1:
        return share
    trials = len(np.unique(patients))
    return wilson(share.value * trials, trials)


def _counted(sample: Sample) -> LabelMetrics:
    return LabelMetrics(
        label=sample.label,
        images=len(sample.truth),
        positives=sample.positives,
        threshold=sample.threshold,
        note=sample.too_few(),
    )
