"""What an image's header, and the association it came on, say to a rule that asks."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from mcads_node.instance import Requestor


def fold(value: str) -> str:
    """Make upper and lower case the same, and take the padding off."""
    return value.strip(" \0").casefold()


def values_of(key: str, header: Dataset, requestor: Requestor) -> tuple[str | float, ...]:
    """Values of what a rule asks for; empty where it is absent or empty."""
    if key == "Requestor":
        return (requestor.ae_title,)
    if key == "CalledAETitle":
        return (requestor.called_ae_title,)
    value = header.get(key)
    if key == "PatientAge" and number_in(str(value or "")) is None:
        return _age_from_dates(header)
    if value is None:
        return ()
    several = value if isinstance(value, MultiValue | list) else (value,)
    # DS, IS and the binary numbers; a Decimal only where pydicom was told to use it
    return tuple(float(each) if isinstance(each, int | float | Decimal) else str(each) for each in several)


def number_in(value: str | float) -> float | None:
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
