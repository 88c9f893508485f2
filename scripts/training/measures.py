"""How well scores tell images with a finding from those without."""

import numpy as np
from numpy.typing import NDArray

from mcads_node.estimate import Estimate
from mcads_node.evaluation.metrics import auc
from mcads_node.evaluation.sample import estimates, numbered, resampled


def areas(
    scores: NDArray[np.float64], truths: NDArray[np.bool_], patients: NDArray[np.str_]
) -> tuple[list[Estimate], Estimate]:
    """Area under each label's ROC curve, and their mean; intervals by a bootstrap over patients.

    Parameters
    ----------
    scores, truths
        Images × labels.
    patients
        One per image.
    """
    numbers = numbered(patients.tolist())
    drawn = [_each(scores, truths, counts[:, numbers]) for counts in resampled(int(numbers.max()) + 1)]
    replicates, once = np.concatenate(drawn), _each(scores, truths, np.ones((1, len(scores))))
    columns = {str(i): replicates[:, i] for i in range(truths.shape[1])} | {"mean": replicates.mean(axis=1)}
    values = {str(i): float(once[0, i]) for i in range(truths.shape[1])} | {"mean": float(once.mean())}
    found = estimates(values, columns)
    return [found[str(i)] for i in range(truths.shape[1])], found["mean"]


def _each(
    scores: NDArray[np.float64], truths: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.stack([auc(scores[:, i], truths[:, i], weights) for i in range(truths.shape[1])], axis=1)


def shown(area: Estimate) -> str:
    """Write an area with its interval."""
    return f"{area.value:.3f} ({area.low:.3f}–{area.high:.3f})"


def youden(scores: NDArray[np.float32], truths: NDArray[np.bool_]) -> float:
    """Threshold of the greatest sensitivity + specificity − 1 (Youden 1950): present at or above it.

    It lies midway between the two scores that it parts.
    """
    order = np.unique(scores)
    cuts = (order[1:] + order[:-1]) / 2
    sensitivity = (scores[truths][:, None] >= cuts).mean(axis=0)
    specificity = (scores[~truths][:, None] < cuts).mean(axis=0)
    return float(cuts[np.argmax(sensitivity + specificity)])
