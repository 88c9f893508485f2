"""What is known of a study, in a form to be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.records import InstanceAnalysed, InstanceState, Kind, StoredResult, WorkState


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
    #: last revision that was reported; 0 for none
    revision: int
    #: work that is still to be done
    open_workitems: int


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
    analysis: InstanceAnalysed | None


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
    deliveries: tuple[DeliveryRecord, ...]


@dataclass(frozen=True, kw_only=True)
class WorkRecord:
    """One workitem of a study."""

    number: int
    kind: Kind
    state: WorkState
    #: of an analyse item
    instance_number: int | None
    #: of a report item
    revision: int | None
    due_at: datetime
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
class Retried:
    """What a retry set going again."""

    workitems: int
    deliveries: int
