"""What the header says against an image that was admitted: positive evidence only, silence says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

from pydicom.dataset import Dataset

from mcads_node.errors import InstanceUnreadable
from mcads_node.gate.fault import Fault
from mcads_node.instance import Radiograph, View
from mcads_node.read.attributes import (
    PYDICOM_ERRORS,
    code_string,
    first_value,
    named,
    odd_data_expected,
    quoted,
)
from mcads_node.read.body_part import BODY_PART_SOURCES, CHEST_WORDS, OTHER_PARTS, words_in

#: years; the models were trained on adults, with few exceptions
_ADULT: Final = 18
#: units of an age string (PS3.5, AS) in a year
_PER_YEAR: Final = {"D": 365.25, "W": 52.1775, "M": 12.0, "Y": 1.0}
#: longer side by shorter: beyond it a model that sees the middle square sees less than half
_LONGEST: Final = 2.0
#: Conversion Type (0008,0064) of what was not converted from a radiograph: workstation, synthetic, drawing,
#: scanned document, scanned image
_MADE_ELSEWHERE: Final = frozenset({"WSD", "SYN", "DRW", "SD", "SI"})
_VIEWS: Final = {
    View.LATERAL: "The view is lateral; the model reads frontal views.",
    View.OTHER: "The view is neither frontal nor lateral; the model reads frontal views.",
}


def header_faults(radiograph: Radiograph, size: int) -> Iterator[Fault]:
    """Give what the header says against an image.

    Parameters
    ----------
    radiograph
        Its header, view and matrix; pixels are not looked at.
    size
        Side of the model's input in pixels.
    """
    header = radiograph.header
    yield from _intent(header)
    yield from _derived(header)
    yield from _body_part(header)
    if radiograph.view in _VIEWS:
        yield Fault(check="view", reason=_VIEWS[radiograph.view])
    yield from _age(header)
    yield from _size(radiograph, size)
    yield from _photometric(header)
    yield from _burned_in(header)
    yield from _grey_levels(header)


def _intent(header: Dataset) -> Iterator[Fault]:
    """Pixels linear to the exposure were not processed for presentation (PS3.3 C.8.11.3.1.2)."""
    relationship = _code(header, "PixelIntensityRelationship")
    if relationship == "LIN" and _code(header, "PresentationIntentType") != "FOR PRESENTATION":
        reason = (
            f"{named('PixelIntensityRelationship')} is 'LIN': the image may be raw, not for presentation."
        )
        yield Fault(check="intent", reason=reason)


def _derived(header: Dataset) -> Iterator[Fault]:
    conversion = _code(header, "ConversionType")
    if conversion in _MADE_ELSEWHERE:
        reason = (
            f"{named('ConversionType')} is {quoted(conversion)}: the image may be a screen, a drawing or a "
            "document, not a radiograph."
        )
        yield Fault(check="derived", reason=reason)


def _body_part(header: Dataset) -> Iterator[Fault]:
    """One attribute says chest, so that the image was admitted, and another names something else."""
    for keyword in BODY_PART_SOURCES:
        try:
            with odd_data_expected():
                words = words_in(header, keyword)
        except PYDICOM_ERRORS:
            continue
        other = sorted(words & OTHER_PARTS)
        if other and not words & CHEST_WORDS:
            reason = f"{named(keyword)} says {other[0]}; the model reads the chest."
            yield Fault(check="body-part", reason=reason)
            return


def _age(header: Dataset) -> Iterator[Fault]:
    years = _years(header)
    if years is not None and years < _ADULT:
        yield Fault(check="age", reason=f"The patient is under {_ADULT} years old; the model reads adults.")


def _years(header: Dataset) -> int | None:
    """Completed years: Patient's Age, else between birth and study; None where neither is told."""
    age = re.fullmatch(r"(\d{3})([DWMY])", _text(header, "PatientAge").upper(), re.ASCII)
    if age:
        return int(int(age[1]) // _PER_YEAR[age[2]])
    birth, study = _date(header, "PatientBirthDate"), _date(header, "StudyDate")
    if birth is None or study is None or study < birth:
        return None
    return study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day))


def _size(radiograph: Radiograph, size: int) -> Iterator[Fault]:
    rows, columns = radiograph.pixels.shape
    shorter, longer = sorted((rows, columns))
    if shorter < size:
        reason = (
            f"The image has {rows} × {columns} pixels, fewer than the {size} × {size} that the model sees."
        )
        yield Fault(check="size", reason=reason)
    if longer > _LONGEST * shorter:
        share = shorter / longer
        reason = f"The image is long and narrow: the model sees only {share:.0%} of it, in the middle."
        yield Fault(check="size", reason=reason)


def _photometric(header: Dataset) -> Iterator[Fault]:
    """Compare Presentation LUT Shape with Photometric Interpretation.

    The DX Image module (PS3.3 C.8.11.3) ties them: IDENTITY with MONOCHROME2, INVERSE with MONOCHROME1, and
    neither asks for a second inversion. CR has no Presentation LUT Shape; where one is there all the same, it
    may be meant as in a presentation state, where it would decide alone. So a contradiction is not resolved.
    """
    shape = _code(header, "PresentationLUTShape")
    photometric = _code(header, "PhotometricInterpretation")
    expected = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    if shape not in ("", expected):
        reason = (
            f"{named('PresentationLUTShape')} is {quoted(shape)}, which contradicts "
            f"{named('PhotometricInterpretation')} {quoted(photometric)}: black and white may be exchanged."
        )
        yield Fault(check="photometric", reason=reason)


def _burned_in(header: Dataset) -> Iterator[Fault]:
    if _code(header, "BurnedInAnnotation") == "YES":
        reason = (
            f"{named('BurnedInAnnotation')} is 'YES': the model may take text in the image for a finding."
        )
        yield Fault(check="burned-in", reason=reason)


def _grey_levels(header: Dataset) -> Iterator[Fault]:
    """Say where the pixels are described as larger than the bits that are stored of them."""
    try:
        largest, bits = first_value(header, "LargestImagePixelValue"), first_value(header, "BitsStored")
    except InstanceUnreadable:
        return
    if isinstance(largest, int) and isinstance(bits, int) and bits > 0 and largest >> bits > 0:
        reason = (
            f"{named('LargestImagePixelValue')} is {largest}, more than {named('BitsStored')} {bits} "
            "can hold: the grey scale may be wrong."
        )
        yield Fault(check="grey-levels", reason=reason)


def _code(header: Dataset, keyword: str) -> str:
    try:
        return code_string(header, keyword)
    except InstanceUnreadable:
        return ""


def _text(header: Dataset, keyword: str) -> str:
    try:
        value = first_value(header, keyword)
    except InstanceUnreadable:
        return ""
    return "" if value is None else str(value).strip(" \0")


def _date(header: Dataset, keyword: str) -> date | None:
    digits = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", _text(header, keyword), re.ASCII)
    try:
        return date(*map(int, digits.groups())) if digits else None
    except ValueError:
        return None
