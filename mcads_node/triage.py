"""The triage of an image: its findings and what the gate said of it, held against a site's rules; pure."""

from __future__ import annotations

from collections.abc import Sequence

from mcads_node.config import TriageCondition, TriageRule, TriageRules
from mcads_node.finding import Finding, Presence
from mcads_node.instance import InputCheck, Verdict
from mcads_node.triage_level import LEVELS, Basis, Triage

#: two decimal numbers that a person takes for equal differ by so much in binary, at most
_EQUAL = 1e-9


def triage(findings: Sequence[Finding], checks: Sequence[InputCheck], rules: TriageRules) -> Triage:
    """Say how urgent an image is.

    Parameters
    ----------
    findings
        Of one image, one per label of the model.
    checks
        Input checks of the image that did not pass.
    rules
        Of the site.
    """
    held = [(rule, carrying) for rule in rules.rules if (carrying := _carrying(rule.when, findings))]
    if held:
        # of one level, the rule that comes first
        rule, carrying = min(held, key=lambda each: each[0].level)
        return Triage(
            level=rule.level,
            basis=Basis.RULE,
            rule=rule.name,
            labels=_ordered(carrying),
            digest=rules.digest,
        )
    present = [finding for finding in findings if finding.presence is Presence.PRESENT]
    if present:
        return Triage(level=rules.otherwise, basis=Basis.OTHER, labels=_ordered(present), digest=rules.digest)
    level, basis = _of_nothing_found(findings, checks, rules)
    return Triage(level=level, basis=basis, digest=rules.digest)


def may_hold(rule: TriageRule, labels: Sequence[str]) -> bool:
    """Whether a rule can ever hold of a model with these labels."""
    everything = [
        Finding(label=label, score=1.0, threshold=0.0, presence=Presence.PRESENT) for label in labels
    ]
    return bool(_carrying(rule.when, everything))


def _of_nothing_found(
    findings: Sequence[Finding], checks: Sequence[InputCheck], rules: TriageRules
) -> tuple[int | None, Basis]:
    """Tell "nothing found" from "nothing could be said": only the former is the last level."""
    undetermined = [finding for finding in findings if finding.presence is Presence.UNDETERMINED]
    verdicts = {check.verdict for check in checks}
    if undetermined or not findings or Verdict.UNDETERMINED in verdicts:
        return rules.undetermined, Basis.UNDETERMINED
    if Verdict.WARN in verdicts:
        return rules.warned, Basis.WARNED
    return LEVELS, Basis.NOTHING


def _carrying(condition: TriageCondition, findings: Sequence[Finding]) -> list[Finding]:
    """Give the findings by which a condition holds; empty: it does not."""
    if condition.all is not None:
        parts = [_carrying(part, findings) for part in condition.all]
        return [each for part in parts for each in part] if all(parts) else []
    if condition.any is not None:
        return [each for part in condition.any for each in _carrying(part, findings)]
    asked = condition.findings
    found = [
        finding
        for finding in findings
        if (asked == "any" or finding.label in (asked or ()))
        and finding.presence is Presence.PRESENT
        and finding.score - finding.threshold >= condition.margin - _EQUAL
    ]
    return found if len(found) >= condition.at_least else []


def _ordered(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Name findings once each, the one farthest above its threshold first."""
    farthest = sorted(findings, key=lambda each: (each.threshold - each.score, each.label))
    return tuple(dict.fromkeys(finding.label for finding in farthest))
