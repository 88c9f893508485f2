"""What the threads of the deliverer are given, and what an answer means for a delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from mcads_node.backoff import ErrorKind, Failure, GiveUp, RetryPolicy, next_attempt
from mcads_node.deliver.send import Answer, Caller, DestinationAddress
from mcads_node.profile import Profile
from mcads_node.spool import Spool
from mcads_node.workitems import (
    CommitmentOutcome,
    CommitmentReport,
    CommitmentRequest,
    Deferred,
    Delivery,
    DestinationTrouble,
    Outcome,
    Refused,
    Stored,
)


class DeliveryQueue(Protocol):
    """What a deliverer needs of the durable state; see `Workitems`."""

    def due_deliveries(self, destination: str, limit: int) -> list[Delivery]:
        """Give what is due, oldest first."""

    def record_delivery(self, delivery: Delivery, outcome: Outcome, alternatives: Sequence[str] = ()) -> bool:
        """Commit how an attempt ended, and plan the first of the alternatives where it was refused."""

    def defer_destination(self, name: str, until: datetime, reason: str) -> DestinationTrouble:
        """Leave a destination alone until then."""

    def note_answer(self, name: str) -> None:
        """Forget why it was left alone: it has answered."""

    def destination_trouble(self, name: str) -> DestinationTrouble | None:
        """Why it was left alone, if it was."""

    def next_due(self, destination: str) -> datetime | None:
        """When to look again."""

    def hold_destination(self, name: str, holder: str, until: datetime) -> bool:
        """Have a destination for oneself until then; False where another process has it."""

    def let_go_destination(self, name: str, holder: str) -> None:
        """Let another process have a destination."""

    def give_up_old(self, destination: str, since_until: datetime, reason: str) -> int:
        """Refuse what has been tried since then or longer; gives how many, until there are none."""

    def request_commitment(self, destination: str, again_at: datetime) -> CommitmentRequest | None:
        """Put on record what a destination is asked to keep now."""

    def withdraw_commitment(self, request: CommitmentRequest) -> None:
        """Forget a request that never reached its destination."""

    def record_commitment(
        self, report: CommitmentReport, policy_of: Callable[[str], RetryPolicy]
    ) -> CommitmentOutcome | None:
        """Commit what a destination answered; None where the transaction UID is not one of ours."""

    def give_up_unanswered(self, destination: str, stored_until: datetime, reason: str) -> int:
        """Refuse what was stored by then and never committed; gives how many, until there are none."""

    def waive_commitment(self, destination: str) -> int:
        """Ask a destination no more for what it has stored."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How one destination is dealt with."""

    #: couriers, each with an association of its own
    associations: int = 1
    #: what grew older is given up; None: as the policy of all destinations says
    max_age: timedelta | None = None
    #: ask for Storage Commitment, and again where no answer has come for so long; None: do not ask
    commitment_timeout: timedelta | None = None
    #: how long an answer on the same association is waited for, in seconds
    report_seconds: float = 3.0

    def __post_init__(self) -> None:
        if self.associations < 1:
            raise ValueError(f"expected at least one association, got {self.associations}")


@dataclass(frozen=True, kw_only=True)
class Shelves:
    """Where the bytes of objects lie."""

    #: that the node made
    results: Spool
    #: as they were received: those that are forwarded
    received: Spool

    def locate(self, delivery: Delivery) -> Path:
        """Say where the file of a delivery's object lies."""
        shelf = self.received if delivery.kind is None else self.results
        return shelf.locate(delivery.path)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What one association for delivery came to; for whoever audits and counts."""

    #: its name in the configuration
    destination: str
    address: DestinationAddress
    #: objects that were stored, by Study Instance UID
    stored: Mapping[str, int]
    #: objects that the destination refused, or that were given up
    refused: int
    #: both of these by Study Instance UID, SOP Class UID, and whether they were stored
    ended: Mapping[tuple[str, str, bool], int]
    #: objects that are tried again
    deferred: int
    #: why the destination could not be reached, or the association ended early; None where neither
    unreachable: str | None
    #: seconds from due for the first time to stored, of each that was stored
    waited: tuple[float, ...]
    #: from the first to the last object, or to the failure
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DeliverySettings:
    """Where results go, who sends them, and how patiently."""

    #: by the name that routes and deliveries use
    destinations: Mapping[str, DestinationAddress]
    caller: Caller
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    #: what each destination wants, by its name: what to send instead of an object whose SOP class it rejects
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    #: how each destination is dealt with, where not as by default
    terms: Mapping[str, Terms] = field(default_factory=dict)
    #: seconds after which a thread looks by itself: other processes plan deliveries too
    poll_seconds: float = 5.0
    #: name of this process among those that deliver
    holder: str = "deliverer"
    #: a destination is this process's for so long after it was last heard of; the same for all
    hold: timedelta = timedelta(minutes=15)
    #: told of each association; must neither raise nor wait
    observer: Callable[[Transfer], None] | None = None
    #: told of each answer to a request for Storage Commitment; likewise
    on_commitment: Callable[[CommitmentOutcome], None] | None = None

    def terms_of(self, destination: str) -> Terms:
        """Say how a destination is dealt with."""
        return self.terms.get(destination, Terms())

    def policy_of(self, destination: str) -> RetryPolicy:
        """Say how patient to be with a destination."""
        return policy_of(self.terms_of(destination), self.policy)


def policy_of(terms: Terms, policy: RetryPolicy) -> RetryPolicy:
    """Give the policy for a destination of these terms."""
    if terms.max_age is None:
        return policy
    return RetryPolicy(
        base=policy.base,
        factor=policy.factor,
        cap=policy.cap,
        max_age=terms.max_age,
        max_attempts=policy.max_attempts,
    )


def outcome_of(
    answer: Answer, delivery: Delivery, policy: RetryPolicy, now: datetime, random: Callable[[], float]
) -> Outcome:
    """Decide what an answer means for a delivery."""
    if answer.failure is None:
        return Stored(status=answer.status or 0x0000, reason=answer.reason)
    reason = answer.reason or "failed"
    if answer.failure is ErrorKind.PERMANENT:
        return Refused(status=answer.status, reason=reason)
    failure = Failure(kind=answer.failure, attempts=delivery.attempts + 1, since=delivery.since)
    decision = next_attempt(failure, policy, now, random)
    if isinstance(decision, GiveUp):
        return Refused(status=answer.status, reason=f"{reason}; given up: {decision.reason}")
    return Deferred(until=decision.at, status=answer.status, reason=reason)
