"""What a delivery is, how an attempt at it may end, and what a destination is asked to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mcads_node.result import ObjectKind


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "PENDING"
    #: the peer has it; where the destination offers Storage Commitment, that is awaited
    STORED = "STORED"
    #: the peer has taken responsibility for it
    COMMITTED = "COMMITTED"
    #: not tried again by itself: a dead letter, unless it was retracted or another object stands in for it
    REFUSED = "REFUSED"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One object that is to be sent to one destination."""

    #: the node's own number of it
    number: int
    destination: str
    #: None: an instance that is forwarded as it was received
    kind: ObjectKind | None
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    #: which rendition of its kind the object is; empty: the default one
    variant: str = ""
    study_number: int
    study_instance_uid: str
    #: of the Part 10 file, relative to the folder of results; of a forwarded instance, to the spool
    path: str
    size: int
    #: SHA-256 of the file, hex
    digest: str
    #: failed attempts before this one
    attempts: int
    #: since when it has been tried, UTC
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The peer has it."""

    #: C-STORE status: 0x0000, or a warning of 0xBxxx
    status: int = 0x0000
    #: the warning in words
    reason: str | None = None
    #: the peer is to be asked whether it keeps it
    awaits_commitment: bool = False


@dataclass(frozen=True, kw_only=True)
class Deferred:
    """Not now; to be tried again."""

    #: not before, UTC
    until: datetime
    reason: str
    #: C-STORE status; None where there was no answer
    status: int | None = None
    #: whether it was an attempt at all; not where the node itself could not make one
    counts: bool = True


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Not ever; a person may have it tried again."""

    reason: str
    #: C-STORE status; None where it was not the peer that gave up
    status: int | None = None


Outcome = Stored | Deferred | Refused


@dataclass(frozen=True, kw_only=True)
class DestinationTrouble:
    """A destination that could not be reached when it was last tried."""

    name: str
    #: attempts in a row
    failures: int
    #: UTC
    failing_since: datetime
    deferred_until: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class CommitmentRequest:
    """What a destination is asked to keep."""

    destination: str
    transaction_uid: str
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """What a destination answered."""

    transaction_uid: str
    #: SOP Instance UIDs of what it keeps
    committed: frozenset[str]
    #: Failure Reason by SOP Instance UID of what it does not keep; None where it gave none
    failed: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommitmentOutcome:
    """What an answer came to."""

    destination: str
    #: deliveries that are committed by it
    committed: int
    #: deliveries that are sent again
    again: int
    #: deliveries that are given up
    refused: int
