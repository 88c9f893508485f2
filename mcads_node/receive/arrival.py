"""What has arrived over the network, and how it is kept: first the bytes, then the record, then a status."""

from __future__ import annotations

import contextlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from mcads_node.errors import InstanceUnreadable, StorageFull, TransientError
from mcads_node.instance import ReceivedInstance, Requestor, is_valid_uid
from mcads_node.product import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from mcads_node.receive.content import Content, InMemory
from mcads_node.receive.identifiers import Identifiers, read_identifiers
from mcads_node.spool import Spool
from mcads_node.workitems.records import Handling, KeptFile, Receipt

#: C-STORE statuses, PS3.4 table B.2-1 and PS3.7 annex C
SUCCESS = 0x0000
INVALID_SOP_INSTANCE = 0x0117
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
#: of the class "cannot understand", whose last three digits are free. Not 0x0111, duplicate SOP instance: a
#: peer may take that for a success and forget its object, as our own deliverer does
CONFLICTING_INSTANCE = 0xC111

#: bytes in which the identifiers are looked for first
_HEAD = 65_536
#: a peer's text may be of any length; a UID has at most 64
_LONGEST_SHOWN = 64


@dataclass(frozen=True, kw_only=True)
class Objection:
    """Why an object cannot be accepted for what its sender says it is. Its bytes are kept all the same."""

    #: C-STORE status
    status: int
    #: one sentence for an administrator, without PHI
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrival:
    """One object as it came by C-STORE."""

    requestor: Requestor
    #: as the command says; untrusted, may be anything
    sop_class_uid: str
    sop_instance_uid: str
    #: of the presentation context
    transfer_syntax_uid: str
    #: preamble, prefix and file meta information
    meta: bytes
    #: the data set, exactly as the peer encoded it
    content: Content
    #: as the data set has it; None where it is absent or cannot be read
    study_instance_uid: str | None
    objection: Objection | None = None
    #: digests of Patient ID and of its issuer, comparable within the study; None where absent or empty
    patient: str | None = None
    issuer: str | None = None

    @property
    def dataset(self) -> bytes:
        """The whole data set."""
        return self.content.read()


@dataclass(frozen=True, kw_only=True)
class StoreCommand:
    """What a C-STORE request says besides its data set, as the peer wrote it."""

    requestor: Requestor
    sop_class_uid: str
    sop_instance_uid: str
    #: SOP class and transfer syntax of the presentation context it came in
    context_sop_class_uid: str
    transfer_syntax_uid: str


def arrival_of(command: StoreCommand, dataset: bytes | Content) -> Arrival:
    """Look at the identifiers of what has arrived, and at nothing else in it."""
    content = InMemory(dataset) if isinstance(dataset, bytes) else dataset
    study_uid: str | None = None
    patient: tuple[str | None, str | None] = (None, None)
    try:
        found = _identifiers(content, command.transfer_syntax_uid)
    except InstanceUnreadable as error:
        objection: Objection | None = Objection(status=CANNOT_UNDERSTAND, reason=str(error))
    else:
        study_uid = found.study_instance_uid or None
        said = (found.sop_class_uid, found.sop_instance_uid, found.study_instance_uid)
        objection = _objection(command, *said)
        whose = (found.patient_id, found.issuer_of_patient_id)
        patient = (_digest(whose[0], study_uid), _digest(whose[1], study_uid))
    return Arrival(
        requestor=command.requestor,
        sop_class_uid=command.sop_class_uid,
        sop_instance_uid=command.sop_instance_uid,
        transfer_syntax_uid=command.transfer_syntax_uid,
        meta=encode_meta(command),
        content=content,
        study_instance_uid=study_uid,
        objection=objection,
        patient=patient[0],
        issuer=patient[1],
    )


def _identifiers(content: Content, transfer_syntax_uid: str) -> Identifiers:
    """Read them from the beginning, where they nearly always are, and otherwise from the whole."""
    head = content.read(_HEAD)
    if len(head) == _HEAD:
        with contextlib.suppress(InstanceUnreadable):
            found = read_identifiers(head, transfer_syntax_uid)
            # the last that is looked for: without it the head may just have ended before
            if found.study_instance_uid:
                return found
        head = content.read()
    return read_identifiers(head, transfer_syntax_uid)


def _digest(value: bytes, study_uid: str | None) -> str | None:
    """Stand in for what is not to be on record: comparable within one study only (decision 0022)."""
    if not value:
        return None
    return hmac.new((study_uid or "").encode(), value, "sha256").hexdigest()


def _objection(
    command: StoreCommand, sop_class_uid: str, sop_instance_uid: str, study_uid: str
) -> Objection | None:
    if command.sop_class_uid != command.context_sop_class_uid:
        reason = f"sent {_shown(command.sop_class_uid)} in a context for {command.context_sop_class_uid}"
        return Objection(status=SOP_CLASS_NOT_SUPPORTED, reason=reason)
    compared = (
        ("SOP Class UID (0008,0016)", sop_class_uid, command.sop_class_uid),
        ("SOP Instance UID (0008,0018)", sop_instance_uid, command.sop_instance_uid),
    )
    for name, found, expected in compared:
        if found != expected:
            reason = f"{name} of the data set is {_shown(found)}, of the C-STORE command {_shown(expected)}"
            return Objection(status=DATA_SET_DOES_NOT_MATCH, reason=reason)
    required = (
        ("SOP Instance UID (0008,0018)", sop_instance_uid, INVALID_SOP_INSTANCE),
        ("Study Instance UID (0020,000D)", study_uid, DATA_SET_DOES_NOT_MATCH),
    )
    for name, value, status in required:
        if not is_valid_uid(value):
            reason = f"{name} {_shown(value)} is not a UID: expected 1 to 64 of 0-9 and ., no leading zeros"
            return Objection(status=status, reason=reason)
    return None


