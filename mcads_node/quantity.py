"""Numbers, ages, dates and times, as DICOM's value representations and administrators write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

#: days of each unit of an age string (PS3.5, AS); a year has twelve months exactly
_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}

PADDING = " \0"


class Kind(StrEnum):
    """As what two values are compared."""

    NUMBER = "number"
    #: completed units between birth and study
    AGE = "age"
    #: days; of a date and time, the day
    DATE = "date"
    #: seconds of the day
    TIME = "time"


@dataclass(frozen=True, kw_only=True)
class Age:
    """So many completed days, weeks, months or years."""

    count: int
    #: D, W, M or Y
    unit: str

    def completed(self, unit: str) -> int:
        """Give it in completed `unit`; one that is told in larger units counts from its beginning."""
        if unit == self.unit:
            return self.count
        if (self.unit, unit) == ("Y", "M"):
            return self.count * 12
        if (self.unit, unit) == ("M", "Y"):
            return self.count // 12
        return int(self.count * _DAYS[self.unit] // _DAYS[unit])


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The least or the greatest that a rule lets pass, itself included."""

    kind: Kind
    #: in the kind's own measure
    number: float
    #: of an age: D, W, M or Y
    unit: str = ""
    #: as it was written
    text: str

    def __str__(self) -> str:
        return self.text


def number_in(text: str) -> float | None:
    """Read a decimal number; None where it is none, or without bound."""
    stripped = text.strip(PADDING)
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", stripped, re.ASCII):
        return None
    number = float(stripped)
    return number if abs(number) != float("inf") else None


def age_in(text: str) -> Age | None:
    """Read an age string (PS3.5, AS: ``018Y``), also with fewer digits; bare digits are years."""
    digits = re.fullmatch(r"(\d{1,4})([DWMY]?)", text.strip(PADDING).upper(), re.ASCII)
    return Age(count=int(digits[1]), unit=digits[2] or "Y") if digits else None


def date_in(text: str) -> date | None:
    """Read ``20260131``, ``2026-01-31`` or ``2026.01.31``; of a date and time, the date."""
    digits = re.fullmatch(
        r"(\d{4})([-.]?)(\d{2})\2(\d{2})(?:[ T]?[\d:.]*(?:[+-]\d{4})?)", text.strip(PADDING), re.ASCII
    )
    try:
        return date(int(digits[1]), int(digits[3]), int(digits[4])) if digits else None
    except ValueError:
        return None


def time_in(text: str) -> float | None:
    """Read ``18:30``, ``1830``, ``183000.5`` as seconds of the day; None where it is no time."""
    found = re.fullmatch(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d{1,6})?)?)?", text.strip(PADDING), re.ASCII)
    if found is None:
        return None
    hours, minutes, seconds = (int(found[part] or 0) for part in (1, 2, 3))
    # a leap second is allowed (PS3.5, TM)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600 + minutes * 60 + seconds + float(found[4] or 0)


def completed_between(birth: date, then: date, unit: str) -> int:
    """Count completed days, weeks, months or years; `then` is not before `birth`."""
    if unit in "DW":
        return (then - birth).days // int(_DAYS[unit])
    months = (then.year - birth.year) * 12 + then.month - birth.month - (then.day < birth.day)
    return months if unit == "M" else months // 12
