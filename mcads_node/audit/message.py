"""Audit messages in the XML of PS3.15 A.5: application activity, instances transferred, security alert.

Elements, attributes and their order are those of the schema in A.5.1.1; what each message must hold is in
A.5.3.1 (Application Activity), A.5.3.7 (DICOM Instances Transferred) and A.5.3.11 (Security Alert).
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

#: what XML 1.0 cannot hold, escaped or not (section 2.2), and line ends, which an attribute cannot keep
_UNWRITABLE = re.compile("[^ -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: a peer's text may be of any length
_LONGEST = 256

#: in the place of the Patient ID, which A.5.3.7 requires, where it is not to be told or is not known
PATIENT_WITHHELD: Final = "withheld"
PATIENT_UNKNOWN: Final = "unknown"

_Code = tuple[str, str, str]
_APPLICATION_ACTIVITY: _Code = ("110100", "DCM", "Application Activity")
_APPLICATION_START: _Code = ("110120", "DCM", "Application Start")
_APPLICATION_STOP: _Code = ("110121", "DCM", "Application Stop")
_INSTANCES_TRANSFERRED: _Code = ("110104", "DCM", "DICOM Instances Transferred")
_SECURITY_ALERT: _Code = ("110113", "DCM", "Security Alert")
_NODE_AUTHENTICATION: _Code = ("110126", "DCM", "Node Authentication")
_APPLICATION: _Code = ("110150", "DCM", "Application")
_DESTINATION: _Code = ("110152", "DCM", "Destination Role ID")
_SOURCE: _Code = ("110153", "DCM", "Source Role ID")
_STUDY_INSTANCE_UID: _Code = ("110180", "DCM", "Study Instance UID")
_NODE_ID: _Code = ("110182", "DCM", "Node ID")
_PATIENT_NUMBER: _Code = ("2", "RFC-3881", "Patient Number")

#: Event Outcome Indicator: success, and a failure that did no harm
_SUCCESS, _MINOR_FAILURE = "0", "4"
#: Audit Source Type Code: application server process
_APPLICATION_SERVER = "4"


class Direction(StrEnum):
    """Which way instances went."""

    RECEIVED = "received"
    SENT = "sent"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who reports: this node."""

    ae_title: str
    #: name of the machine
    host: str
    #: process ID, by which the system's log knows the node
    process: int
    #: Audit Enterprise Site ID; empty: none is told
    site: str = ""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Who is at the other end; its AE title is what it says."""

    ae_title: str
    #: IP address or host name
    address: str


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What is told of instances that came or went: those of one study, one peer and one outcome."""

    direction: Direction
    peer: Peer
    study_instance_uid: str
    #: the receiver has them already, and nothing of it changes; only known of what is received
    held_before: bool = False
    #: why they were not taken; None: they were
    failure: str | None = None


def application_activity(identity: Identity, at: datetime, *, started: bool) -> bytes:
    """Tell that the node has started, or is about to end."""
    root = _message(_APPLICATION_ACTIVITY, "E", at, kind=_APPLICATION_START if started else _APPLICATION_STOP)
    _this_node(root, identity, is_requestor=False, role=_APPLICATION)
    _audit_source(root, identity)
    return _encoded(root)


def instances_transferred(
    identity: Identity, at: datetime, transfer: Transfer, sop_classes: Mapping[str, int], patient: str
) -> bytes:
    """Tell that instances of one study were received or sent.

    Parameters
    ----------
    identity, at
        Who tells it, and when the transfer was over.
    transfer
        What is the same for all of them.
    sop_classes
        Number of instances by SOP Class UID.
    patient
        Patient ID, or what stands in its place.
    """
    received = transfer.direction is Direction.RECEIVED
    # R also where the receiver's state is not known, as of all that is sent
    action = "C" if received and not transfer.held_before else "R"
    root = _message(_INSTANCES_TRANSFERRED, action, at, failure=transfer.failure)
    if received:
        _peer(root, transfer.peer, is_requestor=True, role=_SOURCE)
        _this_node(root, identity, is_requestor=False, role=_DESTINATION)
    else:
        _this_node(root, identity, is_requestor=True, role=_SOURCE)
        _peer(root, transfer.peer, is_requestor=False, role=_DESTINATION)
    _audit_source(root, identity)
    study = _object(root, transfer.study_instance_uid, _STUDY_INSTANCE_UID, kind="2", role="3")
    description = SubElement(study, "ParticipantObjectDescription")
    for uid, count in sorted(sop_classes.items()):
        SubElement(description, "SOPClass", UID=_text(uid), NumberOfInstances=str(count))
    _object(root, patient, _PATIENT_NUMBER, kind="1", role="1")
    return _encoded(root)


