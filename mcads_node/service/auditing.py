"""The audit trail of a configuration, and what it is told of: what comes, what goes, who is turned away."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from mcads_node.audit import AuditTrail, Direction, Identity, Peer, Repository, Transfer, Transport
from mcads_node.config import AuditSection, Configuration
from mcads_node.deliver.terms import Transfer as Sent
from mcads_node.errors import PermanentError
from mcads_node.instance import Requestor
from mcads_node.read.part10 import read_header
from mcads_node.receive.admission import Cause, Refusal
from mcads_node.receive.arrival import SUCCESS, Arrival, Kept
from mcads_node.state import State
from mcads_node.workitems import Receipt

#: causes of a rejection that mean an attempt at what is not allowed, and not a lack of room
_NOT_AUTHENTIC = (Cause.UNKNOWN_AE_TITLE, Cause.UNKNOWN_ADDRESS, Cause.CALLED_AE_TITLE, Cause.TLS)


def audit_of(configuration: Configuration, state: State) -> AuditTrail:
    """Make the audit trail, not yet started; it reports to nobody where no repository is configured."""
    section, node = configuration.node.audit, configuration.node.node
    identity = Identity(
        ae_title=node.ae_title,
        host=socket.gethostname(),
        process=os.getpid(),
        site=section.site if section else "",
    )
    if section is None:
        return AuditTrail(identity, None)
    return AuditTrail(identity, _repository(section), patient_of(state) if section.patient_id else None)


def _repository(section: AuditSection) -> Repository:
    return Repository(
        host=section.host,
        port=section.port_or_usual,
        transport=Transport(section.transport),
        ca=section.ca,
        certificate=section.certificate,
        key=section.key,
    )


def patient_of(state: State) -> Callable[[str], str | None]:
    """Return a function that reads a study's Patient ID from the first of its objects that can be read."""

    def read(study_instance_uid: str) -> str | None:
        for path in state.workitems.files_of(study_instance_uid):
            try:
                header = read_header(state.spool.read(path))
            except PermanentError:
                # gone, or not to be parsed
                continue
            return str(header.get("PatientID") or "").strip() or None
        return None

    return read


def tell_received(audit: AuditTrail, arrival: Arrival, kept: Kept) -> None:
    """Tell the audit trail of an object that came; of one whose study is not known, nothing can be told."""
    if arrival.study_instance_uid is None:
        return
    transfer = Transfer(
        direction=Direction.RECEIVED,
        peer=_peer(arrival.requestor),
        study_instance_uid=arrival.study_instance_uid,
        held_before=kept.receipt in (Receipt.DUPLICATE, Receipt.CONFLICT_AGAIN),
        # not the reason, which names the object: each would be a message of its own
        failure=None if kept.status == SUCCESS else f"refused with status 0x{kept.status:04X}",
    )
    audit.instances_transferred(transfer, arrival.sop_class_uid)


def tell_sent(audit: AuditTrail, sent: Sent) -> None:
    """Tell the audit trail what one association for delivery came to; nothing of what is tried again."""
    peer = Peer(ae_title=sent.address.ae_title, address=sent.address.host)
    for (study, sop_class, stored), count in sent.ended.items():
        transfer = Transfer(
            direction=Direction.SENT,
            peer=peer,
            study_instance_uid=study,
            failure=None if stored else "refused, or given up",
        )
        audit.instances_transferred(transfer, sop_class, count)


def tell_rejected(audit: AuditTrail, requestor: Requestor, refusal: Refusal) -> None:
    """Tell the audit trail that someone was turned away, where that was for who it is."""
    if refusal.cause in _NOT_AUTHENTIC:
        audit.security_alert(_peer(requestor), f"turned away: {refusal.reason}")


def _peer(requestor: Requestor) -> Peer:
    return Peer(ae_title=requestor.ae_title, address=requestor.address)
