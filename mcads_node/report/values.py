"""Mending one value: text in, a value that its VR allows out (PS3.5 section 6.2), or None."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from pydicom import config
from pydicom.uid import UID
from pydicom.valuerep import STR_VR_REGEXES

#: values of enumerated attributes that are read in one way only
_ENUMERATED: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "PatientSex": {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O"},
        "PatientIdentityRemoved": {"YES": "YES", "NO": "NO"},
        "QualityControlSubject": {"YES": "YES", "NO": "NO"},
        "SmokingStatus": {"YES": "YES", "NO": "NO", "UNKNOWN": "UNKNOWN"},
        "PatientSexNeutered": {"ALTERED": "ALTERED", "UNALTERED": "UNALTERED"},
        "TypeOfPatientID": {"TEXT": "TEXT", "RFID": "RFID", "BARCODE": "BARCODE"},
        "UniversalEntityIDType": {
            term: term for term in ("DNS", "EUI64", "ISO", "URI", "UUID", "X400", "X500")
        },
    }
)
#: the same, of numbers
_ENUMERATED_NUMBERS: Final[Mapping[str, range]] = MappingProxyType({"PregnancyStatus": range(1, 5)})


def enumerated(keyword: str, text: str | None) -> str | None:
    """Bring the value of an attribute with enumerated values to one of them."""
    if keyword == "TimezoneOffsetFromUTC" and text is not None:
        return text if re.fullmatch(r"[+-](0\d|1[0-4])[0-5]\d", text) and text != "-0000" else None
    if keyword not in _ENUMERATED or text is None:
        return text
    return _ENUMERATED[keyword].get(text.strip().upper())


def enumerated_number(keyword: str, value: Any) -> Any:
    """Leave out a number that is none of those enumerated."""
    known = _ENUMERATED_NUMBERS.get(keyword)
    return value if known is None or value in known else None


def _mend_line(text: str, length: int) -> str | None:
    """Text of one line: no control characters, no backslash, at most `length` characters."""
    line = "".join(character if character.isprintable() else " " for character in text).replace("\\", " ")
    return line.strip()[:length].rstrip() or None


def _mend_text(text: str, length: int) -> str | None:
    """Text of several lines."""
    kept = "".join(character for character in text if character.isprintable() or character in "\r\n\f\t")
    return kept.rstrip()[:length] or None


def _mend_name(text: str) -> str | None:
    """Person name: at most three groups (alphabetic, ideographic, phonetic) of five components."""
    groups = []
    for group in text.split("=")[:3]:
        components = [_mend_line(component, 64) or "" for component in group.split("^")]
        suffix = " ".join(filter(None, components[4:]))
        groups.append("^".join([*components[:4], suffix])[:64].rstrip("^ "))
    return "=".join(groups).rstrip("=") or None


def _mend_date(text: str) -> str | None:
    """Date: ``YYYYMMDD``, also from ACR-NEMA's ``YYYY.MM.DD`` (PS3.5 table 6.2-1) and ISO 8601's hyphens."""
    found = re.fullmatch(r"(\d{4})([.\-/]?)(\d{2})\2(\d{2})", text.strip(" \0"))
    if found is None:
        return None
    compact = "".join(found.group(1, 3, 4))
    try:
        datetime.strptime(compact, "%Y%m%d")
    except ValueError:
        return None
    return compact


def _mend_time(text: str) -> str | None:
    """Time: ``HHMMSS.FFFFFF``, also from ACR-NEMA's ``HH:MM:SS.frac``."""
    compact = text.strip(" \0").replace(":", "")
    compact = re.sub(r"^(\d{6}\.\d{6})\d+$", r"\1", compact).removesuffix(".")
    return compact if "-" not in compact and _matches("TM", compact) else None


def _mend_age(text: str) -> str | None:
    found = re.fullmatch(r"(\d{1,3})([DWMY])", text.strip(" \0").upper())
    return f"{int(found.group(1)):03d}{found.group(2)}" if found else None


def _mend_uid(text: str) -> str | None:
    uid = text.strip(" \0")
    return uid if uid and UID(uid, validation_mode=config.IGNORE).is_valid else None


def _mend_pattern(text: str, vr: str, length: int) -> str | None:
    compact = text.strip(" \0")
    return compact if compact and len(compact) <= length and _matches(vr, compact) else None


def _mend_code_string(text: str) -> str | None:
    return _mend_pattern(text.upper(), "CS", 16)


def _matches(vr: str, text: str) -> bool:
    return bool(text) and STR_VR_REGEXES[vr].match(text) is not None


#: greatest number of characters by VR
LENGTH: Final[Mapping[str, int]] = MappingProxyType(
    {
        "AE": 16,
        "DS": 16,
        "DT": 26,
        "IS": 12,
        "LO": 64,
        "LT": 10240,
        "SH": 16,
        "ST": 1024,
        "UC": 1 << 16,
        "UT": 1 << 20,
    }
)

#: text in, a value that the VR allows out, or None
MEND: Final[Mapping[str, Callable[[str], str | None]]] = MappingProxyType(
    {
        **{vr: partial(_mend_line, length=LENGTH[vr]) for vr in ("SH", "LO", "UC")},
        **{vr: partial(_mend_text, length=LENGTH[vr]) for vr in ("ST", "LT", "UT")},
        **{vr: partial(_mend_pattern, vr=vr, length=LENGTH[vr]) for vr in ("AE", "DS", "DT", "IS")},
        "UR": partial(_mend_pattern, vr="UR", length=1 << 12),
        "AS": _mend_age,
        "CS": _mend_code_string,
        "DA": _mend_date,
        "PN": _mend_name,
        "TM": _mend_time,
        "UI": _mend_uid,
    }
)
