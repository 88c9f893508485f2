"""Thresholds that reach what is wanted, found on labelled images."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mcads_node.config import AnalyseSection
from mcads_node.config.vocabulary import Section
from mcads_node.errors import ConfigError, PermanentError, Problem
from mcads_node.evaluation.metrics import LabelMetrics, judge
from mcads_node.evaluation.sample import Sample
from mcads_node.model_store.manifest import Manifest
from mcads_node.yamlfile import read_document

#: thresholds are written with so many digits
_DIGITS: Final = 4
#: a predictive value of fewer called images is chance
_FEWEST_CALLED: Final = 10

Quantity = Literal["sensitivity", "specificity", "ppv", "youden"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a threshold is to reach."""

    quantity: Quantity
    #: at least so much; of Youden's index, which is made as high as it can be, 0
    least: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``sensitivity=0.9``, ``specificity=0.9``, ``ppv=0.5`` or ``youden``.

        Raises
        ------
        PermanentError
            It is none of them.
        """
        if text == "youden":
            return cls(quantity="youden")
        match = re.fullmatch(r"(sensitivity|specificity|ppv)=(0?\.\d*[1-9]\d*|1|1\.0+)", text)
        if match is None:
            raise PermanentError(
                "--target: expected youden, or sensitivity, specificity or ppv with a number above 0 and up "
                f"to 1, such as sensitivity=0.9; found {text!r}"
            )
        quantity: Quantity = match[1]  # type: ignore[assignment]
        return cls(quantity=quantity, least=float(match[2]))


def at_target(samples: tuple[Sample, ...], target: Target, patients: int) -> tuple[LabelMetrics, ...]:
    """Find each label's threshold, and what it reaches, with 95 % intervals.

    The intervals are of the threshold as it is, on the images that it was found on: other images of the same
    kind will reach a little less. A label for which the target cannot be reached has a note.
    """
    found: list[Sample] = []
    notes: dict[str, str] = {}
    for sample in samples:
        threshold = None if sample.too_few() else _threshold(sample, target)
        if threshold is None and not sample.too_few():
            notes[sample.label] = f"no threshold reaches {target.quantity} {target.least:g}"
        found.append(sample if threshold is None else replace(sample, threshold=threshold))
    return tuple(
        _without_numbers(each, notes[each.label]) if each.label in notes else each
        for each in judge(tuple(found), patients)
    )


def _threshold(sample: Sample, target: Target) -> float | None:
    """Find the threshold; of several, the one at which the most positives are found."""
    unit = 10**_DIGITS
    steps = np.unique(np.concatenate([np.floor(sample.scores * unit), np.ceil(sample.scores * unit)]))
    candidates = np.clip(steps / unit, 0, 1)
    called_positive = _at_or_above(sample.scores[sample.truth], candidates)
    called_negative = _at_or_above(sample.scores[~sample.truth], candidates)
    found = called_positive / sample.positives
    spared = 1 - called_negative / sample.negatives
    if target.quantity == "youden":
        return float(candidates[np.argmax(found + spared)])
    if target.quantity == "sensitivity":
        # the highest that still reaches it spares the most negatives
        reached = np.flatnonzero(found >= target.least)
        return float(candidates[reached[-1]]) if reached.size else None
    if target.quantity == "specificity":
        reached = np.flatnonzero(spared >= target.least)
    else:
        called = called_positive + called_negative
        reached = np.flatnonzero((called_positive >= target.least * called) & (called >= _FEWEST_CALLED))
    return float(candidates[reached[0]]) if reached.size else None


def _at_or_above(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.intp]:
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")


def _without_numbers(metrics: LabelMetrics, note: str) -> LabelMetrics:
    return LabelMetrics(
        label=metrics.label,
        images=metrics.images,
        positives=metrics.positives,
        threshold=metrics.threshold,
        note=note,
    )


def as_yaml(found: tuple[LabelMetrics, ...]) -> str:
    """Write the thresholds as the part of a rule of ``routes.yaml``, with what each reaches as a comment."""
    lines = ["analyse:", "  thresholds:"]
    for each in found:
        if each.note:
            lines.append(f"    # {each.label}: {each.note}")
            continue
        reached = ", ".join(
            f"{name} {estimate.value:.2f} ({estimate.low:.2f}–{estimate.high:.2f})"
            for name, estimate in (
                ("sensitivity", each.sensitivity),
                ("specificity", each.specificity),
                ("PPV", each.ppv),
            )
            if estimate is not None
        )
        lines.append(
            f"    {each.label}: {each.threshold:.{_DIGITS}f}  # {reached}; "
            f"{each.positives} of {each.images} images positive"
        )
    if all(each.note for each in found):
        lines[1] = "  thresholds: {}"
    return "\n".join(lines) + "\n"


class _Part(Section):
    """What `as_yaml` writes."""

    analyse: AnalyseSection


def read_thresholds(path: Path, manifest: Manifest) -> dict[str, float]:
    """Read thresholds from a file as `as_yaml` writes it, of a rule of ``routes.yaml``.

    Raises
    ------
    ConfigError
        It cannot be read, is not one, or has a threshold of a label that the model does not have.
    """
    document = read_document(path)
    thresholds = dict(document.fit(_Part).analyse.thresholds)
    problems = [
        Problem(
            file=str(path),
            line=document.lines.get(("analyse", "thresholds", label)),
            key=f"analyse.thresholds.{label}",
            message=fault,
        )
        for label, fault in manifest.threshold_faults(thresholds).items()
    ]
    if problems:
        raise ConfigError(problems)
    return thresholds
