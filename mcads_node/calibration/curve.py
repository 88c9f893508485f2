"""The curves that a calibration is made of: from a score to a probability, never falling."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

#: outputs are kept so far from 0 and 1 that their logits are finite
_EDGE = 1e-9
#: share of the score itself in an isotonic curve: its steps then rise a little too, so that two scores on two
#: sides of a threshold never become one probability
_TILT = 1e-3

#: points of an isotonic curve, at most
MOST_POINTS = 1000

_Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Base of everything in a calibration's file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LogisticCurve(Part):
    """Temperature scaling and Platt's method: a line through the logit of the network's output.

    ``probability = sigmoid(slope · logit(output) + intercept)``; of a temperature T the slope is 1/T and the
    intercept 0 (Guo et al., ICML 2017; Platt 1999).
    """

    kind: Literal["logistic"] = "logistic"
    slope: Annotated[float, Field(gt=0, le=100)]
    intercept: Annotated[float, Field(ge=-100, le=100)]

    def __call__(self, scores: NDArray[np.float64], operating_point: float) -> NDArray[np.float64]:
        """Give the probability of each score."""
        return sigmoid(self.slope * logit(raw_output(scores, operating_point)) + self.intercept)


class IsotonicCurve(Part):
    """Isotonic regression: straight lines between points, level beyond the first and the last.

    Zadrozny and Elkan, KDD 2002. One part in a thousand is the score itself (see `_TILT`).
    """

    kind: Literal["isotonic"] = "isotonic"
    #: rising
    scores: Annotated[tuple[_Share, ...], Field(min_length=1, max_length=MOST_POINTS)]
    #: of each, never falling
    probabilities: Annotated[tuple[_Share, ...], Field(min_length=1, max_length=MOST_POINTS)]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.scores) != len(self.probabilities):
            raise ValueError(
                f"expected a probability for each score; found {len(self.scores)} scores and "
                f"{len(self.probabilities)} probabilities"
            )
        if any(b <= a for a, b in zip(self.scores, self.scores[1:], strict=False)):
            raise ValueError("expected scores that rise")
        if any(b < a for a, b in zip(self.probabilities, self.probabilities[1:], strict=False)):
            raise ValueError("expected probabilities that never fall")
        return self

    def __call__(self, scores: NDArray[np.float64], operating_point: float) -> NDArray[np.float64]:  # noqa: ARG002
        """Give the probability of each score; the operating point does not matter."""
        level = np.interp(scores, self.scores, self.probabilities)
        tilted: NDArray[np.float64] = (1 - _TILT) * level + _TILT * scores
        return tilted


Curve = Annotated[LogisticCurve | IsotonicCurve, Field(discriminator="kind")]


def raw_output(scores: NDArray[np.float64], operating_point: float) -> NDArray[np.float64]:
    """Give the network's sigmoid outputs back: the inverse of ``infer.op_norm``.

    Parameters
    ----------
    scores
        0…1; 0.5 at the operating point.
    operating_point
        Sigmoid output that became the score 0.5, between 0 and 1.
    """
    below = scores * (2 * operating_point)
    above = 1 - (1 - scores) * (2 * (1 - operating_point))
    return np.where(scores < 0.5, below, above)


def logit(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the odds; of 0 and 1 that of a number close by."""
    kept = np.clip(outputs, _EDGE, 1 - _EDGE)
    odds: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return odds


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `logit`; without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))
