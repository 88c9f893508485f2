"""Each operator, on values as devices write them; what cannot be read decides nothing."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from mcads_node import phantom
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.route import Outcome, Route, Subject, judge, read_subject, route
from tests.headers import header
from tests.rules_samples import CAME, rule, subject


def outcome(when: Any, about: Subject) -> Outcome:
    (judged,) = judge(about, [rule("r", when)])
    return judged.term.outcome


YES, NO, UNKNOWN = Outcome.HOLDS, Outcome.FAILS, Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("asked", "attributes", "expected"),
    [
        # regular expressions: anywhere, upper and lower case the same, never in an absent value
        ({"ProtocolName": {"matches": "phantom"}}, {"ProtocolName": "QA PHANTOM 3"}, YES),
        ({"ProtocolName": {"matches": "^qa"}}, {"ProtocolName": "PHANTOM QA"}, NO),
        ({"ProtocolName": {"matches": ".*"}}, {}, NO),
        ({"ImageType": {"matches": "^prim"}}, {"ImageType": ["ORIGINAL", "PRIMARY"]}, YES),
        # presence
        ({"AccessionNumber": {"present": True}}, {"AccessionNumber": " "}, NO),
        ({"AccessionNumber": {"present": False}}, {"AccessionNumber": ""}, YES),
        ({"Rows": {"present": True}}, {"Rows": 10}, YES),
        # ages: completed units of the limit
        ({"PatientAge": {"max": "6M"}}, {"PatientAge": "027W"}, YES),
        ({"PatientAge": {"max": "6M"}}, {"PatientAge": "007M"}, NO),
        ({"PatientAge": {"max": "018Y"}}, {"PatientAge": "18"}, YES),
        ({"PatientAge": {"max": "12M"}}, {"PatientAge": "001Y"}, YES),
        ({"PatientAge": {"max": 17}}, {"PatientAge": "old"}, UNKNOWN),
        ({"PatientAge": {"max": 17}}, {"PatientAge": "old", "PatientBirthDate": "20200101"}, UNKNOWN),
        (
            {"PatientAge": {"max": "6M"}},
            {"PatientBirthDate": "20260101", "StudyDate": "20260630"},
            YES,
        ),
        ({"PatientAge": {"max": 17}}, {"PatientBirthDate": "2010", "StudyDate": "20260630"}, UNKNOWN),
        ({"PatientAge": {"max": 17}}, {"PatientBirthDate": "20270101", "StudyDate": "20260630"}, UNKNOWN),
        ({"PatientAge": {"max": 17}}, {}, NO),
        # dates and times
        ({"StudyDate": {"min": "2026-01-01"}}, {"StudyDate": "20260101"}, YES),
        ({"StudyDate": {"max": "20251231"}}, {"StudyDate": "2026.01.01"}, NO),
        ({"StudyDate": {"min": "2026-01-01"}}, {"StudyDate": "20261341"}, UNKNOWN),
        ({"AcquisitionDateTime": {"max": "2026-01-31"}}, {"AcquisitionDateTime": "20260131235959.5"}, YES),
        ({"StudyTime": {"min": "18:00", "max": "18:30"}}, {"StudyTime": "183000"}, YES),
        ({"StudyTime": {"max": "18:30"}}, {"StudyTime": "183000.5"}, NO),
        ({"StudyTime": {"min": "18:00"}}, {"StudyTime": "noon"}, UNKNOWN),
        # numbers: one value within both limits
        ({"KVP": {"min": 60, "max": 90}}, {"KVP": ["50", "130"]}, NO),
        ({"StationName": {"min": 3}}, {"StationName": "room"}, UNKNOWN),
        ({"StationName": {"min": 3}}, {"StationName": ["room", "4"]}, YES),
        # several operators: each must hold
        ({"StationName": {"is": ["A", "B"], "not": "B"}}, {"StationName": "B"}, NO),
        ({"StationName": {"is": ["A", "B"], "not": "B"}}, {"StationName": "a"}, YES),
        # tags
        ({"(0008,0060)": "DX"}, {"Modality": "DX"}, YES),
        ({"0008,0060": "CR"}, {"Modality": "DX"}, NO),
        # what the node knows
        ({"RequestorAddress": "10.0.0.0/8"}, {}, YES),
        ({"RequestorAddress": {"not": ["10.0.0.1", "192.168.0.0/16"]}}, {}, NO),
        ({"ImagesInStudy": {"min": 2}}, {}, YES),
        ({"ImagesInStudy": 3}, {}, NO),
        ({"View": "LATERAL"}, {"ViewPosition": "RL"}, YES),
        ({"View": {"not": ["LATERAL"]}}, {}, YES),
        ({"ViewsInStudy": "lateral"}, {"ViewPosition": "LL"}, YES),
        ({"all": [{"ViewsInStudy": "PA"}, {"ViewsInStudy": "LATERAL"}]}, {"ViewPosition": "LL"}, YES),
        ({"all": [{"ViewsInStudy": "PA"}, {"ViewsInStudy": "LATERAL"}]}, {"ViewPosition": "PA"}, NO),
        # groups
        ({"any": [{"Modality": "CR"}, {"Modality": "DX"}]}, {"Modality": "DX"}, YES),
        ({"any": [{"Modality": "CR", "StationName": "A"}, {"Modality": "DX"}]}, {"Modality": "CR"}, NO),
        ({"none": [{"ProtocolName": {"matches": "qa"}}]}, {"ProtocolName": "CHEST"}, YES),
        ({"none": [{"ProtocolName": {"matches": "qa"}}, {"PatientID": "QA"}]}, {"PatientID": "qa"}, NO),
        # a group over what cannot be decided
        ({"any": [{"PatientAge": {"max": 17}}, {"Modality": "DX"}]}, {"PatientAge": "old"}, UNKNOWN),
        (
            {"any": [{"PatientAge": {"max": 17}}, {"Modality": "DX"}]},
            {"PatientAge": "old", "Modality": "DX"},
            YES,
        ),
        ({"none": [{"PatientAge": {"max": 17}}]}, {"PatientAge": "old"}, UNKNOWN),
        ({"PatientAge": {"max": 17}, "Modality": "CR"}, {"PatientAge": "old", "Modality": "DX"}, NO),
    ],
    ids=str,
)
def test_conditions(asked: dict[str, Any], attributes: dict[str, object], expected: Outcome) -> None:
    assert outcome(asked, subject(**attributes)) is expected


def test_an_attribute_within_a_sequence_is_that_of_any_item() -> None:
    items = [header(CodeValue="A"), header(CodeValue="B", CodingSchemeDesignator="99LOCAL")]
    about = subject(RequestedProcedureCodeSequence=items)
    assert outcome({"RequestedProcedureCodeSequence.CodeValue": "b"}, about) is YES
    assert outcome({"RequestedProcedureCodeSequence.CodeValue": {"not": "B"}}, about) is NO
    assert outcome({"RequestedProcedureCodeSequence.(0008,0102)": "99LOCAL"}, about) is YES
    assert outcome({"RequestedProcedureCodeSequence": {"present": True}}, about) is YES
    assert outcome({"RequestedProcedureCodeSequence.CodeValue": "A"}, subject()) is NO
    assert outcome({"RequestedProcedureCodeSequence": {"present": False}}, subject()) is YES


def test_a_private_attribute_is_asked_of_by_its_number_as_written() -> None:
    about = subject()
    about.header.add_new(0x00191010, "UN", b"ER ")
    about.header.add_new(0x00191011, "UN", b"\xff\xfe")
    assert outcome({"(0019,1010)": "er"}, about) is YES
    assert outcome({"(0019,1011)": {"not": "er"}}, about) is UNKNOWN
    assert outcome({"(0019,1012)": {"not": "er"}}, about) is YES


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ({"zone": "Europe/Vilnius", "days": "sat"}, YES),
        ({"zone": "UTC", "days": ["sat", "sun"]}, NO),
        ({"zone": "UTC", "days": "mon-fri", "from": "22:30"}, YES),
        ({"zone": "UTC", "from": "18:00", "to": "22:30"}, NO),
        # a night belongs to the day it begins on: at half past midnight on Saturday it is Friday's
        ({"zone": "Europe/Vilnius", "days": "fri", "from": "18:00", "to": "07:00"}, YES),
        ({"zone": "Europe/Vilnius", "days": "sat", "from": "18:00", "to": "07:00"}, NO),
        ({"zone": "Europe/Vilnius", "days": "sat-mon", "to": "07:00"}, YES),
    ],
    ids=str,
)
def test_times(hours: dict[str, Any], expected: Outcome) -> None:
    assert outcome({"Time": hours}, subject()) is expected


def test_hours_follow_the_clock_of_the_zone_through_the_change_of_time() -> None:
    def at(moment: datetime) -> Subject:
        came = Circumstances(requestor=CAME.requestor, received_at=moment)
        return Subject(header=Dataset(), circumstances=came)

    # 29 March 2026: clocks in Vilnius go from 03:00 to 04:00, which is 01:00 UTC
    when = {"Time": {"zone": "Europe/Vilnius", "from": "04:00", "to": "05:00"}}
    assert outcome(when, at(datetime(2026, 3, 29, 0, 59, tzinfo=UTC))) is NO
    assert outcome(when, at(datetime(2026, 3, 29, 1, 0, tzinfo=UTC))) is YES


# --- what cannot be read


@pytest.mark.parametrize(
    "asked", ["A", {"not": "A"}, {"matches": "A"}, {"present": True}, {"present": False}], ids=str
)
def test_nothing_is_concluded_from_an_attribute_that_cannot_be_read(asked: Any) -> None:
    assert outcome({"StationName": asked}, subject(("StationName",))) is UNKNOWN


def test_the_view_is_unknown_where_what_tells_it_cannot_be_read() -> None:
    about = subject(("ViewCodeSequence",), ViewPosition="PA")
    assert outcome({"View": {"not": ["LATERAL"]}}, about) is UNKNOWN


def test_a_rule_that_cannot_be_decided_declines_if_it_declines_and_analyses_nothing() -> None:
    children = rule("children", {"PatientAge": {"max": 17}}, decline="not for children")
    adults = rule("adults", {"PatientAge": {"not": "017Y"}})
    everything = rule("everything", {})
    about = subject(PatientAge="Jonas 5")
    assert isinstance(route(about, [everything]), Route)
    declined = route(about, [children, everything])
    assert declined == Declined(
        reason="not for children (rule 'children', which cannot be decided: "
        "PatientAge (0010,1010) is at most 17)"
    )
    unreadable = subject(("PatientAge",))
    assert isinstance(route(unreadable, [adults]), Declined)
    assert isinstance(route(unreadable, [children, everything]), Declined)


def test_bytes_that_are_no_value_reach_the_rules_as_such() -> None:
    """From the bytes of a file: what reading leaves out of a header is not taken for absent."""
    image = phantom.radiograph(rows=64, columns=64)
    buffer = io.BytesIO()
    image.KVP = "77777"
    pydicom.dcmwrite(buffer, image)
    data = buffer.getvalue().replace(b"77777", b"7x777")
    about = read_subject(data, CAME)
    assert "KVP" not in about.header
    assert outcome({"KVP": {"not": 120}}, about) is UNKNOWN
    assert outcome({"KVP": {"present": False}}, about) is UNKNOWN
    assert about.header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert outcome({"TransferSyntaxUID": str(ExplicitVRLittleEndian)}, about) is YES


def test_text_that_is_not_of_the_declared_character_set_is_not_read() -> None:
    about = subject()
    about.header.SpecificCharacterSet = "ISO_IR 192"
    about.header[0x00181030] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(0x00181030), "LO", 4, b"QA\xfe\xfe", 0, False, True, True
    )
    assert outcome({"ProtocolName": {"not": "QA"}}, about) is UNKNOWN


def test_a_called_address_in_the_form_of_ipv6_is_the_same() -> None:
    sender = Requestor(ae_title="A", address="::ffff:10.0.0.9", called_ae_title="B")
    about = Subject(
        header=Dataset(), circumstances=Circumstances(requestor=sender, received_at=CAME.received_at)
    )
    assert outcome({"RequestorAddress": "10.0.0.0/24"}, about) is YES


@pytest.mark.parametrize("bytes_", [b"Jonas\xff", b"\x1b$)CJonas^\xff\x1b", b"\x1b%/I^x"])
@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO 2022 IR 149", "NONE SUCH", ["", "ISO 2022 IR 87"]])
def test_no_name_however_it_is_written_breaks_a_rule(bytes_: bytes, charset: str | list[str]) -> None:
    about = subject(SpecificCharacterSet=charset)
    raw = (pydicom.tag.Tag(0x00100010), "PN", len(bytes_), bytes_, 0, False, True, True)
    about.header[0x00100010] = pydicom.dataelem.RawDataElement(*raw)
    assert outcome({"PatientName": {"matches": "^TEST"}}, about) in (NO, UNKNOWN)


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    (judged,) = judge(subject(StationName="A\x1b[2J\x07"), [rule("r", {"StationName": "B"})])
    assert judged.term.terms[0].found == "A·[2J·"


def test_an_explanation_shows_values_and_a_reason_does_not() -> None:
    children = rule("children", {"PatientAge": {"max": 17}, "Modality": "CR"}, decline="no")
    (judged,) = judge(subject(PatientAge="045Y", Modality="CR"), [children])
    told = [(term.asked, str(term.outcome), term.found) for term in judged.term.terms]
    assert told == [
        ("PatientAge (0010,1010) is at most 17", "does not hold", "045Y"),
        ("Modality (0008,0060) is CR", "holds", "CR"),
    ]
    (judged,) = judge(subject(PatientBirthDate="20200101", StudyDate="20260101"), [children])
    assert judged.term.terms[0].found == "6 by the birth date"
