"""From bytes to a data set: Part 10 files (PS3.10 section 7), and files without their preamble and meta.

pydicom would force any bytes into a data set. Here bytes without the ``DICM`` prefix are a data set only if
they parse, in one of the three native encodings, from group 0002 or 0008 up to a valid SOP Class UID; and a
data set that ends before its last value does is refused as truncated.
"""

from __future__ import annotations

import copy
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset as parse
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import is_valid_uid
from mcads_node.read.attributes import PYDICOM_ERRORS, first_value, named, odd_data_expected

#: a deflated data set may not grow beyond this, so that a small file cannot exhaust the memory
MAX_INFLATED_BYTES = 256 * 2**20
#: … nor its header beyond this
MAX_INFLATED_HEADER_BYTES = 16 * 2**20

_UNDEFINED_LENGTH = 0xFFFFFFFF

#: values that two elements may share
_IMMUTABLE = (str, bytes, int, float, type(None))

StopWhen = Callable[[BaseTag, str | None, int], bool]


def read_dataset(data: bytes) -> Dataset:
    """Parse a whole instance.

    Parameters
    ----------
    data
        A Part 10 file, or a bare data set in a native transfer syntax.

    Returns
    -------
    Dataset
        With ``file_meta``, in which the Transfer Syntax UID is always set. Values are converted when used.

    Raises
    ------
    InstanceUnreadable
        Not DICOM, truncated, or so malformed that it cannot be parsed.
    """
    return _read(data, None, MAX_INFLATED_BYTES)


def read_header(data: bytes) -> Dataset:
    """Parse an instance up to its pixel data, which may be missing or broken; otherwise as `header_of`.

    Raises
    ------
    InstanceUnreadable
        Not DICOM, truncated before the pixel data, or so malformed that it cannot be parsed.
    """
    return read_header_and_gaps(data)[0]


def read_header_and_gaps(data: bytes) -> tuple[Dataset, frozenset[int]]:
    """Parse as `read_header` does, and give the tags that are left out since their bytes are no value.

    Raises
    ------
    InstanceUnreadable
        As `read_header`.
    """
    ds = _read(data, _is_pixel_group, MAX_INFLATED_HEADER_BYTES)
    header = header_of(ds)
    return header, frozenset(int(tag) for tag in ds.keys() if not _is_bulk(tag) and tag not in header)  # noqa: SIM118


def header_of(ds: Dataset) -> Dataset:
    """Copy a data set without its pixel data, overlays, curves and icon.

    Every value of the copy has been converted, so that no later reader of the header meets a malformed one:
    an element whose bytes are no value of its VR is left out.

    Returns
    -------
    Dataset
        Independent of `ds`; with its ``file_meta``, if it has one.
    """
    header = Dataset()
    implicit, little = ds.original_encoding
    # before the values: they are converted by it
    header.set_original_encoding(implicit, little, ds.original_character_set)
    with odd_data_expected():
        for tag in ds.keys():  # noqa: SIM118 - a Dataset iterates over converted elements, not over tags
            if not _is_bulk(tag):
                _copy_element(ds, tag, header)
        if hasattr(ds, "file_meta"):
            header.file_meta = copy.deepcopy(ds.file_meta)
    return header


def _copy_element(ds: Dataset, tag: BaseTag, header: Dataset) -> None:
    """Put a copy of one element into `header`, if its bytes are a value of its VR."""
    try:
        held: DataElement | RawDataElement = ds.get_item(tag)
        if isinstance(held, RawDataElement):
            # bytes, which both may have: each converts them for itself
            header[tag] = held
            # text not of the declared character set is lost where pydicom decodes it
            legible = _is_text(held) or _is_legible(header[tag])
        else:
            header[tag] = copy.copy(held) if isinstance(held.value, _IMMUTABLE) else copy.deepcopy(held)
            legible = _is_legible(held)
    except PYDICOM_ERRORS:
        legible = False
    if not legible:
        header.pop(tag, None)


def _read(data: bytes, stop_when: StopWhen | None, limit: int) -> Dataset:
    try:
        with odd_data_expected():
            # of all pydicom's warnings this one hides a lost value: the pixel data's last fragments
            warnings.filterwarnings("error", message="End of file reached", category=UserWarning)
            ds = _parse_file(data, stop_when, limit)
    except (EOFError, UserWarning) as error:
        raise InstanceUnreadable("truncated: the data set ends within a value of undefined length") from error
    except PYDICOM_ERRORS as error:
        raise InstanceUnreadable(
            f"the data set cannot be parsed ({type(error).__name__}): damaged or truncated"
        ) from error
    _refuse_truncated(ds)
    with odd_data_expected():
        is_instance = is_valid_uid(str(first_value(ds, "SOPClassUID") or ""))
    if not is_instance:
        raise InstanceUnreadable(f"{named('SOPClassUID')} is absent or not a UID: not a DICOM instance")
    return ds