def security_alert(identity: Identity, at: datetime, peer: Peer, what: str) -> bytes:
    """Tell that a peer was turned away: it could not show that it may talk to this node.

    Parameters
    ----------
    identity, at
        Who tells it, and when.
    peer
        Who it was; its AE title is empty where it did not come to say one.
    what
        What happened, in words, without PHI.
    """
    root = _message(_SECURITY_ALERT, "E", at, kind=_NODE_AUTHENTICATION, failure=what)
    _this_node(root, identity, is_requestor=False)
    _peer(root, peer, is_requestor=False)
    _audit_source(root, identity)
    detail = base64.b64encode(_text(what).encode()).decode("ascii")
    _object(root, peer.address, _NODE_ID, kind="2", role="13", detail=("Alert Description", detail))
    return _encoded(root)


def _message(
    event: _Code, action: str, at: datetime, kind: _Code | None = None, failure: str | None = None
) -> Element:
    root = Element("AuditMessage")
    identification = SubElement(
        root,
        "EventIdentification",
        EventActionCode=action,
        EventDateTime=at.isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=_SUCCESS if failure is None else _MINOR_FAILURE,
    )
    _coded(identification, "EventID", event)
    if kind is not None:
        _coded(identification, "EventTypeCode", kind)
    if failure is not None:
        SubElement(identification, "EventOutcomeDescription").text = _text(failure)
    return root


def _this_node(root: Element, identity: Identity, *, is_requestor: bool, role: _Code | None = None) -> None:
    participant = SubElement(
        root,
        "ActiveParticipant",
        {
            "UserID": str(identity.process),
            "AlternativeUserID": f"AETITLES={_text(identity.ae_title)}",
            "UserName": "mcads-node",
            "UserIsRequestor": _boolean(is_requestor),
            **_access_point(identity.host),
        },
    )
    if role is not None:
        _coded(participant, "RoleIDCode", role)


def _peer(root: Element, peer: Peer, *, is_requestor: bool, role: _Code | None = None) -> None:
    # a process elsewhere is known by its AE title only, and one that gave none by its address
    titles = {"AlternativeUserID": f"AETITLES={_text(peer.ae_title)}"} if peer.ae_title else {}
    participant = SubElement(
        root,
        "ActiveParticipant",
        {
            "UserID": _text(peer.ae_title or peer.address),
            **titles,
            "UserIsRequestor": _boolean(is_requestor),
            **_access_point(peer.address),
        },
    )
    if role is not None:
        _coded(participant, "RoleIDCode", role)


def _access_point(address: str) -> dict[str, str]:
    """Where a participant is reached: type 1 is a machine's name, 2 an IP address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        kind = "1"
    else:
        kind = "2"
    return {"NetworkAccessPointID": _text(address), "NetworkAccessPointTypeCode": kind}


def _audit_source(root: Element, identity: Identity) -> None:
    site = {"AuditEnterpriseSiteID": _text(identity.site)} if identity.site else {}
    name = _text(f"{identity.ae_title}@{identity.host}")
    source = SubElement(root, "AuditSourceIdentification", {**site, "AuditSourceID": name})
    # a digit alone has the schema's own meaning
    SubElement(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})


def _object(
    root: Element,
    identifier: str,
    id_type: _Code,
    *,
    kind: str,
    role: str,
    detail: tuple[str, str] | None = None,
) -> Element:
    found = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_text(identifier),
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )
    _coded(found, "ParticipantObjectIDTypeCode", id_type)
    # required by the schema where there is no query; a patient's own name is not told
    SubElement(found, "ParticipantObjectName").text = id_type[2]
    if detail is not None:
        SubElement(found, "ParticipantObjectDetail", type=detail[0], value=detail[1])
    return found


def _coded(parent: Element, name: str, code: _Code) -> None:
    value, scheme, meaning = code
    SubElement(parent, name, {"csd-code": value, "codeSystemName": scheme, "originalText": meaning})


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _text(value: str) -> str:
    return _UNWRITABLE.sub("?", value)[:_LONGEST]


def _encoded(root: Element) -> bytes:
    encoded: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    # one line: some receivers still end a message at a line feed
    return encoded.replace(b"\n", b"")
