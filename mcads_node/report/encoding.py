"""Data sets as bytes, in Explicit VR Little Endian (PS3.5 section 7.1.2), as pydicom writes them but sooner.

A report is two thousand elements, nearly all of them short texts in sequences within sequences. pydicom asks
of each what any element of any data set might be; that was most of the time of a report. Here the common ones
are written directly, and everything else is left to pydicom. What never changes is encoded once: see `Fixed`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, Final, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import (
    correct_ambiguous_vr_element,
    write_data_element,
    write_file_meta_info,
)
from pydicom.multival import MultiValue
from pydicom.valuerep import AMBIGUOUS_VR

#: UTF-8 in pydicom's name, for what is left to it: text of every object is in ISO_IR 192
_PYTHON_UTF_8: Final = "utf8"
#: VRs of text in the Specific Character Set, and of text that is ASCII whatever that is
_IN_SET: Final = frozenset({"LO", "LT", "SH", "ST", "UT"})
_ASCII: Final = frozenset({"AE", "AS", "CS", "DA", "DT", "TM", "UI"})
_NUMBERS: Final = frozenset({"DS", "IS"})
#: VRs with a length of 32 bits, after two bytes that are reserved; of those that are written here
_LONG: Final = frozenset({"UT", "SQ", "OB", "OW"})
#: most bytes of a value with a length of 16 bits
_LONGEST: Final = 0xFFFE
_ITEM: Final = b"\xfe\xff\x00\xe0"
_PREAMBLE: Final = bytes(128)


class Fixed(Dataset):
    """An item that is never changed again, with the bytes that it is written as.

    It may stand in many sequences, of many objects: it costs its encoding once.
    """

    #: without the tag and the length of an item
    encoded: bytes

    @classmethod
    def of(cls, item: Dataset) -> Fixed:
        """Fix an item as it is now."""
        fixed = cls()
        fixed.update(item)
        fixed.encoded = encoded_elements(fixed)
        return fixed

    def __setitem__(self, key: Any, element: Any) -> None:
        """Put an element in while it is being made; raises TypeError afterwards."""
        if "encoded" in self.__dict__:
            raise TypeError("a fixed item is never changed, since others hold it too: change a copy")
        super().__setitem__(key, element)


def encoded_file(meta: FileMetaDataset, dataset: Dataset) -> bytes:
    """Encode a Part 10 file.

    Parameters
    ----------
    meta: pydicom.dataset.FileMetaDataset
        Complete; its transfer syntax is Explicit VR Little Endian.
    dataset: pydicom.dataset.Dataset
        Its Specific Character Set is ISO_IR 192. An ambiguous VR, such as that of Pixel Data, is resolved by
        what stands beside it.
    """
    beginning = DicomBytesIO()
    write_file_meta_info(beginning, meta, enforce_standard=True)
    return b"".join([_PREAMBLE, b"DICM", beginning.getvalue(), *_elements(dataset)])


def encoded_elements(dataset: Dataset) -> bytes:
    """Encode the elements of a data set, or of an item, in the order of their tags."""
    return b"".join(_elements(dataset))


def _elements(dataset: Dataset) -> Iterator[bytes]:
    """Give the bytes of each element, header and value by themselves: a large value is copied but once."""
    for tag, found in sorted(((int(tag), element) for tag, element in dataset.items()), key=itemgetter(0)):
        element = _definite(found, dataset)
        value = _value(element)
        if value is None:
            yield _left_to_pydicom(element)
            continue
        vr = element.VR.encode()
        if element.VR in _LONG:
            yield struct.pack("<HH2sxxI", tag >> 16, tag & 0xFFFF, vr, len(value))
        else:
            yield struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value))
        yield value


def _definite(found: DataElement | RawDataElement, dataset: Dataset) -> DataElement:
    """Decode an element where it is not decoded, and choose its VR where the dictionary leaves a choice."""
    element = dataset[found.tag] if isinstance(found, RawDataElement) else found
    if element.VR not in AMBIGUOUS_VR:
        return element
    return cast(DataElement, correct_ambiguous_vr_element(element, dataset, is_little_endian=True))


def _value(element: DataElement) -> bytes | None:
    """Encode what an element says, padded to an even length; None where it is not one of the common ones."""
    vr, value = element.VR, element.value
    if element.is_undefined_length:
        return None
    if vr == "SQ":
        return b"".join(_items(value))
    if vr in ("OB", "OW"):
        return value if type(value) is bytes and len(value) % 2 == 0 else None
    text = _text(vr, value)
    if text is None or not (vr in _IN_SET or text.isascii()):
        return None
    encoded = text.encode()
    if len(encoded) % 2:
        encoded += b"\0" if vr == "UI" else b" "
    return encoded if vr in _LONG or len(encoded) <= _LONGEST else None


def _text(vr: str, value: Any) -> str | None:
    if vr in _NUMBERS:
        return _number(value)
    if vr not in _IN_SET and vr not in _ASCII:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, MultiValue) and all(isinstance(each, str) for each in value):
        return "\\".join(value)
    return None


def _number(value: Any) -> str | None:
    """Write a number as text, in the words that it was given in."""
    if isinstance(value, MultiValue) or value is None or value == "":
        return None
    return str(getattr(value, "original_string", value))


def _items(items: Iterable[Dataset] | None) -> Iterator[bytes]:
    for item in items or ():
        encoded = item.encoded if isinstance(item, Fixed) else encoded_elements(item)
        yield _ITEM + struct.pack("<I", len(encoded))
        yield encoded


def _left_to_pydicom(element: DataElement) -> bytes:
    written = DicomBytesIO()
    written.is_little_endian, written.is_implicit_VR = True, False
    write_data_element(written, element, _PYTHON_UTF_8)
    return written.getvalue()