def _shown(value: str) -> str:
    return repr(value) if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]!r}… ({len(value)} long)"


def encode_meta(command: StoreCommand) -> bytes:
    """Encode preamble, prefix and file meta information (PS3.10 section 7.1) for the data set of `command`.

    Written by hand: pydicom would refuse or correct the UIDs of a peer that cannot write them.
    """
    elements = (
        (0x0002, b"UI", command.sop_class_uid),
        (0x0003, b"UI", command.sop_instance_uid),
        (0x0010, b"UI", command.transfer_syntax_uid),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        (0x0016, b"AE", command.requestor.ae_title),
    )
    body = struct.pack("<HH2sxxI2s", 0x0002, 0x0001, b"OB", 2, b"\0\1")
    body += b"".join(_element(number, vr, text) for number, vr, text in elements)
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(body))
    return bytes(128) + b"DICM" + length + body


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", errors="replace")[:0xFFFE]
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


class Records(Protocol):
    """What keeping an object needs of the durable state."""

    def record_received(self, instance: ReceivedInstance, handling: Handling) -> Receipt:
        """Commit one row for an instance whose bytes are in the spool."""

    def record_unreadable(self, instance: ReceivedInstance, reason: str) -> Receipt:
        """Commit one row for bytes in the spool that cannot be taken for an instance."""

    def kept_file(self, instance: ReceivedInstance, *, is_readable: bool) -> KeptFile | None:
        """Give the file on record of an instance that came before; None where it was let go."""

    def replace_file(self, lost: KeptFile, instance: ReceivedInstance) -> bool:
        """Commit that an instance has the new file in place of one that is lost."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What became of an arrival."""

    #: C-STORE status to answer
    status: int
    #: how it is on record; None: it is not, and its sender has to keep it
    receipt: Receipt | None
    #: why it is not success, or not plainly so; one clause, without PHI
    reason: str | None = None


def keep_in(
    spool: Spool,
    records: Records,
    *,
    has_room: Callable[[], bool] = lambda: True,
    handling_of: Callable[[Arrival], Handling] = lambda _arrival: Handling(),
    refuse_conflicts: bool = False,
) -> Callable[[Arrival], Kept]:
    """Return a function that keeps an arrival durably, and only then says what to answer.

    Where the record fails, the file stays, unless the database said that it is full: whether its row was
    committed is not known then. A file without a row is found and removed later (`Spool.orphans`).

    Parameters
    ----------
    spool, records
        Where bytes and rows go.
    has_room
        Whether there is room for more; asked before anything is written.
    handling_of
        Says what the rules have done with an object besides reading it.
    refuse_conflicts
        Answer a failure where another object came before under the same SOP Instance UID. The bytes and the
        reason are kept all the same.
    """

    def keep(arrival: Arrival) -> Kept:
        if not has_room():
            reason = "the disk has less free space than disk.refuse_below_mib"
            return Kept(status=OUT_OF_RESOURCES, receipt=None, reason=reason)
        try:
            receipt = _record(arrival, spool, records, handling_of)
        except TransientError as error:
            # disk full, database locked or away: the peer may try again
            return Kept(status=OUT_OF_RESOURCES, receipt=None, reason=str(error))
        if arrival.objection is not None:
            return Kept(status=arrival.objection.status, receipt=receipt, reason=arrival.objection.reason)
        if receipt not in (Receipt.CONFLICT, Receipt.CONFLICT_AGAIN):
            return Kept(status=SUCCESS, receipt=receipt)
        # It is on record, kept apart, and may be called a success: a PACS that mended a name sends like that
        status = CONFLICTING_INSTANCE if refuse_conflicts else SUCCESS
        return Kept(status=status, receipt=receipt, reason="other content came before under its UID")

    return keep


def _record(
    arrival: Arrival, spool: Spool, records: Records, handling_of: Callable[[Arrival], Handling]
) -> Receipt:
    # first, since whatever happens to it then, its file is not there yet
    handling = handling_of(arrival) if arrival.objection is None else Handling()
    stored = arrival.content.keep(spool, arrival.meta)
    received = ReceivedInstance(
        sop_class_uid=arrival.sop_class_uid,
        sop_instance_uid=arrival.sop_instance_uid,
        study_instance_uid=arrival.study_instance_uid or "",
        transfer_syntax_uid=arrival.transfer_syntax_uid,
        requestor=arrival.requestor,
        received_at=datetime.now(UTC),
        path=stored.path,
        size=stored.size,
        digest=stored.digest,
        patient=arrival.patient,
        issuer=arrival.issuer,
    )
    try:
        if arrival.objection is None:
            receipt = records.record_received(received, handling)
        else:
            receipt = records.record_unreadable(received, arrival.objection.reason)
        is_known = receipt in (Receipt.DUPLICATE, Receipt.CONFLICT_AGAIN)
        is_needed = not is_known or _stands_in(received, arrival, spool, records)
    except StorageFull:
        # said by the database, so there is no row; a file that waits for its removal would take the room
        spool.delete(stored.path)
        raise
    if not is_needed:
        spool.delete(stored.path)
    return receipt


def _stands_in(received: ReceivedInstance, arrival: Arrival, spool: Spool, records: Records) -> bool:
    """Put the new file in the place of one on record that is lost; False: it is not needed."""
    kept = records.kept_file(received, is_readable=arrival.objection is None)
    if kept is None or spool.holds(kept.path, kept.size):
        return False
    return records.replace_file(kept, received)
