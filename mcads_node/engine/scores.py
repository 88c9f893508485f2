"""From logits to scores: the sigmoid, and operating-point normalisation."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Float = TypeVar("_Float", np.float32, np.float64)


def scores_of(logits: NDArray[np.float32], operating_points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the scores of logits.

    Parameters
    ----------
    logits
        float32, N × outputs.
    operating_points
        As for `op_norm`.

    Returns
    -------
    ndarray of float32, N × outputs
        0…1, 0.5 at the operating point, and where there is none.
    """
    return op_norm(sigmoid(logits), operating_points)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the sigmoid, computed in double precision; float32, as `logits`."""
    with np.errstate(over="ignore"):  # of a large negative logit: the result is 0 then
        exact = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return np.asarray(exact, dtype=np.float32)


def op_norm(outputs: NDArray[_Float], operating_points: NDArray[_Float]) -> NDArray[_Float]:
    """Scale sigmoid outputs piecewise linearly, so that the operating point becomes 0.5.

    Bit for bit ``torchxrayvision.models.op_norm`` (Cohen et al., TorchXRayVision, MIDL 2022).

    Parameters
    ----------
    outputs
        N × outputs, 0…1.
    operating_points
        One per output, in 0…1; NaN where there is none.

    Returns
    -------
    ndarray of their type, N × outputs
        0…1; 0.5 where there is no operating point.
    """
    below = outputs / (operating_points * 2)
    above = 1.0 - (1.0 - outputs) / ((1.0 - operating_points) * 2)
    scores = np.where(outputs < operating_points, below, above)
    scores[..., np.isnan(operating_points)] = 0.5
    return scores
