"""What is to be done with an image, by the first rule that it falls under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mcads_node.config import CHECKS, AnalyseSection, Rule, ThresholdSet
from mcads_node.instance import Declined, Verdict
from mcads_node.result import ObjectKind
from mcads_node.route.matching import Outcome, Term, evaluate
from mcads_node.route.values import Subject


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
    #: site whose calibration of the model speaks; None: that of the only one that there is
    calibration: str | None = None
    #: kinds that are made, of those that the destinations want; None: all
    objects: tuple[ObjectKind, ...] | None
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


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One rule held against one image."""

    rule: Rule
    #: all that its ``when`` asks, and what was found
    term: Term

    @property
    def matches(self) -> bool:
        """Whether the rule takes the image.

        One that declines does as well where it cannot be decided, since a value it asks of cannot be read:
        what it is there to keep out does not come in through a damaged header.
        """
        if self.term.outcome is Outcome.UNDECIDED:
            return self.rule.decline is not None
        return self.term.outcome is Outcome.HOLDS

    @property
    def is_used(self) -> bool:
        """Whether the image is treated by the rule; by a shadow it is only read besides."""
        return self.matches and not self.rule.shadow


def judge(subject: Subject, rules: Iterable[Rule]) -> tuple[Judgement, ...]:
    """Hold rules against an image, in their order, up to the first that is used, which is the last given."""
    judged = []
    for rule in rules:
        judged.append(Judgement(rule=rule, term=evaluate(rule.when, subject)))
        if judged[-1].is_used:
            break
    return tuple(judged)


def route(subject: Subject, rules: Iterable[Rule]) -> Route | Declined:
    """Find the first rule that matches, and is no shadow.

    Parameters
    ----------
    subject
        The image, and how it came.
    rules
        In the order of the file.

    Returns
    -------
    Route or Declined
        Declined where the rule says so, or where no rule matches: nothing is analysed by default.
    """
    return verdict(judge(subject, rules), subject)


def verdict(judged: Sequence[Judgement], subject: Subject) -> Route | Declined:
    """Say what follows from what `judge` found."""
    if not judged or not judged[-1].is_used:
        return Declined(reason="no rule of the routes matches")
    rule = judged[-1].rule
    if rule.analyse is None:
        return Declined(reason=f"{rule.decline} (rule {rule.name!r}{_doubt(judged[-1].term)})")
    return route_by(rule, rule.analyse, subject)


def route_by(rule: Rule, analyse: AnalyseSection, subject: Subject) -> Route:
    """Say how a rule, which is taken to match, has an image analysed."""
    return Route(
        rule=rule.name,
        model=analyse.model,
        explain=() if rule.shadow else analyse.explain,
        explain_top_finding=analyse.explain_top_finding,
        thresholds=analyse.thresholds,
        threshold_sets=tuple(
            each for each in rule.threshold_sets if evaluate(each.when, subject).outcome is Outcome.HOLDS
        ),
        calibration=analyse.calibration,
        objects=analyse.objects,
        checks={**CHECKS, **analyse.checks},
        send_to=rule.send_to,
        quiet_seconds=rule.complete_when.quiet_seconds,
        views={str(view): number for view, number in rule.complete_when.views.items()},
        max_wait_seconds=rule.complete_when.max_wait_seconds,
    )


def _doubt(term: Term) -> str:
    """Say what could not be decided; of the value itself, which may tell of a patient, nothing is told."""
    undecided = "; ".join(each.asked for each in term.undecided())
    return f", which cannot be decided: {undecided}" if undecided else ""
