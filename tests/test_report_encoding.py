"""Data sets are encoded as pydicom encodes them, byte for byte."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from mcads_node.report.encoding import Fixed, encoded_elements, encoded_file

#: attributes of the VRs that are written here, and of such as are left to pydicom
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), max_size=20)
UIDS = st.from_regex(r"[1-9][0-9]{0,5}(\.[1-9][0-9]{0,9}){1,4}", fullmatch=True)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "StudyDescription": TEXTS,
    "AccessionNumber": TEXTS.map(lambda text: text[:16]),
    "ImageComments": TEXTS,
    "TextValue": TEXTS,
    "OtherPatientIDs": st.lists(st.sampled_from(["Ž1", "b", "cc"]), max_size=3),
    "PatientName": st.sampled_from(["", "Žukauskaitė^Rūta", "A^B=漢^字"]),
    "ImageType": st.lists(st.sampled_from(["DERIVED", "OTHER", "X"]), min_size=1, max_size=4),
    "StudyInstanceUID": UIDS,
    "StudyDate": st.sampled_from(["", "20240506"]),
    "StudyTime": st.sampled_from(["", "215500", "215500.123"]),
    "PatientWeight": st.sampled_from(["", "71.5", 71.5, 3]),
    "PixelSpacing": st.lists(st.sampled_from(["0.1", "0.143"]), min_size=2, max_size=2),
    "InstanceNumber": st.integers(0, 9999),
    "Rows": st.integers(0, 65535),
    "FloatingPointValue": st.floats(allow_nan=False),
    "SmallestImagePixelValue": st.integers(0, 999),
    "PixelRepresentation": st.just(0),
}


def items(depth: int) -> st.SearchStrategy[Dataset]:
    optional: dict[Any, st.SearchStrategy[Any]] = dict(VALUES)
    if depth:
        optional["ContentSequence"] = st.lists(items(depth - 1), max_size=2)
        optional["ConceptNameCodeSequence"] = st.lists(items(0).map(Fixed.of), max_size=1)
    return st.fixed_dictionaries({}, optional=optional).map(of_values)


def of_values(values: dict[str, Any]) -> Dataset:
    dataset = Dataset()
    # its VR depends on it
    for keyword in sorted(values, key=lambda name: name != "PixelRepresentation"):
        if keyword != "SmallestImagePixelValue" or "PixelRepresentation" in values:
            setattr(dataset, keyword, values[keyword])
    return dataset


@settings(max_examples=40, deadline=None)
@given(dataset=items(2), pixels=st.none() | st.binary(max_size=5).map(lambda data: data * 2))
def test_a_file_is_what_pydicom_writes(dataset: Dataset, pixels: bytes | None) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, UID("1.2.3")
    if pixels is not None:
        dataset.BitsAllocated, dataset.PixelData = 8, pixels
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("1.2.4")
    written = encoded_file(meta, dataset)
    dataset.file_meta = meta
    expected = io.BytesIO()
    dcmwrite(expected, dataset, enforce_file_format=True)
    assert written == expected.getvalue()


def test_a_text_too_long_for_its_length_is_left_to_pydicom() -> None:
    """It has rules of its own for that; a text of any length has 32 bits for it."""
    dataset = Dataset()
    dataset.TextValue = "x" * 70_001
    assert len(encoded_elements(dataset)) == 12 + 70_002


def test_what_is_fixed_is_never_changed() -> None:
    item = Dataset()
    item.CodeValue = "A"
    fixed = Fixed.of(item)
    with pytest.raises(TypeError, match="change a copy"):
        fixed.CodeValue = "B"
    around = Dataset()
    around.ConceptCodeSequence = [fixed]
    assert encoded_elements(around).endswith(b"SH\x02\x00A ")
