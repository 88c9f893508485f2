"""What is to be done with an image, by the first rule that it falls under."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from mcads_node.config import Condition, Rule, ThresholdSet
from mcads_node.instance import Declined, Requestor
from mcads_node.result import ObjectKind
from mcads_node.route.matching import holds
from mcads_node.route.values import values_of


@dataclass(frozen=True, kw_only=True)
class Route:
    """What is to be done with an image."""

    #: name of the rule that matched
    rule: str
    #: that reads; None: the node's own
    model: str | None
    #: methods of explanation, such as ``grad-cam``
    explain: tuple[str, ...]
    #: show the top finding's map where nothing is positive
    explain_top_finding: bool
    #: the rule's own, by label; others are those of the threshold set, or of the model
    thresholds: Mapping[str, float]
    #: those of the rule that apply to the image; the first that is of the model's version is used
    threshold_sets: tuple[ThresholdSet, ...]
    #: kinds that are made, of those that the destinations want; None: all
    objects: tuple[ObjectKind, ...] | None
    #: destinations of the results
    send_to: tuple[str, ...]
    #: the study is complete when nothing came for so long, in seconds
    quiet_seconds: float


def route(header: Dataset, requestor: Requestor, rules: Iterable[Rule]) -> Route | Declined:
    """Find the first rule that matches, and is no shadow.

    Parameters
    ----------
    header
        Data set of the image; pixels are not looked at.
    requestor
        Who sent it.
    rules
        In the order of the file.

    Returns
    -------
    Route or Declined
        Declined where the rule says so, or where no rule matches: nothing is analysed by default.
    """
    for rule in matching(header, requestor, rules):
        if not rule.shadow:
            return route_by(rule, header, requestor)
    return Declined(reason="no rule of the routes matches")


def matching(header: Dataset, requestor: Requestor, rules: Iterable[Rule]) -> Iterator[Rule]:
    """Give the rules that an image falls under: shadows, and after them the one that is used, if any."""
    for rule in rules:
        if _all_hold(rule.when, header, requestor):
            yield rule
            if not rule.shadow:
                return


def route_by(rule: Rule, header: Dataset, requestor: Requestor) -> Route | Declined:
    """Say what a rule, which is taken to match, has done with an image."""
    if rule.analyse is None:
        return Declined(reason=f"{rule.decline} (rule {rule.name!r})")
    analyse = rule.analyse
    return Route(
        rule=rule.name,
        model=analyse.model,
        explain=() if rule.shadow else analyse.explain,
        explain_top_finding=analyse.explain_top_finding,
        thresholds=analyse.thresholds,
        threshold_sets=tuple(each for each in rule.threshold_sets if _all_hold(each.when, header, requestor)),
        objects=analyse.objects,
        send_to=rule.send_to,
        quiet_seconds=rule.complete_when.quiet_seconds,
    )


def _all_hold(when: Mapping[str, Condition], header: Dataset, requestor: Requestor) -> bool:
    return all(holds(condition, values_of(key, header, requestor)) for key, condition in when.items())
