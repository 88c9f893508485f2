"""Mending a header: a clean copy in which every value is one that its VR allows (PS3.5 section 6.2).

What a value means is never guessed: it is mended where there is one reading of it, else left out.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from mcads_node.report.characters import Characters, characters
from mcads_node.report.items import orderly
from mcads_node.report.values import LENGTH, MEND, enumerated, enumerated_number

#: what pydicom raises on a value that its VR does not allow
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OverflowError,
    EOFError,
    struct.error,
    BytesLengthException,
)

#: an identifier is whole or it is another one: too long, it is left out
_IDENTIFIERS: Final = frozenset(
    {
        "PatientID",
        "IssuerOfPatientID",
        "OtherPatientIDs",
        "AccessionNumber",
        "StudyID",
        "AdmissionID",
        "ServiceEpisodeID",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "CodeValue",
        "CodingSchemeDesignator",
    }
)

#: a length of zero is no length
_POSITIVE: Final = frozenset({"PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"})

#: VRs of bytes that may be any text: a writer that did not know the attribute, or said so
_BYTES: Final = ("OB", "OW", "UN", None)
#: VRs whose text is in the Specific Character Set (PS3.5 6.1.2.3)
_IN_SET: Final = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
#: VRs in which a backslash does not divide values
_UNDIVIDED: Final = ("LT", "ST", "UR", "UT")
#: Explicit VR has two bytes for the length of a text; longer, pydicom would write another VR
_LONGEST: Final = 0xFFFE
_SPECIFIC_CHARACTER_SET: Final = BaseTag(0x00080005)


def mended_copy(header: Dataset) -> Dataset:
    """Copy a header, leaving out what a result cannot carry and mending what can be.

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        However odd; its elements may still be undecoded. Not changed, but for decoding.

    Returns
    -------
    pydicom.dataset.Dataset
        Only public attributes of the dictionary with a non-empty, valid value; text as `str`.
    """
    with _silent_pydicom():
        return _mended(header, Characters())


@contextmanager
def _silent_pydicom() -> Iterator[None]:
    """Keep pydicom from warning of what is mended here: its log lines quote the value, which may be PHI."""
    logger = logging.getLogger("pydicom")
    logger.addFilter(_nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the signature of a log filter
    return False


def _mended(source: Dataset, inherited: Characters) -> Dataset:
    target = Dataset()
    declared = _element(source, _SPECIFIC_CHARACTER_SET)
    # PS3.5 7.5.3: an item without a character set of its own has that of the data set around it
    used = inherited if declared is None else characters(_values(declared.value))
    for tag in sorted(source.keys()):
        mended = _mended_element(source, tag, used) if _is_carried(tag) else None
        if mended is not None:
            target.add(mended)
    return target


def _is_carried(tag: BaseTag) -> bool:
    """Whether a result may carry it: nothing private, no group lengths, overlays, pixels or signatures.

    Nor a character set: text is `str` from here on, and the set of an item would contradict its object's.
    """
    if tag.is_private or tag.element == 0 or tag == _SPECIFIC_CHARACTER_SET:
        return False
    return 0x0008 <= tag.group < 0x5000 and dictionary_has_tag(tag)


def _element(source: Dataset, tag: BaseTag) -> DataElement | None:
    try:
        return source.get(tag)
    except _UNREADABLE:
        return None


def _mended_element(source: Dataset, tag: BaseTag, used: Characters) -> DataElement | None:
    keyword, vr, value = keyword_for_tag(tag), dictionary_VR(tag), None
    if vr in MEND:
        value = _mended_texts(tag, vr, _texts(source, tag, vr, used))
    elif (element := _element(source, tag)) is None:
        return None
    elif vr == "SQ":
        items = element.value if element.VR == "SQ" else ()
        value = orderly(keyword, [_mended(item, used) for item in items or ()]) or None
    elif element.VR in vr and not element.is_empty and _has_number(tag, element.VM):
        # binary values: what pydicom could read with the VR of the dictionary is right
        vr, value = element.VR, enumerated_number(keyword, element.value)
    if value is None:
        return None
    try:
        return DataElement(tag, vr, value, validation_mode=config.IGNORE)
    except _UNREADABLE:
        return None


def _texts(source: Dataset, tag: BaseTag, vr: str, used: Characters) -> list[str]:
    """Give the values of an attribute that is text, decoded: from the bytes, where they are still there."""
    value = _bytes(source, tag) if vr in _IN_SET else None
    if value is None:
        element = _element(source, tag)
        if element is None or element.VR == "SQ":
            return []
        value = element.value
    if not isinstance(value, bytes):
        of_set = [str(each) for each in _values(value)]
        return [used.restore(each, is_name=vr == "PN") for each in of_set] if vr in _IN_SET else of_set
    text = used.decode(value, is_name=vr == "PN") if vr in _IN_SET else value.decode("latin-1")
    return [text] if vr in _UNDIVIDED else text.split("\\")


def _bytes(source: Dataset, tag: BaseTag) -> bytes | None:
    try:
        element: DataElement | RawDataElement = source.get_item(tag)
    except _UNREADABLE:
        return None
    if isinstance(element, RawDataElement) and (element.VR in _BYTES or element.VR in MEND):
        return element.value or b""
    return None


def _mended_texts(tag: BaseTag, vr: str, texts: list[str]) -> Any:
    """Mend the values of an attribute whose VR is text; None where nothing is left."""
    keyword, mended = keyword_for_tag(tag), []
    for text in texts:
        if _is_cut_identifier(keyword, vr, text):
            continue
        one = enumerated(keyword, MEND[vr](text))
        if one:
            mended.append(one)
        elif _has_fixed_number(tag):
            return None
    return _as_many(tag, keyword, mended)


def _as_many(tag: BaseTag, keyword: str, mended: list[str]) -> Any:
    multiplicity = dictionary_VM(tag)
    if not mended:
        return None
    if multiplicity == "1":
        return mended[0]
    if not _has_number(tag, len(mended)):
        return None
    if keyword in _POSITIVE and any(float(value) <= 0 for value in mended):
        return None
    return _as_fit(mended)


def _as_fit(mended: list[str]) -> list[str]:
    """Keep as many values, from the first, as the length of an element can count."""
    ends = accumulate(len(value.encode()) + 1 for value in mended)
    return [value for value, end in zip(mended, ends, strict=True) if end - 1 <= _LONGEST]


def _has_number(tag: BaseTag, count: int) -> bool:
    multiplicity = dictionary_VM(tag)
    return not multiplicity.isdigit() or count == int(multiplicity)


def _has_fixed_number(tag: BaseTag) -> bool:
    """Whether values have places, so that one cannot be left out of the middle."""
    multiplicity = dictionary_VM(tag)
    return multiplicity != "1" and not multiplicity.endswith("n")


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (MultiValue, list, tuple)) else [value]


def _is_cut_identifier(keyword: str, vr: str, text: str) -> bool:
    return keyword in _IDENTIFIERS and len(text.strip()) > LENGTH.get(vr, 64)
