"""Whether a rule's conditions hold, and why: one function decides, and what it found is the explanation.

A condition holds, fails, or cannot be decided, since a value cannot be read. The last is neither: the
opposite of what cannot be decided cannot be decided either (Kleene's logic). No rule matches on a guess.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mcads_node import pattern
from mcads_node.config import Asked, Attribute, Condition, Fact, Group, Hours, When
from mcads_node.quantity import Kind, Limit, date_in, number_in, time_in
from mcads_node.route.values import Answer, Subject, Value, age_of, ages_in, answer_to, fold, shown

_PATIENT_AGE = 0x00101010


class Outcome(StrEnum):
    """How a condition came out."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "cannot be decided"


@dataclass(frozen=True, kw_only=True)
class Term:
    """One thing that was asked, and how it came out."""

    #: such as ``Modality is CR or DX``; of a group: any, all or none
    asked: str
    outcome: Outcome
    #: what was found, empty where nothing was: it may tell of a patient, and is never logged
    found: str = ""
    #: of a group
    terms: tuple[Term, ...] = ()

    def undecided(self) -> Iterator[Term]:
        """Give the terms in it that could not be decided, groups resolved."""
        if self.outcome is Outcome.UNDECIDED:
            yield from (each for term in self.terms for each in term.undecided()) if self.terms else (self,)


def evaluate(when: When, subject: Subject) -> Term:
    """Hold all conditions of a rule against an image.

    Returns
    -------
    Term
        A group ``all`` with a term for each thing that was asked, in the order of the file.
    """
    terms = tuple(term for each in when for term in _terms(each, subject))
    return Term(asked="all", outcome=_all(terms), terms=terms)


def _all(terms: Sequence[Term]) -> Outcome:
    outcomes = {term.outcome for term in terms}
    if Outcome.FAILS in outcomes:
        return Outcome.FAILS
    return Outcome.UNDECIDED if Outcome.UNDECIDED in outcomes else Outcome.HOLDS


def _any(terms: Sequence[Term]) -> Outcome:
    outcomes = {term.outcome for term in terms}
    if Outcome.HOLDS in outcomes:
        return Outcome.HOLDS
    return Outcome.UNDECIDED if Outcome.UNDECIDED in outcomes else Outcome.FAILS


def _none(terms: Sequence[Term]) -> Outcome:
    return _not(_any(terms))


def _not(outcome: Outcome) -> Outcome:
    opposite = {Outcome.HOLDS: Outcome.FAILS, Outcome.FAILS: Outcome.HOLDS}
    return opposite.get(outcome, Outcome.UNDECIDED)


_GROUPS: dict[str, Callable[[Sequence[Term]], Outcome]] = {"all": _all, "any": _any, "none": _none}


def _terms(each: Asked | Group | Hours, subject: Subject) -> Iterator[Term]:
    if isinstance(each, Group):
        branches = tuple(_branch(branch, subject) for branch in each.branches)
        yield Term(asked=each.how, outcome=_GROUPS[each.how](branches), terms=branches)
    elif isinstance(each, Hours):
        moment = subject.circumstances.received_at
        outcome = Outcome.HOLDS if each.holds(moment) else Outcome.FAILS
        yield Term(asked=f"Time is {each}", outcome=outcome, found=each.told(moment))
    else:
        yield from _attribute_terms(each.attribute, each.condition, subject)


def _branch(when: When, subject: Subject) -> Term:
    """Write a branch of one term as that term."""
    term = evaluate(when, subject)
    return term.terms[0] if len(term.terms) == 1 else term


def _attribute_terms(asked: Attribute, condition: Condition, subject: Subject) -> Iterator[Term]:
    answer = answer_to(asked, subject)

    def term(said: str, outcome: Outcome) -> Term:
        decided = Outcome.UNDECIDED if answer.unreadable else outcome
        return Term(asked=f"{asked} {said}", outcome=decided, found=shown(answer))

    same = _same_address if asked.fact is Fact.REQUESTOR_ADDRESS else _same
    if condition.one_of is not None:
        yield term(f"is {_or(condition.one_of)}", _found(condition.one_of, answer, same))
    if condition.none_of is not None:
        yield term(f"is not {_or(condition.none_of)}", _not(_found(condition.none_of, answer, same)))
    if condition.matches is not None:
        yield term(f"matches {condition.matches!r}", _matches(condition.matches, answer))
    if condition.minimum is not None or condition.maximum is not None:
        yield _range(asked, condition, answer, subject)
    if condition.present is not None:
        is_as_asked = answer.is_there == condition.present
        said = "has a value" if condition.present else "has no value"
        yield term(said, Outcome.HOLDS if is_as_asked else Outcome.FAILS)


