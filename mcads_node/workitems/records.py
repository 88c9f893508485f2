"""What the durable state speaks of, in the words of DICOM's Unified Procedure Step (PS3.4 annex CC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from mcads_node.backoff import RetryPolicy
from mcads_node.draft import StoredFile
from mcads_node.finding import Algorithm, Finding
from mcads_node.instance import InputCheck, ReceivedInstance, View
from mcads_node.priority import Priority
from mcads_node.result import ObjectKind, ResultObject
from mcads_node.schedule import Schedule
from mcads_node.structure import AnatomyReading
from mcads_node.triage_level import Triage


class Kind(StrEnum):
    """Kinds of work."""

    #: one instance: read, infer, explain
    ANALYSE = "analyse"
    #: one study: compose the objects of its report
    REPORT = "report"


class Purpose(StrEnum):
    """What an image is analysed for."""

    #: once, after it was received
    FIRST = "first"
    #: as a person wished: what is found takes the place of what was found before
    AGAIN = "again"
    #: what is found is recorded, and not reported
    SHADOW = "shadow"


class WorkState(StrEnum):
    """Procedure Step State (0074,1000)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


class InstanceState(StrEnum):
    """What became of a received instance."""

    #: waits for its analysis
    RECEIVED = "RECEIVED"
    ANALYSED = "ANALYSED"
    #: not for this node, with a reason
    DECLINED = "DECLINED"
    #: could not be analysed, with a reason; a person may have it tried again
    QUARANTINED = "QUARANTINED"
    #: names another patient than the study is of, with a reason; a person decides
    HELD = "HELD"


class Receipt(StrEnum):
    """What recording a received instance came to."""

    #: on record, and work is scheduled
    RECORDED = "recorded"
    #: the same SOP Instance UID with the same content is on record already: the new file is not needed
    DUPLICATE = "duplicate"
    #: the same SOP Instance UID with other content is on record already: kept apart, declined
    CONFLICT = "conflict"
    #: the same as one that was kept apart so: the new file is not needed
    CONFLICT_AGAIN = "conflict again"
    #: it names another patient than its study is of: kept, held until a person decides
    HELD = "held"
    #: its data set cannot be parsed: kept, declined
    UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class ShadowWish:
    """That an image is to be read by a shadow rule as well."""

    #: its name
    rule: str
    priority: Priority = Priority.LOW
    schedule: Schedule | None = None


@dataclass(frozen=True, kw_only=True)
class Handling:
    """What the rules have done with an image, besides reading it, from the moment it is received."""

    priority: Priority = Priority.ROUTINE
    #: when it may be analysed; None: at any time
    schedule: Schedule | None = None
    #: destinations that get the image itself
    forward: tuple[str, ...] = ()
    #: why it is not forwarded where it would be, a sentence each, without PHI
    withheld: tuple[str, ...] = ()
    shadows: tuple[ShadowWish, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """The file that the record has of an instance."""

    #: the node's own number of the instance
    instance_number: int
    #: relative to the folder of received objects
    path: str
    #: bytes, as they were written
    size: int


@dataclass(frozen=True, kw_only=True)
class WorkPolicy:
    """How often work is tried."""

    #: for failures that were reported
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(max_age=None))
    #: leases that may run out before the item is taken to kill its workers
    max_deaths: int = 3


@dataclass(frozen=True, kw_only=True)
class Workitem:
    """One piece of work under a lease."""

    #: the node's own number of it
    number: int
    kind: Kind
    study_number: int
    study_instance_uid: str
    #: when the node received the study's first instance, UTC
    study_first_received_at: datetime
    priority: Priority
    due_at: datetime
    #: failed attempts before this one
    attempts: int
    #: those of them in which the worker died
    deaths: int
    worker: str
    #: Transaction UID (0008,1195): who holds it may complete the item
    transaction_uid: str
    lease_expires_at: datetime
    #: of an analyse item
    instance: ReceivedInstance | None = None
    instance_number: int | None = None
    purpose: Purpose | None = None
    #: of a shadow: the rule that it follows; None: the one that the image falls under
    rule: str | None = None
    #: of one that is not the first: the model that reads instead of the rule's
    model: str | None = None
    #: of a report item: 1 for a study's first report
    revision: int | None = None
    #: of a report item: it speaks of the study's analyses up to this one
    covers: int | None = None
    #: of a report item: when it is due whatever still waits for its analysis; None: it waits for that
    latest_at: datetime | None = None
    #: which of the patients that its study has been of it speaks of, counted from 1
    patient_number: int = 1

    def __str__(self) -> str:
        return f"workitem {self.number}"


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who may speak for an item, and until when; a renewed lease is another one."""

    #: of the item
    number: int
    #: Transaction UID (0008,1195)
    transaction_uid: str
    expires_at: datetime
    #: whether it has run out by the clock of who asked
    overdue: bool = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class LostLease:
    """An item whose worker did not renew its lease."""

    number: int
    kind: Kind
    study_instance_uid: str
    worker: str
    #: SCHEDULED again, or CANCELED: quarantined
    state: WorkState
    reason: str


@dataclass(frozen=True, kw_only=True)
class StoredResult:
    """One result object whose bytes are safely on the disk."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    #: relative to the folder of results
    path: str
    #: bytes of the Part 10 file
    size: int
    #: SHA-256 of the whole file, hex
    digest: str
    #: which rendition of its kind it is; empty: the default one
    variant: str = ""
    #: Device UID of the model that it speaks for; None: not known, or the node's own
    device_uid: str | None = None

    @classmethod
    def of(cls, result: ResultObject, file: StoredFile) -> StoredResult:
        """Join an object with the file its bytes were written to."""
        return cls(
            kind=result.kind,
            sop_class_uid=result.sop_class_uid,
            sop_instance_uid=result.sop_instance_uid,
            series_instance_uid=result.series_instance_uid,
            transfer_syntax_uid=result.transfer_syntax_uid,
            path=file.path,
            size=file.size,
            digest=file.digest,
            variant=result.variant,
            device_uid=result.device_uid or None,
        )


