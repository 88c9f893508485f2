"""One map of all findings: the Grad-CAM maps of those that are present, weighted by their scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcads_node.finding import COMBINED, Heatmap


def combined(heatmaps: Sequence[Heatmap]) -> tuple[Heatmap, ...]:
    """Sum Grad-CAM maps, each times its finding's score.

    Parameters
    ----------
    heatmaps
        Grad-CAM maps of one image, each 0…1. Those that are not positive are left out.

    Returns
    -------
    tuple of Heatmap
        One, or none where no map is positive. ``activation`` is divided by its own maximum, as that of a
        single map; ``finding`` has the highest score, ``combined`` are all, from the highest to the lowest.
    """
    positive = [heatmap for heatmap in heatmaps if heatmap.positive]
    if not positive:
        return ()
    ranked = sorted(positive, key=lambda heatmap: (-heatmap.finding.score, heatmap.finding.label))
    total = np.sum([each.activation.astype(np.float64) * each.finding.score for each in ranked], axis=0)
    peak = float(total.max())
    return (
        Heatmap(
            finding=ranked[0].finding,
            combined=tuple(each.finding for each in ranked),
            method=COMBINED,
            activation=(total / peak if peak > 0 else total).astype(np.float32),
            geometry=ranked[0].geometry,
        ),
    )
