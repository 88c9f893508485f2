"""The walk to the identifying UIDs: what it finds, and that nothing from the network can break it."""

from __future__ import annotations

import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import dcmread
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from mcads_node.errors import InstanceUnreadable
from mcads_node.receive.identifiers import Identifiers, read_identifiers
from tests.part10_files import data_set_bytes, radiograph
from tests.shared_data import data_dir

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def nested(depth: int, *, undefined: bool) -> Dataset:
    """Make a data set with sequences before and around UIDs that must not be taken for its own."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.StudyInstanceUID = "1.9.1", "1.9.2", "1.9.3"
    if depth:
        ds.ReferencedStudySequence = Sequence([nested(depth - 1, undefined=undefined), Dataset()])
        ds["ReferencedStudySequence"].is_undefined_length = undefined
        for item in ds.ReferencedStudySequence:
            item.is_undefined_length_sequence_item = undefined
    return ds


def encode(ds: Dataset, syntax: UID) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(stream, ds)
    data = stream.getvalue()
    if syntax.is_deflated:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
    return data


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_identifiers_of_the_data_set_itself_are_found(syntax: UID, undefined: bool) -> None:
    ds = nested(3, undefined=undefined)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.StudyInstanceUID = "1.2.1", "1.2.22", "1.2.333"
    expected = Identifiers(sop_class_uid="1.2.1", sop_instance_uid="1.2.22", study_instance_uid="1.2.333")
    assert read_identifiers(encode(ds, syntax), syntax) == expected


def test_what_comes_after_the_study_is_not_looked_at() -> None:
    data = encode(nested(0, undefined=False), ExplicitVRLittleEndian)
    assert (
        read_identifiers(data + b"\xe0\x7f\x10\x00garbage", ExplicitVRLittleEndian).study_instance_uid
        == "1.9.3"
    )


def test_absent_identifiers_are_empty() -> None:
    ds = Dataset()
    ds.Modality = "DX"
    found = read_identifiers(encode(ds, ImplicitVRLittleEndian), ImplicitVRLittleEndian)
    assert found == Identifiers(sop_class_uid="", sop_instance_uid="", study_instance_uid="")


def test_a_sequence_in_un_is_walked_as_implicit() -> None:
    inner = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + encode(nested(0, undefined=False), ImplicitVRLittleEndian)
    inner += b"\xfe\xff\x0d\xe0\x00\x00\x00\x00" + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    unknown = b"\x09\x00\x10\x10UN\x00\x00\xff\xff\xff\xff" + inner
    study = b"\x20\x00\x0d\x00UI\x04\x001.2\x00"
    assert read_identifiers(unknown + study, ExplicitVRLittleEndian).study_instance_uid == "1.2"


@pytest.mark.parametrize(
    ("data", "syntax", "reason"),
    [
        (b"", ExplicitVRLittleEndian, "empty"),
        (b"\x08\x00\x16", ExplicitVRLittleEndian, "ends within an element"),
        (b"\x08\x00\x16\x00", ExplicitVRLittleEndian, "the end"),
        (
            b"\x08\x00\x16\x00\x1a\x00\x00\x001.2",
            ExplicitVRLittleEndian,
            "expected a VR at byte 4, found 1a00",
        ),
        (b"\x08\x00\x16\x00UI\x08\x001.2", ExplicitVRLittleEndian, "(0008,0016) at byte 0 claims 8 bytes"),
        (b"\xfe\xff\x0d\xe0\x00\x00\x00\x00", ExplicitVRLittleEndian, "has not begun"),
        (b"\x08\x00\x10\x11\xff\xff\xff\xff", ImplicitVRLittleEndian, "within a sequence"),
        (b"not deflated", DeflatedExplicitVRLittleEndian, "not deflated"),
    ],
)
def test_what_is_no_data_set_is_said_to_be_none(data: bytes, syntax: UID, reason: str) -> None:
    with pytest.raises(InstanceUnreadable) as raised:
        read_identifiers(data, syntax)
    assert reason in str(raised.value)


def test_a_small_file_cannot_unfold_to_gigabytes() -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    assert len(bomb) < 100_000
    with pytest.raises(InstanceUnreadable):
        read_identifiers(bomb, DeflatedExplicitVRLittleEndian)


def test_deep_nesting_is_no_recursion() -> None:
    opened = b"\x08\x00\x10\x11\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(InstanceUnreadable, match="within a sequence"):
        read_identifiers(opened * 100_000, ImplicitVRLittleEndian)


@given(st.binary(max_size=400), st.sampled_from(SYNTAXES))
def test_any_bytes_are_identifiers_or_unreadable(data: bytes, syntax: UID) -> None:
    try:
        found = read_identifiers(data, syntax)
    except InstanceUnreadable:
        return
    assert isinstance(found, Identifiers)


@given(st.data(), st.sampled_from(SYNTAXES[:3]))
def test_a_damaged_data_set_is_identifiers_or_unreadable(draw: st.DataObject, syntax: UID) -> None:
    data = bytearray(encode(nested(2, undefined=True), syntax))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        read_identifiers(bytes(data), syntax)
    except InstanceUnreadable:
        return


def test_a_whole_radiograph() -> None:
    ds = radiograph()
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    found = read_identifiers(data_set_bytes(file.getvalue()), ExplicitVRLittleEndian)
    assert found.sop_instance_uid == ds.SOPInstanceUID
    assert found.study_instance_uid == ds.StudyInstanceUID


def test_real_files_agree_with_pydicom() -> None:
    checked = 0
    for path in sorted(data_dir().glob("dicom*/*.dcm")):
        data = path.read_bytes()
        if data[128:132] != b"DICM":
            continue
        ds = dcmread(path, stop_before_pixels=True)
        found = read_identifiers(data_set_bytes(data), ds.file_meta.TransferSyntaxUID)
        # as raw bytes: one of these files has a Study Instance UID that pydicom warns of
        raw = [
            ds.get_item(keyword).value for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")
        ]
        expected = [value.decode().rstrip("\0 ") for value in raw]
        assert [found.sop_class_uid, found.sop_instance_uid, found.study_instance_uid] == expected
        checked += 1
    assert checked >= 4