@dataclass(frozen=True, kw_only=True)
class InstanceDeclined:
    """An analysis that ended in a reason."""

    #: one sentence, without PHI
    reason: str
    #: of the rules that it was held against
    rules_digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class InstanceAnalysed:
    """An analysis that ended in findings."""

    #: name of the route that was taken
    route: str
    #: name of the threshold set that was used
    threshold_set: str | None = None
    algorithm: Algorithm
    findings: tuple[Finding, ...]
    checks: tuple[InputCheck, ...]
    view: View
    #: Part 10 file of the source's header, without pixels
    header: bytes = field(repr=False)
    #: path of the picture among the results; None where there is none
    thumbnail: str | None
    #: label of the finding whose heatmap is drawn in it, or ``grad-cam-combined``; None: none is
    shown: str | None = None
    #: made of this image alone: heatmaps and what else draws on it
    objects: tuple[StoredResult, ...] = ()
    #: names of the route's destinations
    send_to: tuple[str, ...] = ()
    #: kinds of object that the route makes; None: all that its destinations want
    kinds: tuple[ObjectKind, ...] | None = None
    #: how long after its reception the study must be quiet before it is reported
    quiet_seconds: float = 0.0
    #: how many of each view its route expects; a study that has them is complete
    expected_views: Mapping[str, int] = field(default_factory=dict)
    #: how long after the study's first image it is reported at the latest; None: there is no such limit
    max_wait_seconds: float | None = None
    #: why an object could not be made of it, a sentence each, without PHI; told as events
    omitted: tuple[str, ...] = ()
    #: of the rules that it was treated by
    rules_digest: str | None = None
    #: which device made the image; empty: the header does not say
    device: str = ""
    #: None: no rules of triage were configured
    triage: Triage | None = None
    #: None: no segmentation model was asked
    anatomy: AnatomyReading | None = None

    @property
    def quiet(self) -> timedelta:
        """`quiet_seconds` as a duration."""
        return timedelta(seconds=self.quiet_seconds)


@dataclass(frozen=True, kw_only=True)
class AnalysedImage:
    """One image of a study that is to be reported."""

    #: of the analysis: a later one has a higher number
    number: int
    sop_class_uid: str
    sop_instance_uid: str
    received_at: datetime
    analysis: InstanceAnalysed


@dataclass(frozen=True, kw_only=True)
class StudyForReport:
    """All a report needs to know; the same for every call with one lease."""

    study_number: int
    study_instance_uid: str
    #: when the node received the study's first instance, UTC
    first_received_at: datetime
    #: 1 for a study's first report
    revision: int
    #: which of the patients that the study has been of it speaks of, counted from 1
    patient_number: int = 1
    #: documents of that patient that were not retracted, the newest last
    predecessors: tuple[StoredResult, ...]
    #: the last report that stands speaks of analyses up to this one; 0: there is none
    told: int
    #: of that patient, in the order they were analysed; without objects that were retracted
    images: tuple[AnalysedImage, ...]
    #: why other instances of the study are not in it, in the order they came
    unread: tuple[str, ...]

    @property
    def send_to(self) -> tuple[str, ...]:
        """Destinations of all its images, each once, in order."""
        return tuple(dict.fromkeys(name for image in self.images for name in image.analysis.send_to))

    def kinds_for(self, destination: str) -> frozenset[ObjectKind]:
        """Kinds of object that the routes of its images make for a destination."""
        made = [image.analysis.kinds for image in self.images if destination in image.analysis.send_to]
        return frozenset(kind for kinds in made for kind in (ObjectKind if kinds is None else kinds))
