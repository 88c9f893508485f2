"""Names keep their letters: sets with escape sequences, sets unknown, not kept to, or not declared."""

from __future__ import annotations

import pytest
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from mcads_node.report.source import complete_header
from tests.odd_values import received_bytes

_LITHUANIAN = "Žukauskaitė^Rūta"
_CHINESE = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"
_KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"
_CYRILLIC = b"M\xfcller^\x1b-L\xb0\xdd\xe2\xde\xdd^J\xfcrgen"

_NAMES = [
    ("\\ISO 2022 IR 58", _CHINESE, "Zhang^XiaoDong=张^小东"),
    ("ISO 2022 IR 6\\ISO 2022 IR 58", _CHINESE, "Zhang^XiaoDong=张^小东"),
    # an escape sequence names its set, whether declared or not
    ("", _CHINESE, "Zhang^XiaoDong=张^小东"),
    ("ISO_IR 100", _CHINESE, "Zhang^XiaoDong=张^小东"),
    ("\\ISO 2022 IR 149", _KOREAN, "Hong^Gildong=洪^吉洞"),
    ("\\ISO 2022 IR 999", _KOREAN, "Hong^Gildong=洪^吉洞"),
    ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    ("GBK", "Wang^XiaoDong=王^小东".encode("gbk"), "Wang^XiaoDong=王^小东"),
    # a caret ends the reach of an escape sequence
    ("ISO 2022 IR 100\\ISO 2022 IR 144", _CYRILLIC, "Müller^Антон^Jürgen"),
    ("ISO_IR 999", _LITHUANIAN.encode(), _LITHUANIAN),
    ("ISO_IR 999", "Müller".encode("latin-1"), "Müller"),
    ("ISO_IR 999\\ISO 2022 IR 58", _LITHUANIAN.encode(), _LITHUANIAN),
    ("ISO_IR 192", _LITHUANIAN.encode(), _LITHUANIAN),
    ("ISO_IR 192", "Müller^André".encode("latin-1"), "Müller^André"),
    ("ISO_IR 192", b"Smith^Andr\xe9", "Smith^André"),
    ("ISO_IR 192", _KOREAN, "Hong^Gildong=洪^吉洞"),
    # UTF-8 that was cut to a number of bytes, within a letter
    ("ISO_IR 192", "Žukauskaitė".encode()[:-1], "Žukauskait"),
    ("", "Žukauskaitė".encode()[:-1], "Žukauskait"),
    ("ISO_IR 100", "Müller".encode("latin-1"), "Müller"),
    ("ISO_IR 100", "Müller".encode(), "MÃ¼ller"),
]


@pytest.mark.parametrize("vr", ["PN", "OB", "UN"])
@pytest.mark.parametrize(("declared", "value", "name"), _NAMES)
def test_names_are_decoded_from_their_bytes(declared: str, value: bytes, name: str, vr: str) -> None:
    source = received_bytes(
        Dataset(), {"PatientName": vr}, SpecificCharacterSet=declared.encode(), PatientName=value
    )
    assert str(complete_header(source).PatientName) == name
    # the first reading leaves the bytes to the second
    assert isinstance(source.get_item("PatientName"), RawDataElement)
    assert str(complete_header(source).PatientName) == name


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("declared", "value", "name"),
    # what pydicom cannot decode, or decodes past a caret, it decodes for good
    [case for case in _NAMES if case[0] != "ISO_IR 192" and case[1] != _CYRILLIC],
)
def test_names_that_pydicom_decoded_already_are_put_right(declared: str, value: bytes, name: str) -> None:
    source = received_bytes(
        Dataset(), SpecificCharacterSet=declared.encode(), PatientName=value, StudyDescription=value
    )
    assert source.PatientName is not None
    assert source.StudyDescription is not None
    completed = complete_header(source)
    assert str(completed.PatientName) == name
    assert completed.StudyDescription == name


def test_identifiers_and_lists_of_a_binary_vr_are_text() -> None:
    source = received_bytes(
        Dataset(),
        {"PatientID": "UN", "OtherPatientNames": "OB"},
        PatientID=b"4711 ",
        OtherPatientNames=b"A^B\\C^D ",
    )
    source["AccessionNumber"] = DataElement(Tag("AccessionNumber"), "OB", b"A17\0")
    completed = complete_header(source)
    assert (completed.PatientID, completed.AccessionNumber) == ("4711", "A17")
    assert [str(name) for name in completed.OtherPatientNames] == ["A^B", "C^D"]


def test_a_sequence_in_the_place_of_a_text_says_nothing() -> None:
    source = Dataset()
    source["StudyDescription"] = DataElement(Tag("StudyDescription"), "SQ", [Dataset()])
    assert "StudyDescription" not in complete_header(source)
