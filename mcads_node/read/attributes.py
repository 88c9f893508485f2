"""Reading single attributes of a data set that others wrote: a value of the right type, or a clear refusal.

pydicom converts a value when it is first asked for, so each look-up may fail in ways that depend on the
bytes. Here, and in `mcads_node.read.part10`, those failures become `InstanceUnreadable`. Texts from the data
set are quoted only where they are code strings: anything else may be PHI that slipped into the wrong place.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from mcads_node.errors import InstanceUnreadable

# pydicom logs the values it stumbles over, which may be PHI; whatever matters is raised as an error here.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

#: what pydicom raises on malformed data: it has no root exception, and lets those of its parsing through
PYDICOM_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # with NotImplementedError and RecursionError
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_CODE_STRING = re.compile(r"[A-Z0-9_ ]{0,16}")


@contextmanager
def odd_data_expected() -> Iterator[None]:
    """Let pydicom read values that break the standard without a warning: many devices write them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")
        yield


def named(keyword: str) -> str:
    """Name an attribute for an administrator, such as ``Window Width (0028,1051)``."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"no keyword of the DICOM dictionary: {keyword}")
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def quoted(value: object) -> str:
    """Quote a number or a code string for an error text; of any other value say only that it is none."""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str) and _CODE_STRING.fullmatch(value):
        return f"'{value}'"
    return "not a code string"


def first_value(ds: Dataset, keyword: str) -> Any:
    """First value of an attribute; None where it is absent or empty.

    Raises
    ------
    InstanceUnreadable
        Where the bytes are no value of the attribute's VR.
    """
    try:
        with odd_data_expected():
            value = ds.get(keyword)
    except PYDICOM_ERRORS as error:
        raise InstanceUnreadable(f"{named(keyword)} cannot be read: its value does not fit its VR") from error
    if isinstance(value, (MultiValue, list, tuple)):
        value = value[0] if value else None
    return None if value is None or value in ("", b"") else value


def integer(ds: Dataset, keyword: str, low: int, high: int, default: int | None = None) -> int:
    """Whole number in `low` … `high`; `default`, if one is given, where the attribute is absent or empty.

    Raises
    ------
    InstanceUnreadable
        Where it is absent and has no default, is not a whole number, or lies outside.
    """
    value = first_value(ds, keyword)
    if value is None and default is not None:
        return default
    if value is None:
        raise InstanceUnreadable(f"{named(keyword)} is absent or empty, expected {low} to {high}")
    if not isinstance(value, int):
        raise InstanceUnreadable(f"{named(keyword)} is not a whole number, expected {low} to {high}")
    if not low <= value <= high:
        raise InstanceUnreadable(f"{named(keyword)} is {value}, expected {low} to {high}")
    return int(value)


def number(ds: Dataset, keyword: str, default: float | None = None) -> float:
    """Finite number; `default`, if one is given, where the attribute is absent or empty.

    Raises
    ------
    InstanceUnreadable
        Where it is absent and has no default, is not a number, or not finite.
    """
    value = first_value(ds, keyword)
    if value is None and default is not None:
        return default
    try:
        result = math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise InstanceUnreadable(f"{named(keyword)} is not a number, expected a finite decimal")
    return result


def code_string(ds: Dataset, keyword: str) -> str:
    """First value as text without padding, upper case; empty where absent. Never raises on a wrong type."""
    value = first_value(ds, keyword)
    return value.strip(" \0").upper() if isinstance(value, str) else ""


def first_item(ds: Dataset, keyword: str) -> Dataset | None:
    """First item of a sequence; None where it is absent or empty.

    Raises
    ------
    InstanceUnreadable
        Where the attribute is not a sequence, or its items cannot be parsed.
    """
    try:
        with odd_data_expected():
            value = ds.get(keyword)
    except PYDICOM_ERRORS as error:
        raise InstanceUnreadable(f"{named(keyword)} cannot be read: its items are broken") from error
    if value is None:
        return None
    if not isinstance(value, Sequence):
        raise InstanceUnreadable(f"{named(keyword)} is not a sequence of items")
    return value[0] if value else None
