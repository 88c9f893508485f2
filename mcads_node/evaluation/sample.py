"""Scores beside the truth, and the estimates that are made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mcads_node.estimate import Estimate

#: of one sort, below which no number is given: an interval would be as wide as the scale
FEWEST: Final = 10
#: resamplings of a bootstrap, and where its stream of numbers begins: equal input gives equal intervals
REPLICATES: Final = 1000
_SEED: Final = 20_26
#: numbers held at once
_ROOM: Final = 4_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One label on the images for which it is known."""

    label: str
    #: 0…1
    scores: NDArray[np.float64]
    truth: NDArray[np.bool_]
    #: whose image each is: a number from 0
    patients: NDArray[np.intp]
    #: at or above it a finding is present
    threshold: float
    #: what is judged as a probability, 0…1: that of a calibration, else the score
    probabilities: NDArray[np.float64]

    @property
    def positives(self) -> int:
        """How many images have the finding."""
        return int(self.truth.sum())

    @property
    def negatives(self) -> int:
        """How many have not."""
        return len(self.truth) - self.positives

    def too_few(self, fewest: int = FEWEST) -> str:
        """Say why there are not enough images for a number; empty: there are."""
        if self.positives < fewest:
            return f"{self.positives} positive image(s), at least {fewest} are needed"
        if self.negatives < fewest:
            return f"{self.negatives} negative image(s), at least {fewest} are needed"
        return ""


def numbered(patients: Sequence[str]) -> NDArray[np.intp]:
    """Give each patient a number from 0, so that nothing that follows knows who they are."""
    _, numbers = np.unique(np.asarray(patients, dtype=object), return_inverse=True)
    return np.asarray(numbers, dtype=np.intp)


def resampled(patients: int, replicates: int = REPLICATES) -> Iterator[NDArray[np.float64]]:
    """Draw whole patients with replacement, again and again (Efron's bootstrap, by cluster).

    Yields
    ------
    ndarray of float64, some replicates × patients
        How often each patient was drawn; in several parts, `replicates` in all, the same at every call.
    """
    stream = np.random.default_rng(_SEED)
    at_once = max(1, _ROOM // max(1, patients))
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        drawn = stream.integers(0, patients, size=(rows, patients))
        drawn += np.arange(rows)[:, None] * patients
        counts = np.bincount(drawn.ravel(), minlength=rows * patients)
        yield counts.reshape(rows, patients).astype(np.float64)


def estimates(
    values: Mapping[str, float], replicates: Mapping[str, NDArray[np.float64]]
) -> dict[str, Estimate]:
    """Give each value its 95 % percentile interval; replicates that have no value (NaN) are left out."""
    found = {}
    for name, value in values.items():
        drawn = replicates[name][np.isfinite(replicates[name])]
        if math.isfinite(value) and drawn.size:
            low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
            found[name] = Estimate(value=value, low=min(low, value), high=max(high, value))
    return found
