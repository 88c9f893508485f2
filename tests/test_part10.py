"""Bytes to data sets: with and without preamble, whole and as a header."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mcads_node.errors import InstanceUnreadable
from mcads_node.read import radiograph as read
from tests.encodings import data_set, headerless, part10, picture
from tests.reading import LOSSLESS, expected, radiograph_of, reason_of


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("character_set", ["", "ISO_IR 100"])
def test_headerless(syntax: str, character_set: str) -> None:
    ds = data_set(picture(), bits_stored=8)
    if character_set:
        ds.SpecificCharacterSet = character_set
    found = read.read_dataset(headerless(ds, syntax))
    assert found.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_allclose(read.read_radiograph(found).pixels, expected(), atol=1e-3)


def test_meta_without_preamble_and_meta_without_transfer_syntax() -> None:
    whole = part10(data_set(picture(), bits_stored=8))
    np.testing.assert_allclose(radiograph_of(whole[132:]).pixels, expected(), atol=1e-3)
    bare = b"\0" * 128 + b"DICM" + headerless(data_set(picture(), bits_stored=8), ExplicitVRLittleEndian)
    np.testing.assert_allclose(radiograph_of(bare).pixels, expected(), atol=1e-3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x00",
        b"hello, this is a text file\n" * 20,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"%PDF-1.7\n" + b"x" * 500,
        b"\xff\xd8\xff\xe0" + bytes(500),
        bytes(1000),
        b"\x08\x00\x05\x00" + bytes(500),
        b"\x08\x00\x16\x00" + b"\x04\x00\x00\x00" + b"abcd" * 100,
    ],
    ids=["empty", "2 bytes", "text", "PNG", "PDF", "JPEG", "zeros", "like a tag", "no UID"],
)
def test_not_dicom(data: bytes) -> None:
    assert "not DICOM" in reason_of(data)
    with pytest.raises(InstanceUnreadable, match="not DICOM"):
        read.read_header(data)


def test_a_prefix_alone_is_no_instance() -> None:
    assert "not DICOM" in reason_of(b"\0" * 128 + b"DICM")
    whole = part10(data_set(picture(), bits_stored=8))
    assert "not a DICOM instance" in reason_of(whole.replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x15\x00UI"))


@given(st.binary(max_size=400))
def test_random_bytes_are_not_dicom(data: bytes) -> None:
    with pytest.raises(InstanceUnreadable):
        read.read_dataset(data)


def test_read_header_is_header_of() -> None:
    for name in ("8 bit", "16 bit deflated", "8 bit big endian", "VOI LUT implicit", "16 bit JPEG 2000"):
        data = LOSSLESS[name]()
        header = read.read_header(data)
        assert "PixelData" not in header
        assert header == read.header_of(read.read_dataset(data))
        assert header.file_meta == read.read_dataset(data).file_meta


def test_a_header_holds_no_bulk_and_is_independent() -> None:
    ds = data_set(picture(), bits_stored=8)
    ds.add_new(0x60003000, "OW", bytes(1000))
    ds.add_new(0x50003000, "OW", bytes(1000))
    ds.IconImageSequence = Sequence([data_set(picture(8, 8), bits_stored=8)])
    ds.add_new(0x00190010, "LO", "A VENDOR")
    ds.add_new(0x00191001, "LO", "kept")
    ds.RequestAttributesSequence = Sequence([Dataset()])
    whole = read.read_dataset(part10(ds))
    header = read.header_of(whole)
    assert not any(tag in header for tag in (0x60003000, 0x50003000, 0x00880200, 0x7FE00010))
    assert header[0x00191001].value == "kept"
    header.PatientID = "changed"
    header.RequestAttributesSequence[0].ScheduledProcedureStepID = "changed"
    assert whole.PatientID == "SECRET-ID"
    assert "ScheduledProcedureStepID" not in whole.RequestAttributesSequence[0]


def test_a_header_leaves_out_what_no_one_can_read() -> None:
    data = part10(data_set(picture(), bits_stored=8, InstanceNumber="17", SeriesNumber="23"))
    header = read.read_header(data.replace(b"IS\x02\x0017", b"IS\x02\x00x7"))
    assert "InstanceNumber" not in header
    assert header.SeriesNumber == 23


def test_a_header_is_read_though_the_pixels_are_missing_or_cut() -> None:
    data = part10(data_set(picture(), bits_stored=8))
    assert read.read_header(data[:-2000]).Rows == 96
    with pytest.raises(InstanceUnreadable, match="truncated"):
        read.read_dataset(data[:-2000])


def test_values_against_the_standard_are_read_without_a_warning() -> None:
    data = part10(data_set(picture(), bits_stored=8, StudyDate="20200101"))
    data = data.replace(b"20200101", b"01.01.20").replace(b"CS\x02\x00CR", b"CS\x02\x00c!")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        header = radiograph_of(data).header
        assert header.StudyDate == "01.01.20"
