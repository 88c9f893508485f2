"""What is known of a study, in a form to be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mcads_node.priority import Priority
from mcads_node.triage_level import Triage
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.records import (
    InstanceAnalysed,
    InstanceState,
    Kind,
    Purpose,
    StoredResult,
    WorkState,
)


@dataclass(frozen=True, kw_only=True)
class WaitingFor:
    """A destination at which a study is not yet all where it should be."""

    destination: str
    #: deliveries that wait
    pending: int
    #: deliveries that are stored there, and for whose Storage Commitment the node waits
    awaiting_commitment: int
    #: until when the destination is left alone, and why; None where it is reachable
    deferred_until: datetime | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """One study in a list."""

    #: the node's own number of it
    number: int
    study_instance_uid: str
    first_received_at: datetime
    last_received_at: datetime
    #: why it could not be reported
    trouble: str | None
    #: instances by state; states without any are absent
    instances: dict[InstanceState, int]
    #: deliveries by state; states without any are absent
    deliveries: dict[DeliveryState, int]
    #: destinations for which anything waits
    waiting_for: tuple[WaitingFor, ...] = ()
    #: until when the first of its images waits that is analysed at its hours only; None: none does
    held_until: datetime | None = None
    #: how urgent it is by what is known now; None: no rules of triage were configured
    triage: Triage | None = None
    #: last revision that was reported; 0 for none
    revision: int
    #: work that is still to be done
    open_workitems: int


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One delivery of a result."""

    number: int
    destination: str
    state: DeliveryState
    attempts: int
    due_at: datetime
    ended_at: datetime | None
    status: int | None
    reason: str | None
    #: the refused delivery whose object this one's stands in for
    stands_in_for: int | None
    #: when the destination is asked, or asked again, whether it keeps the object; None: it need not be asked
    commitment_due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class InstanceRecord:
    """One instance of a study."""

    number: int
    sop_class_uid: str
    sop_instance_uid: str
    requestor: str
    received_at: datetime
    state: InstanceState
    #: why it was declined or quarantined
    reason: str | None
    #: relative to the spool
    path: str
    #: when its file was let go (retention); None: the file is there
    file_deleted_at: datetime | None
    #: of the rules that it was treated by
    rules_digest: str | None
    #: the one that reports speak of
    analysis: InstanceAnalysed | None
    #: what was found and is not reported, in the order it was
    shadows: tuple[InstanceAnalysed, ...] = ()
    #: where it is sent as it was received
    forwarded: tuple[DeliveryRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ResultRecord:
    """One result object of a study."""

    #: the node's own number of it
    number: int
    object: StoredResult
    #: of the report it belongs to; None for an object of one image
    revision: int | None
    created_at: datetime
    #: the rejection note that took it back
    retracted_by: int | None
    #: when its file was let go (retention); None: the file is there
    file_deleted_at: datetime | None
    #: of the rules that its image was treated by, of a report's images the last
    rules_digest: str | None
    deliveries: tuple[DeliveryRecord, ...]


@dataclass(frozen=True, kw_only=True)
class WorkRecord:
    """One workitem of a study."""

    number: int
    kind: Kind
    state: WorkState
    #: of an analyse item
    instance_number: int | None
    purpose: Purpose | None
    #: of a shadow: the rule that it follows; None: the one that the image falls under
    rule: str | None
    #: that reads, instead of the rule's
    model: str | None
    priority: Priority
    #: of a report item
    revision: int | None
    due_at: datetime
    #: it waits for its hours; None: it may be done now
    held_until: datetime | None
    attempts: int
    worker: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of the append-only record."""

    at: datetime
    who: str
    what: str
    subject: str
    why: str | None


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """All that is known of one study."""

    line: StudyLine
    instances: tuple[InstanceRecord, ...]
    workitems: tuple[WorkRecord, ...]
    results: tuple[ResultRecord, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True)
class QuarantinedWork:
    """One piece of work that was given up, and waits for a person."""

    #: of the workitem
    number: int
    kind: Kind
    study_number: int
    study_instance_uid: str
    #: of an analyse item
    sop_instance_uid: str | None
    #: when it was given up
    since: datetime
    #: failed ones; deaths are those of them in which the lease ran out
    attempts: int
    deaths: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Retried:
    """What a retry set going again."""

    workitems: int
    deliveries: int