def _or(words: Iterable[str]) -> str:
    return " or ".join(word or '""' for word in words)


def _found(words: Iterable[str], answer: Answer, same: Callable[[str, Value], bool]) -> Outcome:
    values = answer.values or ("",)
    is_found = any(same(word, value) for word in words for value in values)
    return Outcome.HOLDS if is_found else Outcome.FAILS


def _same(word: str, value: Value) -> bool:
    """Whether a word of a rule names a value: as a number where the attribute holds numbers, else as text."""
    return number_in(word) == value if isinstance(value, float) else fold(word) == fold(value)


def _same_address(word: str, value: Value) -> bool:
    network = ipaddress.ip_network(word, strict=False)
    try:
        address = ipaddress.ip_address(str(value))
    except ValueError:
        return False
    # one that came in through IPv6's form for IPv4 is the same machine
    mapped = getattr(address, "ipv4_mapped", None)
    return address in network or (mapped is not None and mapped in network)


def _matches(expression: str, answer: Answer) -> Outcome:
    texts = (value if isinstance(value, str) else f"{value:.15g}" for value in answer.values)
    is_found = answer.is_there and any(pattern.found_in(expression, text.strip()) for text in texts)
    return Outcome.HOLDS if is_found else Outcome.FAILS


def _range(asked: Attribute, condition: Condition, answer: Answer, subject: Subject) -> Term:
    limits = [limit for limit in (condition.minimum, condition.maximum) if limit is not None]
    columns = [_measured(limit, asked, answer, subject) for limit in limits]
    said = " and ".join(
        f"is {word} {limit}"
        for word, limit in (("at least", condition.minimum), ("at most", condition.maximum))
        if limit is not None
    )
    found = shown(answer)
    if asked.path == (_PATIENT_AGE,) and not answer.is_there:
        found = shown(columns[0].answer) + (" by the birth date" if columns[0].numbers else "")
    unreadable = any(column.answer.unreadable or None in column.numbers for column in columns)
    outcome = Outcome.UNDECIDED if unreadable else Outcome.FAILS
    # one value lies within both limits: of several values, not one within this and another within that
    for numbers in zip(*(column.numbers for column in columns), strict=False):
        if None not in numbers and _within(condition, numbers):
            outcome = Outcome.HOLDS
    return Term(asked=f"{asked} {said}", outcome=outcome, found=found)


@dataclass(frozen=True, kw_only=True)
class _Column:
    """An attribute's values in the measure of a limit; None where one cannot be read so."""

    answer: Answer
    numbers: tuple[float | None, ...]


def _measured(limit: Limit, asked: Attribute, answer: Answer, subject: Subject) -> _Column:
    if limit.kind is Kind.AGE and asked.path == (_PATIENT_AGE,):
        answer = age_of(subject, limit.unit)
        return _Column(answer=answer, numbers=tuple(_number(value) for value in answer.values))
    if limit.kind is Kind.AGE:
        ages = (None if age is None else float(age.completed(limit.unit)) for age in ages_in(answer))
        return _Column(answer=answer, numbers=tuple(ages))
    told = [value for value in answer.values if not isinstance(value, str) or fold(value)]
    return _Column(answer=answer, numbers=tuple(_READERS[limit.kind](value) for value in told))


def _within(condition: Condition, numbers: Sequence[float | None]) -> bool:
    remaining = list(numbers)
    if condition.minimum is not None:
        lowest = remaining.pop(0)
        if lowest is None or lowest < condition.minimum.number:
            return False
    if condition.maximum is None:
        return True
    highest = remaining.pop(0)
    return highest is not None and highest <= condition.maximum.number


def _number(value: Value) -> float | None:
    return value if isinstance(value, float) else number_in(value)


def _day(value: Value) -> float | None:
    day = date_in(str(value))
    return None if day is None else float(day.toordinal())


def _clock(value: Value) -> float | None:
    return time_in(str(value))


_READERS: dict[Kind, Callable[[Value], float | None]] = {
    Kind.NUMBER: _number,
    Kind.DATE: _day,
    Kind.TIME: _clock,
}
