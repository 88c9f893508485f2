"""Copying rules: odd values cost an attribute, never a result; names survive in any alphabet."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from time import tzset
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import validate_value

from mcads_node.product import IMPLEMENTATION_CLASS_UID, MANUFACTURER, MODEL_NAME
from mcads_node.report.source import (
    COPIED,
    TYPE_2,
    complete_header,
    copy_patient_and_study,
    copy_request_attributes,
    finish,
    referenced_requests,
    stamp_dates,
    stamp_equipment,
)
from tests.headers import header
from tests.report_samples import ALGORITHM, CONTEXT, as_received, bare, full
from tests.shared_data import data_dir

KEYWORDS = sorted({keyword for keywords in COPIED.values() for keyword in keywords})
TEXT_KEYWORDS = [keyword for keyword in KEYWORDS if dictionary_VR(keyword) not in ("SQ", "US", "UL", "FD")]


def _received(values: Mapping[str, bytes]) -> Dataset:
    """Read a header whose elements are exactly these bytes, in implicit VR."""
    encoded = b""
    for tag, value in sorted(
        (Tag(tag_for_keyword(keyword) or 0), value) for keyword, value in values.items()
    ):
        encoded += struct.pack("<HHL", tag.group, tag.element, len(value)) + value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydicom's, of a character set that it does not know
        return pydicom.dcmread(BytesIO(encoded), force=True)


def _named(value: bytes, declared: str | None) -> Dataset:
    character_set = {} if declared is None else {"SpecificCharacterSet": declared.encode()}
    return _received({**character_set, "Modality": b"DX", "PatientName": value})


@pytest.mark.parametrize(
    ("keyword", "found", "mended"),
    [
        ("PatientSex", "M", "M"),
        ("PatientSex", "f", "F"),
        ("PatientSex", "Female", "F"),
        ("PatientSex", "U", ""),
        ("PatientSex", "W", ""),
        ("PatientAge", "063Y", "063Y"),
        ("PatientAge", "63Y", "063Y"),
        ("PatientAge", "81", None),
        ("PatientAge", "0631Y", None),
        ("StudyDate", "20240506", "20240506"),
        ("StudyDate", "1993.02.24", "19930224"),
        ("StudyDate", "1993-02-24", "19930224"),
        ("StudyDate", "24.02.1993", ""),
        ("StudyDate", "20240231", ""),
        ("StudyDate", "20240101-20240201", ""),
        ("PatientBirthDate", "unknown", ""),
        ("PatientBirthDate", "00000000", ""),
        ("StudyTime", "17:58:00", "175800"),
        ("StudyTime", "175800.123456", "175800.123456"),
        ("StudyTime", "175800.123456789", "175800.123456"),
        ("StudyTime", "2575", ""),
        ("StudyTime", "noon", ""),
        ("PatientName", "Vardenis^Jonas^Petras^dr.^PhD", "Vardenis^Jonas^Petras^dr.^PhD"),
        ("PatientName", "A^B^C^D^E^F^G", "A^B^C^D^E F G"),
        ("PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("PatientName", "A=B=C=D", "A=B=C"),
        ("PatientName", "Jonas Vardenis", "Jonas Vardenis"),
        ("PatientName", "^^^^", ""),
        ("PatientName", "Z" * 100 + "^Jonas", "Z" * 64),
        ("StudyDescription", "x" * 90, "x" * 64),
        ("StudyDescription", "two\r\nlines", "two  lines"),
        ("StudyDescription", ["CHEST", "PA"], "CHEST"),
        # cut, it would be another patient's, or another order
        ("PatientID", "4" * 65, ""),
        ("PatientID", "  4711 ", "4711"),
        ("AccessionNumber", "2024-000000000017", ""),
        ("PatientWeight", "71.5", 71.5),
        ("TimezoneOffsetFromUTC", "+0300", "+0300"),
        ("TimezoneOffsetFromUTC", "EEST", None),
        ("TimezoneOffsetFromUTC", "+9900", None),
        ("StudyInstanceUID", "1.2.840.1", "1.2.840.1"),
        ("StudyInstanceUID", "1.02.3", None),
        ("StudyInstanceUID", "1.2.x", None),
        ("StudyInstanceUID", "", None),
        ("StudyInstanceUID", "1." + "2" * 63, None),
    ],
)
def test_odd_values_are_mended_or_left_out(keyword: str, found: Any, mended: Any) -> None:
    given_header = header(SpecificCharacterSet="ISO_IR 192", **{keyword: found})
    completed = complete_header(given_header)
    if mended is None:
        assert keyword not in completed
    else:
        assert completed[keyword].value == mended


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 101", "Łukasiewicz^Żaneta"),
        ("ISO_IR 144", "Чехов^Антон"),
        ("ISO_IR 110", "Žukauskaitė^Rūta"),
        ("ISO_IR 192", "Žukauskaitė^Rūta"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (["ISO 2022 IR 100", "ISO 2022 IR 144"], "Müller^Чехов"),
    ],
)
def test_names_keep_their_letters(character_set: str | list[str], name: str) -> None:
    source = bare()
    source.SpecificCharacterSet = character_set
    source.PatientName = name
    source.OtherPatientIDsSequence = [header(PatientID="7", TypeOfPatientID="TEXT")]
    received = as_received(source)
    assert isinstance(received.get_item("PatientName"), RawDataElement), "not yet decoded"
    target = Dataset()
    copy_patient_and_study(complete_header(received), target)
    assert str(target.PatientName) == name
    reread = as_received(target)
    assert reread.SpecificCharacterSet == "ISO_IR 192"
    assert reread.get_item("PatientName").value.rstrip(b" ") == name.encode()


@pytest.mark.parametrize(
    ("value", "declared", "name"),
    [
        ("Žukauskaitė^Rūta".encode(), None, "Žukauskaitė^Rūta"),
        ("Žukauskaitė^Rūta".encode(), "ISO_IR 6", "Žukauskaitė^Rūta"),
        ("Müller^Jürgen".encode("latin-1"), None, "Müller^Jürgen"),
        ("Müller^Jürgen".encode("latin-1"), "ISO IR 100", "Müller^Jürgen"),
        ("Müller^Jürgen".encode("latin-1"), "KLINGON", "Müller^Jürgen"),
    ],
)
def test_undeclared_and_misspelt_character_sets(value: bytes, declared: str | None, name: str) -> None:
    assert str(complete_header(_named(value, declared)).PatientName) == name


def test_values_that_cannot_even_be_read_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    completed = complete_header(
        _received({"PatientWeight": b"seventy", "PregnancyStatus": b"abc", "PatientBirthDate": b"Vardenis"})
    )
    assert not {"PatientWeight", "PregnancyStatus"} & set(completed.dir())
    assert completed.PatientBirthDate == ""
    assert caplog.text == "", "pydicom's warnings quote the value, which may be a patient's"


def test_what_is_absent_and_type_2_is_empty() -> None:
    completed = complete_header(Dataset())
    assert [keyword for keyword in TYPE_2 if completed[keyword].value not in ("", None)] == []
    assert set(completed.keys()) == {
        Tag(tag_for_keyword(word) or 0) for word in (*TYPE_2, "SpecificCharacterSet")
    }


def test_nothing_private_no_pixels_no_signature_no_group_length() -> None:
    source = full()
    block = source.private_block(0x0011, "VENDOR", create=True)
    block.add_new(0x01, "LO", "secret")
    source.RequestAttributesSequence[0].private_block(0x0041, "VENDOR", create=True).add_new(1, "LO", "x")
    source.add_new(0x00080000, "UL", 100)
    source.add_new(0x60003000, "OW", b"\0\0")
    source.add_new(0x7FE00010, "OW", b"\0\0")
    source.add_new(0xFFFAFFFA, "SQ", [Dataset()])
    completed = complete_header(source)
    odd = [
        element.tag for element in completed.iterall() if element.tag.is_private or element.tag.element == 0
    ]
    assert odd == []
    assert max(completed.keys()).group < 0x5000


def test_the_source_is_left_as_it_was() -> None:
    source = header(PatientSex="U", PatientAge="81", PatientName="a")
    before = str(source)
    complete_header(source)
    assert str(source) == before


def test_modules_are_copied_whole() -> None:
    source = full()
    for keyword in KEYWORDS:
        if keyword not in source and dictionary_VR(keyword) in ("LO", "SH", "LT", "PN"):
            setattr(source, keyword, "Ą b")
    # of an animal, and what comes with a person
    source.update(
        header(
            PatientSexNeutered="ALTERED",
            ResponsiblePersonRole="OWNER",
            PatientBreedCodeSequence=[header(CodeValue="1", CodingSchemeDesignator="SCT", CodeMeaning="a")],
            BreedRegistrationSequence=[
                header(
                    BreedRegistrationNumber="1",
                    BreedRegistryCodeSequence=[
                        header(CodeValue="1", CodingSchemeDesignator="SCT", CodeMeaning="a")
                    ],
                )
            ],
        )
    )
    target = Dataset()
    copy_patient_and_study(complete_header(source), target)
    for keyword in KEYWORDS:
        assert (keyword in target) == (keyword in source), keyword
        if keyword in source:
            assert target[keyword].value == source[keyword].value, keyword
    assert "PixelSpacing" not in target


def test_retired_other_patient_ids_are_carried_over() -> None:
    completed = complete_header(header(OtherPatientIDs=["26210", "B7"]))
    assert [item.PatientID for item in completed.OtherPatientIDsSequence] == ["26210", "B7"]
    assert all(item.TypeOfPatientID == "TEXT" for item in completed.OtherPatientIDsSequence)


def test_items_that_say_nothing_are_left_out() -> None:
    half = header(CodeValue="168731009", CodingSchemeDesignator="SCT")
    whole = header(CodeValue="168731009", CodingSchemeDesignator="SCT", CodeMeaning="Chest X-ray")
    nowhere = header(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1")
    completed = complete_header(
        header(ProcedureCodeSequence=[half, whole], ReferencedStudySequence=[nowhere], PatientName="a")
    )
    assert [item.CodeMeaning for item in completed.ProcedureCodeSequence] == ["Chest X-ray"]
    assert "ReferencedStudySequence" not in completed


def test_requests_go_where_the_object_has_a_place_for_them() -> None:
    completed = complete_header(full())
    image = Dataset()
    copy_request_attributes(completed, image)
    assert image.RequestAttributesSequence[0].RequestedProcedureID == "RP1"
    (item,) = referenced_requests(completed)
    assert item.StudyInstanceUID == completed.StudyInstanceUID
    assert item.AccessionNumber == "A2024-17"
    assert item.PlacerOrderNumberImagingServiceRequest == ""
    assert len(referenced_requests(complete_header(bare()))) == 0


def test_equipment_says_who_made_the_object() -> None:
    target = Dataset()
    stamp_equipment(target, ALGORITHM)
    (item,) = target.ContributingEquipmentSequence
    purpose = item.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109102", "DCM")
    assert item.DeviceUID == ALGORITHM.device_uid
    for equipment in (target, item):
        assert equipment.Manufacturer == MANUFACTURER
        assert equipment.ManufacturerModelName == MODEL_NAME
        assert equipment.SoftwareVersions == ALGORITHM.version


@pytest.mark.parametrize(
    ("offset", "date", "time"),
    [("+0300", "20240507", "010304"), ("-0330", "20240506", "183304"), (None, "20240507", "030304")],
)
def test_times_are_in_the_zone_of_the_source_else_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, offset: str | None, date: str, time: str
) -> None:
    monkeypatch.setenv("TZ", "UTC-5")  # POSIX: five hours ahead
    tzset()
    target = Dataset()
    if offset:
        target.TimezoneOffsetFromUTC = offset
    stamp_dates(target, CONTEXT)
    monkeypatch.undo()
    tzset()
    assert (target.ContentDate, target.ContentTime) == (date, time)
    assert target.get("TimezoneOffsetFromUTC") == offset
    moment = datetime.strptime(target.SeriesDate + target.SeriesTime + (offset or "+0500"), "%Y%m%d%H%M%S%z")
    assert moment == CONTEXT.series_started


def test_a_finished_object_is_a_part_10_file_and_always_the_same() -> None:
    target = Dataset()
    copy_patient_and_study(complete_header(full()), target)
    target.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    target.SOPInstanceUID = "2.25.1"
    data = finish(target)
    assert data == finish(target)
    assert "file_meta" not in target.__dict__ or not target.file_meta
    read = pydicom.dcmread(BytesIO(data))
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert read.file_meta.MediaStorageSOPInstanceUID == "2.25.1"


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(TEXT_KEYWORDS), st.binary(max_size=80), max_size=6),
    st.sampled_from([None, "ISO_IR 100", "ISO_IR 192", "ISO 2022 IR 87", "\\ISO 2022 IR 87", "nonsense"]),
)
def test_any_bytes_give_a_header_that_can_be_written(values: dict[str, bytes], declared: str | None) -> None:
    character_set = {} if declared is None else {"SpecificCharacterSet": declared.encode()}
    received = _received({**character_set, "Modality": b"DX", **values})
    completed = complete_header(received)
    assert complete_header(completed) == completed
    target = Dataset()
    copy_patient_and_study(completed, target)
    target.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    target.SOPInstanceUID = "2.25.1"
    assert set(pydicom.dcmread(BytesIO(finish(target))).keys()) == set(target.keys())
    for element in completed:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, str(value) if element.VR in ("DS", "IS") else value, config.RAISE)


@pytest.mark.parametrize(
    ("file", "name", "dropped"),
    [
        ("CR-MONO1-10-chest_fuji_headerless.dcm", "Anonymized", []),
        ("nema_RG1_J2KI.dcm", "CompressedSamples^RG1", ["PixelSpacing"]),
        ("nhsx_google_nih_dx.dcm", "Covid0000", ["PatientAge"]),
    ],
)
def test_real_headers(file: str, name: str, dropped: list[str]) -> None:
    source = pydicom.dcmread(data_dir() / "dicom" / file, force=True, stop_before_pixels=True)
    completed = complete_header(source)
    assert str(completed.PatientName) == name
    lost = [e.keyword for e in source if not e.is_empty and e.tag.element and e.tag not in completed]
    # not in the standard's dictionary with the VR that the file gives it
    assert set(lost) - {"PixelAspectRatio"} == set(dropped)
