"""How well scores tell images with a finding from those without."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

#: resamples of the patients; its percentiles 2.5 and 97.5 are the interval
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Area:
    """Area under a ROC curve, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def auc(scores: NDArray[np.float64], truths: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, by ranks; NaN where there is only one kind of image."""
    positives = int(truths.sum())
    negatives = len(truths) - positives
    if not positives or not negatives:
        return float("nan")
    return float((rankdata(scores)[truths].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def areas(
    scores: NDArray[np.float64], truths: NDArray[np.bool_], patients: NDArray[np.str_]
) -> tuple[list[Area], Area]:
    """Area of each label, and their mean; intervals by drawing patients, with all their images.

    Parameters
    ----------
    scores, truths
        Images × labels.
    patients
        One per image.
    """
    of_patient = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    stream = np.random.default_rng(1)
    drawn = np.empty((RESAMPLES, truths.shape[1]))
    for row in drawn:
        chosen = stream.integers(len(of_patient), size=len(of_patient))
        images = np.concatenate([of_patient[patient] for patient in chosen])
        row[:] = _each(scores[images], truths[images])
    once = _each(scores, truths)
    each = [_area(once[i], drawn[:, i]) for i in range(truths.shape[1])]
    return each, _area(float(np.mean(once)), drawn.mean(axis=1))


def _each(scores: NDArray[np.float64], truths: NDArray[np.bool_]) -> list[float]:
    return [auc(scores[:, i], truths[:, i]) for i in range(truths.shape[1])]


def _area(value: float, drawn: NDArray[np.float64]) -> Area:
    # a label that a resample has none of has no area there
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Area(value=value, low=float(low), high=float(high))


def youden(scores: NDArray[np.float64], truths: NDArray[np.bool_]) -> float:
    """Threshold of the greatest sensitivity + specificity − 1 (Youden 1950): present at or above it.

    It lies midway between the two scores that it parts.
    """
    order = np.sort(np.unique(scores))
    cuts = (order[1:] + order[:-1]) / 2
    sensitivity = (scores[truths][:, None] >= cuts).mean(axis=0)
    specificity = (scores[~truths][:, None] < cuts).mean(axis=0)
    return float(cuts[np.argmax(sensitivity + specificity)])