def _parse_file(data: bytes, stop_when: StopWhen | None, limit: int) -> Dataset:
    has_prefix = data[128:132] == b"DICM"
    stream = BytesIO(data)
    stream.seek(132 if has_prefix else 0)
    meta = FileMetaDataset()
    if has_prefix or data[:4] in (b"\x02\x00\x00\x00", b"\x02\x00\x01\x00", b"\x02\x00\x02\x00"):
        meta = FileMetaDataset(parse(stream, False, True, stop_when=_is_after_meta))
        _refuse_truncated(meta)
    syntax = UID(str(meta.get("TransferSyntaxUID") or "").strip(" \0"))
    if not syntax:
        syntax = _native_syntax_of(data[stream.tell() :])
        meta.TransferSyntaxUID = syntax
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = BytesIO(_inflate(data[stream.tell() :], limit))
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    ds = parse(stream, implicit, little, stop_when=stop_when)
    ds.file_meta = meta
    return ds


def _native_syntax_of(data: bytes) -> UID:
    """Tell the encoding of a data set without Transfer Syntax UID, or that it is none.

    Group 0008 opens every composite instance, and its SOP Class UID lies close behind; no other kind of file
    gets that far in this grammar.
    """
    candidates = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
    for syntax in candidates:
        if data[:2] != (b"\x08\x00" if syntax.is_little_endian else b"\x00\x08"):
            continue
        try:
            start = parse(
                BytesIO(data), syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_is_after_sop_class
            )
            found = is_valid_uid(str(start.get("SOPClassUID") or ""))
        except PYDICOM_ERRORS:
            found = False
        # pydicom corrects a wrong guess of the VR by itself: then the other candidate is the right one
        if found and start.original_encoding == (syntax.is_implicit_VR, syntax.is_little_endian):
            return syntax
    raise InstanceUnreadable(
        "not DICOM: no 'DICM' prefix at byte 128, nor a data set that begins with a SOP Class UID (0008,0016)"
    )


def _inflate(deflated: bytes, limit: int) -> bytes:
    # DICOM deflates without a zlib header (PS3.5 A.5)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, limit)
    whole = limit >= MAX_INFLATED_BYTES
    if whole and inflater.unconsumed_tail:
        raise InstanceUnreadable(f"the deflated data set inflates to more than {limit // 2**20} MiB")
    if whole and not inflater.eof:
        raise InstanceUnreadable("the deflated data set ends early: truncated")
    return inflated


def _refuse_truncated(ds: Dataset) -> None:
    for tag in ds.keys():  # noqa: SIM118 - a Dataset iterates over converted elements, not over tags
        try:
            element: DataElement | RawDataElement = ds.get_item(tag)
        except PYDICOM_ERRORS:
            continue  # empty, with a VR that does not exist: whoever needs the value will say so
        if not isinstance(element, RawDataElement) or element.length == _UNDEFINED_LENGTH:
            continue
        there = len(element.value or b"")
        if there < element.length:
            raise InstanceUnreadable(
                f"truncated: ({tag.group:04X},{tag.element:04X}) declares {element.length} bytes, "
                f"of which {there} are there"
            )


def _is_after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 0x0002


def _is_after_sop_class(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag > 0x00080016 or tag >> 16 != 0x0008


def _is_pixel_group(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag >> 16 >= 0x7FE0


def _is_text(element: RawDataElement) -> bool:
    """Whether an element is text in the Specific Character Set (PS3.5 6.1.2.3): any bytes are legible."""
    vr = element.VR
    if vr is None and dictionary_has_tag(element.tag):
        vr = dictionary_VR(element.tag)
    return vr in ("LO", "LT", "PN", "SH", "ST", "UC", "UT")


def _is_legible(element: DataElement) -> bool:
    """Whether a value is one of its VR; raises one of pydicom's errors where items cannot be parsed."""
    if element.VR == "SQ":
        return all(_is_legible(nested) for item in element.value for nested in item)
    if element.VR in ("DS", "IS"):
        # what is no number pydicom leaves as text
        values = element.value if element.VM > 1 else [element.value]
        return not any(isinstance(value, str) and value for value in values)
    return True


def _is_bulk(tag: BaseTag) -> bool:
    repeating = tag.group & 0xFF00
    bulk_group = tag.group >= 0x7FE0 or (repeating in (0x5000, 0x6000) and not tag.group % 2)
    return bulk_group or tag == 0x00880200
