"""What is to be done with an image, by the first rule that it falls under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from mcads_node.config import CHECKS, Rule
from mcads_node.instance import Declined, Requestor, Verdict
from mcads_node.route.matching import holds
from mcads_node.route.values import values_of


@dataclass(frozen=True, kw_only=True)
class Route:
    """What is to be done with an image."""

    #: name of the rule that matched
    rule: str
    #: methods of explanation, such as ``grad-cam``
    explain: tuple[str, ...]
    #: show the top finding's map where nothing is positive
    explain_top_finding: bool
    #: by label; others keep the model's own threshold
    thresholds: Mapping[str, float]
    #: what each check of the gate leads to where it fails, by its name: all of them
    checks: Mapping[str, Verdict]
    #: destinations of the results
    send_to: tuple[str, ...]
    #: the study is complete when nothing came for so long, in seconds
    quiet_seconds: float
    #: … or when these views are analysed, by how many of each
    views: Mapping[str, int] = field(default_factory=dict)
    #: … or when this has passed since its first image, in seconds; None: there is no such limit
    max_wait_seconds: float | None = None


def route(header: Dataset, requestor: Requestor, rules: Iterable[Rule]) -> Route | Declined:
    """Find the first rule that matches.

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
    for rule in rules:
        if not all(
            holds(condition, values_of(key, header, requestor)) for key, condition in rule.when.items()
        ):
            continue
        if rule.analyse is None:
            return Declined(reason=f"{rule.decline} (rule {rule.name!r})")
        return Route(
            rule=rule.name,
            explain=rule.analyse.explain,
            explain_top_finding=rule.analyse.explain_top_finding,
            thresholds=rule.analyse.thresholds,
            checks={**CHECKS, **rule.analyse.checks},
            send_to=rule.send_to,
            quiet_seconds=rule.complete_when.quiet_seconds,
            views={str(view): number for view, number in rule.complete_when.views.items()},
            max_wait_seconds=rule.complete_when.max_wait_seconds,
        )
    return Declined(reason="no rule of the routes matches")
