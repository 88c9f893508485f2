"""What is to be done with an image, by the first rule that it falls under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mcads_node.config import CHECKS, Rule
from mcads_node.instance import Declined, Verdict
from mcads_node.route.matching import Outcome, Term, evaluate
from mcads_node.route.values import Subject


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


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One rule held against one image."""

    rule: Rule
    #: all that its ``when`` asks, and what was found
    term: Term

    @property
    def matches(self) -> bool:
        """Whether the rule is used.

        One that declines is used as well where it cannot be decided, since a value it asks of cannot be read:
        what it is there to keep out does not come in through a damaged header.
        """
        if self.term.outcome is Outcome.UNDECIDED:
            return self.rule.decline is not None
        return self.term.outcome is Outcome.HOLDS


def judge(subject: Subject, rules: Iterable[Rule]) -> tuple[Judgement, ...]:
    """Hold rules against an image, in their order, up to the first that matches, which is the last given."""
    judged = []
    for rule in rules:
        judged.append(Judgement(rule=rule, term=evaluate(rule.when, subject)))
        if judged[-1].matches:
            break
    return tuple(judged)


def route(subject: Subject, rules: Iterable[Rule]) -> Route | Declined:
    """Find the first rule that matches.

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
    return verdict(judge(subject, rules))


def verdict(judged: Sequence[Judgement]) -> Route | Declined:
    """Say what follows from what `judge` found."""
    if not judged or not judged[-1].matches:
        return Declined(reason="no rule of the routes matches")
    rule = judged[-1].rule
    if rule.analyse is None:
        return Declined(reason=f"{rule.decline} (rule {rule.name!r}{_doubt(judged[-1].term)})")
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


def _doubt(term: Term) -> str:
    """Say what could not be decided; of the value itself, which may tell of a patient, nothing is told."""
    undecided = "; ".join(each.asked for each in term.undecided())
    return f", which cannot be decided: {undecided}" if undecided else ""
