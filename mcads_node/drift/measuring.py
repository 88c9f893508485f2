"""Comparing the scores of now with those of a reference: each device with itself, and all with all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from mcads_node.drift.statistics import ks, psi
from mcads_node.estimate import Estimate, wilson
from mcads_node.finding import Presence
from mcads_node.workitems import ScoredImage, Span, Workitems

ALL_DEVICES: Final = "all devices"
_UNTOLD: Final = "unknown device"
_OTHERS: Final = "other devices"
#: devices that are told apart, those with the most images: a header may hold anything
_MOST_DEVICES: Final = 50
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class DriftPolicy:
    """When something is told."""

    #: how long the reference is where nobody chose one: the model's first weeks
    reference: timedelta = timedelta(weeks=4)
    #: images that a device must have in a week, and in the reference
    minimum: int = 200
    #: above which a label has drifted; None: not looked at
    psi: float | None = 0.25
    ks: float | None = 0.2


@dataclass(frozen=True, kw_only=True)
class LabelDrift:
    """One label of one device in one week."""

    label: str
    psi: float
    ks: float
    #: share of the images on which it is present: now, and in the reference
    positives: Estimate
    positives_before: Estimate
    drifted: bool


@dataclass(frozen=True, kw_only=True)
class WeekDrift:
    """One device in one week."""

    device: str
    week: Span
    images: int
    reference_images: int
    #: empty: too few images, now or in the reference
    labels: tuple[LabelDrift, ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a model."""

    at: datetime
    #: None: the model has not read for long enough to be compared with itself
    reference: Span | None
    #: whether a person chose it
    chosen: bool
    #: the last week first; within one, all devices first
    weeks: tuple[WeekDrift, ...]


@dataclass
class _Scores:
    """Scores of one device in one time."""

    images: int = 0

    def __post_init__(self) -> None:
        self.scores: dict[str, list[float]] = defaultdict(list)
        self.positives: Counter[str] = Counter()

    def add(self, image: ScoredImage) -> None:
        self.images += 1
        for finding in image.findings:
            self.scores[finding.label].append(finding.score)
            self.positives[finding.label] += finding.presence is Presence.PRESENT


def measure(
    workitems: Workitems, weights_digest: str, now: datetime, weeks: int, policy: DriftPolicy
) -> Measured:
    """Compare each of the last weeks with the reference.

    Images of which nothing was claimed are left out. A week is seven days that end at `now`, or so many weeks
    before. What the reference's time and a week have in common is compared with itself, and differs less.

    Parameters
    ----------
    workitems
        The durable state.
    weights_digest
        Of the model.
    now
        Moment at which the last week ends.
    weeks
        How many weeks, at least 1.
    policy
        Minimum of images, limits, and the reference where nobody chose one.
    """
    chosen = workitems.drift_reference(weights_digest)
    reference = chosen or _first_weeks(workitems, weights_digest, now, policy)
    if reference is None:
        return Measured(at=now, reference=None, chosen=False, weeks=())
    before = _by_device(workitems.scored_images(weights_digest, reference))
    found: list[WeekDrift] = []
    for back in range(weeks):
        week = Span(since=now - (back + 1) * _WEEK, until=now - back * _WEEK)
        current = _by_device(workitems.scored_images(weights_digest, week))
        for device in _shown(current):
            then = before.get(device, _Scores())
            found.append(_compared(device, week, then, current[device], policy))
    return Measured(at=now, reference=reference, chosen=chosen is not None, weeks=tuple(found))


def _first_weeks(
    workitems: Workitems, weights_digest: str, now: datetime, policy: DriftPolicy
) -> Span | None:
    first = workitems.first_analysis(weights_digest)
    if first is None or first + policy.reference > now:
        return None
    return Span(since=first, until=first + policy.reference)


def _by_device(images: Iterable[ScoredImage]) -> dict[str, _Scores]:
    found: dict[str, _Scores] = defaultdict(_Scores)
    for image in images:
        if any(finding.presence is Presence.UNDETERMINED for finding in image.findings):
            continue
        device = image.device or _UNTOLD
        if device not in found and len(found) > _MOST_DEVICES:
            device = _OTHERS
        for name in (ALL_DEVICES, device):
            found[name].add(image)
    return found


def _shown(found: dict[str, _Scores]) -> list[str]:
    return sorted(found, key=lambda device: (device != ALL_DEVICES, device))


def _compared(device: str, week: Span, then: _Scores, now: _Scores, policy: DriftPolicy) -> WeekDrift:
    enough = min(then.images, now.images) >= policy.minimum
    labels = [label for label in now.scores if label in then.scores] if enough else []
    return WeekDrift(
        device=device,
        week=week,
        images=now.images,
        reference_images=then.images,
        labels=tuple(_label(label, then, now, policy) for label in labels),
    )


def _label(label: str, then: _Scores, now: _Scores, policy: DriftPolicy) -> LabelDrift:
    before, after = (np.array(each.scores[label], dtype=np.float64) for each in (then, now))
    index, distance = psi(before, after), ks(before, after)
    return LabelDrift(
        label=label,
        psi=index,
        ks=distance,
        positives=wilson(now.positives[label], len(after)),
        positives_before=wilson(then.positives[label], len(before)),
        drifted=(policy.psi is not None and index > policy.psi)
        or (policy.ks is not None and distance > policy.ks),
    )
