"""What ``routes.yaml`` says, held against itself and against the models that are installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from mcads_node.config.cautions import implies
from mcads_node.config.conditions import Asked, When
from mcads_node.config.rules import RoutesConfig, Rule
from mcads_node.config.thresholds import ThresholdSet
from mcads_node.errors import Problem
from mcads_node.result import ObjectKind
from mcads_node.suggestion import did_you_mean
from mcads_node.yamlfile import Document, KeyPath, dotted


@dataclass(frozen=True, kw_only=True)
class Known:
    """What rules may name; None: anything."""

    destinations: Iterable[str] | None = None
    #: kinds of object that each destination wants, by its name
    objects: Mapping[str, Iterable[ObjectKind]] = field(default_factory=dict)
    #: labels of each installed model, by its name
    labels_of: Mapping[str, Iterable[str]] | None = None
    #: the model of rules and sets that name none
    model: str = ""


def faults(document: Document, routes: RoutesConfig, known: Known) -> list[Problem]:
    """Find models, findings and sets that are named and are not there."""
    return [_problem(document, at, message) for at, message in _faults(routes, known)]


def overlaps(document: Document, routes: RoutesConfig, known: Known) -> list[Problem]:
    """Find what is said twice, or of what nobody asks: it is told, and loaded."""
    return [_problem(document, at, message) for at, message in _cautions(routes, known)]


def _problem(document: Document, at: KeyPath, message: str) -> Problem:
    there = at
    while there and there not in document.lines:
        there = there[:-1]
    return Problem(file=str(document.path), line=document.lines.get(there), key=dotted(at), message=message)


def _faults(routes: RoutesConfig, known: Known) -> Iterator[tuple[KeyPath, str]]:
    sets = {each.name: each for each in routes.threshold_sets}
    for number, each in enumerate(routes.threshold_sets):
        yield from _unknown(("threshold_sets", number), each.model, each.thresholds, known)
    for number, rule in enumerate(routes.routes):
        if rule.analyse is None:
            continue
        at: KeyPath = ("routes", number, "analyse")
        yield from _unknown(at, rule.analyse.model, rule.analyse.thresholds, known)
        model = rule.analyse.model or known.model
        for name in rule.analyse.threshold_sets:
            if name not in sets:
                choices = ", ".join(sorted(sets)) or "none"
                near = did_you_mean(name, sets)
                yield (*at, "threshold_sets"), f"{name!r} is not one of the threshold_sets ({choices}){near}"
            elif (sets[name].model or known.model) != model:
                other = sets[name].model or known.model
                yield (
                    (*at, "threshold_sets"),
                    f"{name!r} is of model {other!r}, the rule reads with {model!r}",
                )


def _unknown(
    at: KeyPath, model: str | None, thresholds: Mapping[str, float], known: Known
) -> Iterator[tuple[KeyPath, str]]:
    if known.labels_of is None:
        return
    if model is not None and model not in known.labels_of:
        choices = ", ".join(sorted(known.labels_of))
        near = did_you_mean(model, known.labels_of)
        yield (*at, "model"), f"{model!r} is not a model here{near}; there are: {choices}"
        return
    # where analysis.model itself is not there, node.yaml is to blame, and told
    labels = known.labels_of.get(model or known.model)
    for label in thresholds:
        if labels is not None and label not in labels:
            choices = ", ".join(sorted(labels)) or "none"
            near = did_you_mean(label, labels)
            yield (*at, "thresholds", label), f"{label!r} is not a finding of the model{near} ({choices})"


def _cautions(routes: RoutesConfig, known: Known) -> Iterator[tuple[KeyPath, str]]:
    sets = {each.name: (number, each) for number, each in enumerate(routes.threshold_sets)}
    named: set[str] = set()
    for number, rule in enumerate(routes.routes):
        if rule.analyse is None:
            continue
        at: KeyPath = ("routes", number, "analyse")
        used = [sets[name][1] for name in rule.analyse.threshold_sets if name in sets]
        named.update(each.name for each in used)
        yield from _overlaps(at, rule, used)
        yield from _nobody_wants(at, rule, known)
    for name, (number, _) in sets.items():
        if name not in named:
            yield ("threshold_sets", number, "name"), f"no rule names the threshold set {name!r}"


def _overlaps(at: KeyPath, rule: Rule, used: list[ThresholdSet]) -> Iterator[tuple[KeyPath, str]]:
    assert rule.analyse is not None  # noqa: S101 - only such rules are looked at
    for each in used:
        both = sorted(each.thresholds.keys() & rule.analyse.thresholds.keys())
        if both:
            yield (
                (*at, "thresholds"),
                f"{', '.join(both)}: the threshold set {each.name!r} says so too; the rule's own is used",
            )
    for first, second in combinations(used, 2):
        said = _overlap(first, second)
        if said:
            yield (*at, "threshold_sets"), said


def _overlap(first: ThresholdSet, second: ThresholdSet) -> str:
    """Say how two sets, of which the first is asked first, are in each other's way; empty: they are not."""
    if implies(second.when, first.when) and first.version in (None, second.version):
        return f"{second.name!r} is never used: {first.name!r} takes all of it before"
    narrower_first = implies(first.when, second.when) and second.version in (None, first.version)
    if narrower_first or not _may_both_apply(first, second):
        return ""
    return f"{first.name!r} and {second.name!r} may apply to one image; the first of them is used"


def _may_both_apply(first: ThresholdSet, second: ThresholdSet) -> bool:
    if None not in (first.version, second.version) and first.version != second.version:
        return False
    # those that ask one attribute for different words cannot both be meant
    ours, theirs = _words(first.when), _words(second.when)
    return not any(ours[key].isdisjoint(theirs[key]) for key in ours.keys() & theirs)


def _words(when: When) -> dict[str, frozenset[str]]:
    """Give the words that attributes must be one of."""
    return {
        each.attribute.key: frozenset(word.strip().casefold() for word in each.condition.one_of)
        for each in when
        if isinstance(each, Asked) and each.condition.one_of is not None
    }


def _nobody_wants(at: KeyPath, rule: Rule, known: Known) -> Iterator[tuple[KeyPath, str]]:
    assert rule.analyse is not None  # noqa: S101 - only such rules are looked at
    there = [known.objects[name] for name in rule.send_to if name in known.objects]
    if rule.analyse.objects is None or not there:
        return
    wanted = {kind for kinds in there for kind in kinds}
    for kind in rule.analyse.objects:
        if kind not in wanted:
            yield (*at, "objects"), f"{str(kind)!r} is wanted by no destination of the rule"
