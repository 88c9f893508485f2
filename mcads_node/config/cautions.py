"""What valid rules may not have been meant to say: rules never reached, conditions that never hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mcads_node.config.conditions import Asked, Condition, Group, When
from mcads_node.config.hours import Hours
from mcads_node.config.rules import Rule
from mcads_node.errors import Problem
from mcads_node.quantity import Limit
from mcads_node.yamlfile import Document, KeyPath, dotted

#: defined terms of Modality (0008,0060) of objects that the node declines before it asks any rule; what else
#: bears one is a secondary capture
_NEVER_RADIOGRAPHS = frozenset(
    "AU BI BMD CT DOC ECG EEG ES EPS GM HD IO IVOCT IVUS KO LS MG MR NM OCT OP OPT OPV OT-SR PLAN PR PT PX "
    "REG RESP RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT SEG SM SMR SR TG US VA XA XC".split()
)


def cautions(
    document: Document, rules: Sequence[Rule], destinations: Iterable[str] | None
) -> Iterator[Problem]:
    """Find what to warn of.

    Parameters
    ----------
    document
        The file, for the lines.
    rules
        What it says.
    destinations
        Those of ``node.yaml``; None: they are not known.
    """
    for number, rule in enumerate(rules):
        at: KeyPath = ("routes", number)
        # a shadow takes nothing from the rules after it
        takers = (each for each in rules[:number] if not each.shadow)
        before = next((each for each in takers if implies(rule.when, each.when)), None)
        if before is not None:
            said = f"rule {rule.name!r} is never reached: rule {before.name!r} takes all of it before"
            yield _problem(document, (*at, "name"), said)
        yield from (_problem(document, (*at, "when", *place), said) for place, said in _never(rule.when))
        if rule.analyse is not None:
            for place, said in _unlikely(rule.when):
                yield _problem(document, (*at, "when", *place), said)
    used = {name for rule in rules for name in (*rule.send_to, *rule.forward)}
    for name in destinations or ():
        if name not in used:
            yield _problem(document, ("routes",), f"no rule sends anything to the destination {name!r}")


def _problem(document: Document, at: KeyPath, message: str) -> Problem:
    return Problem(file=str(document.path), line=document.lines.get(at), key=dotted(at), message=message)


# --- implication


def implies(narrow: When, wide: When) -> bool:
    """Whether all that `narrow` lets pass `wide` lets pass, as far as that can be seen without trying."""
    return all(any(_covers(broad, each) for each in narrow) for broad in wide)


def _covers(broad: Asked | Group | Hours, narrow: Asked | Group | Hours) -> bool:
    if broad == narrow:
        return True
    if not isinstance(broad, Asked) or not isinstance(narrow, Asked) or broad.attribute != narrow.attribute:
        return False
    return _covers_condition(broad.condition, narrow.condition)


def _covers_condition(broad: Condition, narrow: Condition) -> bool:
    """Whether every part of `broad` is in `narrow`, as it stands there or more narrowly."""
    if broad.matches not in (None, narrow.matches) or broad.present not in (None, narrow.present):
        return False
    if broad.one_of is not None and not _within(narrow.one_of, broad.one_of):
        return False
    if broad.none_of is not None and not (narrow.none_of and _within(broad.none_of, narrow.none_of)):
        return False
    return (broad.minimum is None or _not_less(narrow.minimum, broad.minimum)) and (
        broad.maximum is None or _not_less(broad.maximum, narrow.maximum)
    )


def _within(words: Iterable[str] | None, others: Iterable[str]) -> bool:
    return words is not None and _folded(words) <= _folded(others)


def _folded(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.strip().casefold() for word in words)


def _not_less(high: Limit | None, low: Limit | None) -> bool:
    if high is None or low is None or (high.kind, high.unit) != (low.kind, low.unit):
        return False
    return high.number >= low.number


# --- what never holds


def _never(when: When) -> Iterator[tuple[KeyPath, str]]:
    for each in when:
        if isinstance(each, Group):
            for number, branch in enumerate(each.branches):
                yield from (((each.how, number, *place), said) for place, said in _never(branch))
        elif isinstance(each, Asked):
            said = _contradiction(each.condition)
            if said:
                yield (each.attribute.key,), f"never holds: {said}"


def _contradiction(condition: Condition) -> str:
    low, high = condition.minimum, condition.maximum
    if low is not None and high is not None and _not_less(low, high) and not _not_less(high, low):
        return f"min {low} is above max {high}"
    if condition.one_of and condition.none_of and _within(condition.one_of, condition.none_of):
        return "all that it may be is under not as well"
    asks_for_words = condition.one_of is not None and "" not in _folded(condition.one_of)
    asks_for_more = condition.matches is not None or low is not None or high is not None
    if condition.present is False and (asks_for_words or asks_for_more):
        return "present is false, and a value is asked for"
    return ""


def _unlikely(when: When) -> Iterator[tuple[KeyPath, str]]:
    for each in when:
        if isinstance(each, Asked) and each.attribute.key == "Modality" and each.condition.one_of:
            words = [word for word in each.condition.one_of if word.strip().upper() in _NEVER_RADIOGRAPHS]
            if words:
                yield (
                    (each.attribute.key,),
                    f"images of {', '.join(words)} are declined before any rule is asked, "
                    "but for secondary captures",
                )
