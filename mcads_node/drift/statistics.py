"""How far two samples of scores are apart."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: bins of the population stability index, each with a tenth of the reference
BINS: Final = 10
#: added to every bin, so that an empty one does not make the index infinite
_PSEUDO: Final = 0.5


def psi(reference: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Give the population stability index over the tenths of the reference.

    Sum of (share now − share then) · log(share now / share then); 0 for equal shares. By custom below 0.1 is
    little, above 0.25 much (Siddiqi, Credit Risk Scorecards, 2006).

    Parameters
    ----------
    reference, now
        At least one score each.
    """
    edges = np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1])
    then, later = (_shares(np.searchsorted(edges, scores, side="right")) for scores in (reference, now))
    return float(((later - then) * np.log(later / then)).sum())


def ks(reference: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Give the distance of Kolmogorov and Smirnov: the largest between the two cumulated shares, 0…1."""
    every = np.concatenate([reference, now])
    then, later = (
        np.searchsorted(np.sort(scores), every, side="right") / len(scores) for scores in (reference, now)
    )
    return float(np.abs(then - later).max())


def _shares(bins: NDArray[np.intp]) -> NDArray[np.float64]:
    counts = np.bincount(bins, minlength=BINS) + _PSEUDO
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares
