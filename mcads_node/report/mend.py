"""Mending a header: a clean copy in which every value is one that its VR allows (PS3.5 section 6.2).

What a value means is never guessed: it is mended where there is one reading of it, else left out.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from mcads_node.report.values import LENGTH, MEND, enumerated

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

#: what an item must hold to be an item; others are left out
_ITEM_NEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ReferencedStudySequence": ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),
        "ReferencedPatientSequence": ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),
        "OtherPatientIDsSequence": ("PatientID", "TypeOfPatientID"),
    }
)


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
        return _mended(header, _undeclared_characters(header))


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


def _undeclared_characters(header: Dataset) -> bool:
    """Whether the header declares no character set beyond ASCII, so that any other byte is unexplained."""
    declared = _element(header, BaseTag(0x00080005))
    values = _values(declared.value) if declared is not None else []
    return all(str(value).strip() in ("", "ISO_IR 6", "ISO 2022 IR 6") for value in values)


def _mended(source: Dataset, undeclared: bool) -> Dataset:
    target = Dataset()
    for tag in sorted(source.keys()):
        if not _is_carried(tag):
            continue
        element = _element(source, tag)
        mended = None if element is None else _mended_element(element, undeclared)
        if mended is not None:
            target.add(mended)
    return target


def _is_carried(tag: BaseTag) -> bool:
    """Whether a result may carry it: nothing private, no group lengths, overlays, pixels or signatures."""
    if tag.is_private or tag.element == 0:
        return False
    return 0x0008 <= tag.group < 0x5000 and dictionary_has_tag(tag)


def _element(source: Dataset, tag: BaseTag) -> DataElement | None:
    try:
        return source.get(tag)
    except _UNREADABLE:
        return None


def _mended_element(element: DataElement, undeclared: bool) -> DataElement | None:
    keyword = keyword_for_tag(element.tag)
    vr = dictionary_VR(element.tag)
    if vr == "SQ":
        value = _mended_items(keyword, element.value, undeclared) if element.VR == "SQ" else []
    elif vr in MEND:
        value = _mended_texts(keyword, vr, element, undeclared)
    elif element.VR in vr and not element.is_empty:
        # binary values: what pydicom could read with the VR of the dictionary is right
        vr, value = element.VR, element.value
    else:
        value = None
    if value is None or value == []:
        return None
    try:
        return DataElement(element.tag, vr, value, validation_mode=config.IGNORE)
    except _UNREADABLE:
        return None


def _mended_items(keyword: str, items: Any, undeclared: bool) -> list[Dataset]:
    mended = [_mended(item, undeclared) for item in items or ()]
    return [item for item in mended if len(item) and _is_item(keyword, item)]


def _is_item(keyword: str, item: Dataset) -> bool:
    if keyword.endswith("CodeSequence"):
        named = any(word in item for word in ("CodeValue", "LongCodeValue", "URNCodeValue"))
        return (
            named and "CodeMeaning" in item and ("URNCodeValue" in item or "CodingSchemeDesignator" in item)
        )
    return all(word in item for word in _ITEM_NEEDS.get(keyword, ()))


def _mended_texts(keyword: str, vr: str, element: DataElement, undeclared: bool) -> Any:
    """Mend the values of an attribute whose VR is text; None where nothing is left."""
    if isinstance(element.value, bytes):
        return None
    mended = []
    for value in _values(element.value):
        text = str(value)
        if undeclared:
            text = _as_utf8(text)
        if _is_cut_identifier(keyword, vr, text):
            continue
        one = enumerated(keyword, MEND[vr](text))
        if one:
            mended.append(one)
        elif _has_fixed_number(element.tag):
            return None
    return _as_many(element.tag, keyword, mended)


def _as_many(tag: BaseTag, keyword: str, mended: list[str]) -> Any:
    multiplicity = dictionary_VM(tag)
    if not mended:
        return None
    if multiplicity == "1":
        return mended[0]
    if multiplicity.isdigit() and len(mended) != int(multiplicity):
        return None
    if keyword in _POSITIVE and any(float(value) <= 0 for value in mended):
        return None
    return mended


def _has_fixed_number(tag: BaseTag) -> bool:
    """Whether values have places, so that one cannot be left out of the middle."""
    multiplicity = dictionary_VM(tag)
    return multiplicity != "1" and not multiplicity.endswith("n")


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (MultiValue, list, tuple)) else [value]


def _as_utf8(text: str) -> str:
    """Read text as UTF-8 that was decoded as Latin-1 for want of a declared character set."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _is_cut_identifier(keyword: str, vr: str, text: str) -> bool:
    return keyword in _IDENTIFIERS and len(text.strip()) > LENGTH.get(vr, 64)
