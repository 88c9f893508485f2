"""Route: which rule of ``routes.yaml`` an image falls under, and what is then to be done with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from mcads_node.config import CHECKS, Condition, Rule
from mcads_node.instance import Declined, Requestor, Verdict


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
            _holds(condition, _values(key, header, requestor)) for key, condition in rule.when.items()
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
        )
    return Declined(reason="no rule of the routes matches")


def _holds(condition: Condition, values: tuple[str | float, ...]) -> bool:
    if condition.one_of is not None and not _any_of(condition.one_of, values):
        return False
    if condition.none_of is not None and _any_of(condition.none_of, values):
        return False
    if condition.minimum is None and condition.maximum is None:
        return True
    numbers = [number for number in map(_number, values) if number is not None]
    # a limit on a value that is absent or no number does not hold: a rule never matches on a guess
    return any(
        (condition.minimum is None or number >= condition.minimum)
        and (condition.maximum is None or number <= condition.maximum)
        for number in numbers
    )


def _any_of(words: Iterable[str], values: tuple[str | float, ...]) -> bool:
    return any(_same(word, value) for word in words for value in values or ("",))


def _same(word: str, value: str | float) -> bool:
    """Whether a word of a rule names a value: as a number where the attribute holds numbers, else as text."""
    return _number(word) == value if isinstance(value, float) else _fold(word) == _fold(value)


def _fold(value: str) -> str:
    return value.strip(" \0").casefold()


def _values(key: str, header: Dataset, requestor: Requestor) -> tuple[str | float, ...]:
    if key == "Requestor":
        return (requestor.ae_title,)
    if key == "CalledAETitle":
        return (requestor.called_ae_title,)
    value = header.get(key)
    if key == "PatientAge" and _number(str(value or "")) is None:
        return _age_from_dates(header)
    if value is None:
        return ()
    several = value if isinstance(value, MultiValue | list) else (value,)
    # DS, IS and the binary numbers; a Decimal only where pydicom was told to use it
    return tuple(float(each) if isinstance(each, int | float | Decimal) else str(each) for each in several)


def _number(value: str | float) -> float | None:
    """Read a number, or an age string (PS3.5 AS) as completed years."""
    if isinstance(value, float):
        return value
    text = value.strip(" \0")
    age = re.fullmatch(r"(\d{3})([DWMY])", text)
    if age:
        per_year = {"D": 365.25, "W": 52.1775, "M": 12, "Y": 1}[age[2]]
        return float(int(age[1]) // per_year)
    return float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text) else None


def _age_from_dates(header: Dataset) -> tuple[str, ...]:
    """Completed years between birth and study; nothing where either date is absent or not a date."""
    birth, study = (_date(str(header.get(keyword) or "")) for keyword in ("PatientBirthDate", "StudyDate"))
    if birth is None or study is None or study < birth:
        return ()
    return (str(study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day))),)


def _date(text: str) -> date | None:
    digits = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", text.strip())
    try:
        return date(*map(int, digits.groups())) if digits else None
    except ValueError:
        return None
