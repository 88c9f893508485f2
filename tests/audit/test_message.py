"""Audit messages fit the schema of PS3.15 A.5.1, and hold what A.5.3 has each of them hold."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.audit import Direction, Identity, Peer, Transfer
from mcads_node.audit.message import application_activity, instances_transferred, security_alert
from mcads_node.audit.syslog import NOTICE, WARNING, octet_counted, syslog_message
from tests.audit.repositories import Syslog, attribute, complaint, event

NODE = Identity(ae_title="MCADS", host="reader.example.org", process=4711, site="St. Ann's & Co")
MODALITY = Peer(ae_title="CR_ROOM1", address="10.20.0.7")
AT = datetime(2026, 3, 1, 8, 30, 5, 123456, tzinfo=UTC)
CR, SC = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7"


def transfer(direction: Direction = Direction.RECEIVED, **changes: object) -> Transfer:
    given_ = {"direction": direction, "peer": MODALITY, "study_instance_uid": "1.2.3", **changes}
    return Transfer(**given_)  # type: ignore[arg-type]


@pytest.mark.parametrize("started", [True, False])
def test_application_activity(started: bool) -> None:
    xml = application_activity(NODE, AT, started=started)
    assert complaint(xml) == ""
    root = fromstring(xml)
    assert event(root) == ("110100", "110120" if started else "110121", "E", "0")
    assert attribute(root, "EventIdentification", "EventDateTime") == "2026-03-01T08:30:05.123+00:00"
    (participant,) = root.findall("ActiveParticipant")
    assert (participant.get("UserID"), participant.get("AlternativeUserID")) == ("4711", "AETITLES=MCADS")
    assert attribute(participant, "RoleIDCode", "csd-code") == "110150"
    # a name, not an IP address
    assert participant.get("NetworkAccessPointTypeCode") == "1"
    assert attribute(root, "AuditSourceIdentification", "AuditEnterpriseSiteID") == "St. Ann's & Co"
    assert root.find("ParticipantObjectIdentification") is None


@pytest.mark.parametrize(
    ("told", "action", "outcome", "requestor"),
    [
        (transfer(), "C", "0", "110153"),
        (transfer(held_before=True), "R", "0", "110153"),
        (transfer(failure="does not match"), "C", "4", "110153"),
        # whether the receiver had it before is not known to us
        (transfer(Direction.SENT), "R", "0", "110153"),
        (transfer(Direction.SENT, failure="refused with 0xA900"), "R", "4", "110153"),
    ],
)
def test_instances_transferred(told: Transfer, action: str, outcome: str, requestor: str) -> None:
    xml = instances_transferred(NODE, AT, told, {SC: 1, CR: 3}, "withheld")
    assert complaint(xml) == ""
    root = fromstring(xml)
    assert event(root) == ("110104", None, action, outcome)
    roles = {
        attribute(each, "RoleIDCode", "csd-code"): each.attrib for each in root.findall("ActiveParticipant")
    }
    source, destination = roles["110153"], roles["110152"]
    received = told.direction is Direction.RECEIVED
    assert source["AlternativeUserID"] == ("AETITLES=CR_ROOM1" if received else "AETITLES=MCADS")
    assert destination["AlternativeUserID"] == ("AETITLES=MCADS" if received else "AETITLES=CR_ROOM1")
    # who sends has asked for the association
    assert (source["UserIsRequestor"], destination["UserIsRequestor"]) == ("true", "false")
    remote = source if received else destination
    assert (remote["NetworkAccessPointID"], remote["NetworkAccessPointTypeCode"]) == ("10.20.0.7", "2")
    study, patient = root.findall("ParticipantObjectIdentification")
    assert (study.get("ParticipantObjectID"), study.get("ParticipantObjectTypeCode")) == ("1.2.3", "2")
    assert attribute(study, "ParticipantObjectIDTypeCode", "csd-code") == "110180"
    classes = study.findall("ParticipantObjectDescription/SOPClass")
    assert {each.get("UID"): each.get("NumberOfInstances") for each in classes} == {CR: "3", SC: "1"}
    assert (patient.get("ParticipantObjectID"), patient.get("ParticipantObjectTypeCode")) == ("withheld", "1")
    described = root.findtext("EventIdentification/EventOutcomeDescription")
    assert described == told.failure


def test_security_alert() -> None:
    xml = security_alert(
        NODE, AT, Peer(ae_title="STRANGER", address="192.0.2.7"), "its AE title is not listed"
    )
    assert complaint(xml) == ""
    root = fromstring(xml)
    # a failure of the peer's that did no harm
    assert event(root) == ("110113", "110126", "E", "4")
    reporter, stranger = root.findall("ActiveParticipant")
    assert reporter.get("UserID") == "4711"
    assert (stranger.get("UserID"), stranger.get("UserIsRequestor")) == ("STRANGER", "false")
    subject = "ParticipantObjectIdentification"
    assert attribute(root, subject, "ParticipantObjectID") == "192.0.2.7"
    detail = f"{subject}/ParticipantObjectDetail"
    assert attribute(root, detail, "type") == "Alert Description"
    assert base64.b64decode(attribute(root, detail, "value")) == b"its AE title is not listed"


def test_a_peer_without_an_ae_title_is_named_by_its_address() -> None:
    xml = security_alert(NODE, AT, Peer(ae_title="", address="192.0.2.7"), "no TLS")
    assert complaint(xml) == ""
    assert [each.get("UserID") for each in fromstring(xml).findall("ActiveParticipant")] == [
        "4711",
        "192.0.2.7",
    ]


def test_the_schema_of_the_tests_refuses_what_is_wrong() -> None:
    xml = application_activity(NODE, AT, started=True)
    for good, bad in (
        (b'EventActionCode="E"', b'EventActionCode="X"'),
        (b'EventOutcomeIndicator="0"', b'EventOutcomeIndicator="1"'),
        (b"2026-03-01T08", b"2026-13-01T08"),
        (b' csd-code="110100"', b' code="110100"'),
        (b' UserIsRequestor="false"', b""),
    ):
        assert xml.count(good) == 1
        assert complaint(xml.replace(good, bad)) != ""


@given(ae_title=st.text(max_size=300), what=st.text(max_size=300), uid=st.text(max_size=80))
def test_whatever_a_peer_calls_itself_the_message_is_xml_of_one_line(
    ae_title: str, what: str, uid: str
) -> None:
    stranger = Peer(ae_title=ae_title, address="192.0.2.7")
    told = transfer(peer=stranger, study_instance_uid=uid, failure=what)
    for xml in (
        security_alert(NODE, AT, stranger, what),
        instances_transferred(NODE, AT, told, {uid: 1}, ae_title),
    ):
        root = fromstring(xml)
        assert root.tag == "AuditMessage"
        # nothing of the peer's became an element
        assert {each.tag for each in root} <= {
            "EventIdentification",
            "ActiveParticipant",
            "AuditSourceIdentification",
            "ParticipantObjectIdentification",
        }
        assert not {*b"\r\n"} & {*xml}


@pytest.mark.parametrize(("severity", "priority"), [(NOTICE, b"<85>1 "), (WARNING, b"<84>1 ")])
def test_syslog_header(severity: int, priority: bytes) -> None:
    raw = syslog_message("<a>ž</a>".encode(), severity=severity, at=AT, host="reader", process=4711)
    assert raw.startswith(priority)
    read = Syslog.of(raw)
    assert (read.facility, read.severity, read.host, read.app, read.process) == (
        10,
        severity,
        "reader",
        "mcads-node",
        "4711",
    )
    assert read.msgid == "DICOM+RFC3881"
    assert read.at == AT.replace(microsecond=123000)
    assert read.xml.decode() == "<a>ž</a>"


def test_a_host_name_that_syslog_cannot_hold_is_cut_to_what_it_can() -> None:
    for host, told in (("a b\nčc", "abc"), ("", "-"), ("x" * 300, "x" * 255)):
        assert Syslog.of(syslog_message(b"", severity=NOTICE, at=AT, host=host, process=1)).host == told


def test_octets_are_counted_not_characters() -> None:
    assert octet_counted("ž".encode()) == b"2 \xc5\xbe"
