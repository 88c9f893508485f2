"""ROC curves and reliability diagrams as PNG; home of matplotlib, which comes with the extra ``audit``."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mcads_node.errors import NodeError, PermanentError
from mcads_node.estimate import wilson
from mcads_node.evaluation.metrics import BINS, LabelMetrics, in_bins
from mcads_node.evaluation.sample import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS: Final = 4
#: inches of a panel, and dots an inch
_PANEL: Final = 2.9
_DPI: Final = 110
#: characters of the title that fit on a line
_TITLE: Final = 110
_INK, _BLUE, _AMBER, _PALE = "#14171c", "#1f5fa8", "#c26a00", "#c9ced6"

Judged = Sequence[tuple[Sample, LabelMetrics]]


def require_plots() -> None:
    """Make sure that plots can be drawn, before long work begins.

    Raises
    ------
    PermanentError
        matplotlib is not installed.
    """
    try:
        import matplotlib as _  # noqa: F401, PLC0415
    except ImportError:
        raise PermanentError(
            "plots need matplotlib: install it with pip install 'mcads-node[audit]', or leave --out away"
        ) from None


def draw_roc(judged: Judged, title: str, target: Path) -> None:
    """Draw each label's ROC curve, with its area and the point of its threshold.

    Raises
    ------
    NodeError
        The file cannot be written.
    """
    _draw(judged, title, target, _roc)


def draw_reliability(judged: Judged, title: str, target: Path) -> None:
    """Draw how often each label is there, against how probable it was said to be.

    Raises
    ------
    NodeError
        The file cannot be written.
    """
    _draw(judged, title, target, _reliability)


def _draw(
    judged: Judged, title: str, target: Path, panel: Callable[[Axes, Sample, LabelMetrics], None]
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows = max(1, math.ceil(len(judged) / _COLUMNS))
    figure = Figure(figsize=(_PANEL * _COLUMNS, _PANEL * 1.12 * rows + 0.5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(title, _TITLE), fontsize=11, color=_INK)
    axes: Any = figure.subplots(rows, _COLUMNS, squeeze=False)
    for place, axis in enumerate(axes.ravel()):
        if place < len(judged):
            _frame(axis, judged[place][1])
            panel(axis, *judged[place])
        else:
            axis.set_axis_off()
    try:
        figure.savefig(target, format="png")
    except OSError as error:
        raise NodeError(f"{target} cannot be written: {error.strerror}") from error


def _frame(axis: Axes, metrics: LabelMetrics) -> None:
    axis.set_title(metrics.label.replace("_", " "), fontsize=9, fontweight="bold", color=_INK)
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)
    axis.plot([0, 1], [0, 1], color=_PALE, linewidth=1, zorder=1)


def _say(axis: Axes, text: str) -> None:
    axis.text(0.98, 0.04, text, ha="right", va="bottom", fontsize=7, color=_INK, transform=axis.transAxes)


def _roc(axis: Axes, sample: Sample, metrics: LabelMetrics) -> None:
    axis.set_xlabel("1 − specificity", fontsize=7)
    axis.set_ylabel("sensitivity", fontsize=7)
    if metrics.auc is None or metrics.sensitivity is None or metrics.specificity is None:
        _say(axis, metrics.note)
        return
    order = np.argsort(-sample.scores, kind="stable")
    # a corner only where the score changes
    last = np.append(np.flatnonzero(np.diff(sample.scores[order])), len(order) - 1)
    hits = np.append(0, np.cumsum(sample.truth[order])[last]) / sample.positives
    alarms = np.append(0, np.cumsum(~sample.truth[order])[last]) / sample.negatives
    axis.plot(alarms, hits, color=_BLUE, linewidth=1.4, zorder=3)
    axis.plot(1 - metrics.specificity.value, metrics.sensitivity.value, "o", color=_AMBER, ms=5, zorder=4)
    area = metrics.auc
    _say(
        axis,
        f"AUC {area.value:.2f} ({area.low:.2f}–{area.high:.2f})\n"
        f"{metrics.positives} of {metrics.images} positive\nthreshold {metrics.threshold:.3g}",
    )


def _reliability(axis: Axes, sample: Sample, metrics: LabelMetrics) -> None:
    is_score = np.array_equal(sample.probabilities, sample.scores)
    axis.set_xlabel("score" if is_score else "calibrated probability", fontsize=7)
    axis.set_ylabel("share that is positive", fontsize=7)
    if metrics.ece is None:
        _say(axis, metrics.note)
        return
    bins, highest = in_bins(sample.probabilities), 0.0
    for number in range(BINS):
        inside = bins[:, number] > 0
        if inside.any():
            found = wilson(float(sample.truth[inside].sum()), float(inside.sum()))
            said = float(sample.probabilities[inside].mean())
            axis.plot([said, said], [found.low, found.high], color=_PALE, linewidth=2.5, zorder=2)
            axis.plot(said, found.value, "o", color=_BLUE, ms=4, zorder=3)
            highest = max(highest, said, found.high)
    # of a rare finding all points lie in a corner: show the corner
    end = min(1.0, 1.1 * highest)
    axis.set_xlim(-0.02 * end, 1.02 * end)
    axis.set_ylim(-0.02 * end, 1.02 * end)
    error = metrics.ece
    axis.text(
        0.02,
        0.97,
        f"ECE {error.value:.3f} ({error.low:.3f}–{error.high:.3f})",
        ha="left",
        va="top",
        fontsize=7,
        color=_INK,
        transform=axis.transAxes,
    )
