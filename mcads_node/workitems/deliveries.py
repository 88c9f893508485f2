"""What is to be sent where, and how each attempt ended.

A delivery is one object × one destination. It is PENDING until the peer has stored it, or refused it for
good. A destination that cannot be reached is deferred as a whole: one row says until when, and what waits
for it is left untouched, however much that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mcads_node.result import ObjectKind
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.schema import deliveries, destinations, results, studies


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "PENDING"
    STORED = "STORED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One object that is to be sent to one destination."""

    #: the node's own number of it
    number: int
    destination: str
    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_number: int
    study_instance_uid: str
    #: of the Part 10 file, relative to the folder of results
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


@dataclass(frozen=True, kw_only=True)
class Deferred:
    """Not now; to be tried again."""

    #: not before, UTC
    until: datetime
    reason: str
    #: C-STORE status; None where there was no answer
    status: int | None = None


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


def due_deliveries(tx: Transaction, destination: str, limit: int) -> list[Delivery]:
    """Deliveries to one destination that are due, oldest first; none while the destination is deferred."""
    trouble = trouble_of(tx, destination)
    if trouble is not None and trouble.deferred_until > tx.now:
        return []
    query = (
        select(deliveries, *_RESULT, studies.c.study_instance_uid)
        .join(results, results.c.id == deliveries.c.result_id)
        .join(studies, studies.c.id == results.c.study_id)
        .where(
            deliveries.c.state == DeliveryState.PENDING,
            deliveries.c.destination == destination,
            deliveries.c.due_at <= tx.now,
        )
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(limit)
    )
    return [_delivery(row) for row in tx.connection.execute(query)]


def record_delivery(tx: Transaction, delivery: Delivery, outcome: Outcome) -> bool:
    """Write down how an attempt ended; False where another attempt had ended the delivery before."""
    changed = tx.connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery.number, deliveries.c.state == DeliveryState.PENDING)
        .values(_changes(tx, delivery, outcome))
    )
    if not isinstance(outcome, Deferred) and (isinstance(outcome, Stored) or outcome.status is not None):
        # it has answered: whatever kept it from being reached is over
        tx.connection.execute(delete(destinations).where(destinations.c.name == delivery.destination))
    if not changed.rowcount:
        return False
    happening = Happening(
        who=delivery.destination,
        what=type(outcome).__name__.lower(),
        subject=f"delivery {delivery.number}",
        study=delivery.study_number,
        why=outcome.reason,
    )
    record(tx, happening)
    return True


def defer_destination(tx: Transaction, name: str, until: datetime, reason: str) -> DestinationTrouble:
    """Leave a destination alone until then; what waits for it keeps its attempts."""
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(destinations).values(
        name=name, failures=1, failing_since=tx.now, deferred_until=until, reason=clean(reason)
    )
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "failures": destinations.c.failures + 1,
            "deferred_until": statement.excluded.deferred_until,
            "reason": statement.excluded.reason,
        },
    )
    row = tx.connection.execute(statement.returning(destinations)).one()
    record(tx, Happening(who=name, what="deferred", subject=f"destination {name}", why=reason))
    return _trouble(row)


def trouble_of(tx: Transaction, name: str) -> DestinationTrouble | None:
    """Why and since when a destination cannot be reached; None where nothing is known against it."""
    row = tx.connection.execute(select(destinations).where(destinations.c.name == name)).first()
    return None if row is None else _trouble(row)


def next_due(tx: Transaction, destination: str) -> datetime | None:
    """When there is something to send to a destination, or was; None where nothing waits for it."""
    first: datetime | None = tx.connection.execute(
        select(deliveries.c.due_at)
        .where(deliveries.c.state == DeliveryState.PENDING, deliveries.c.destination == destination)
        .order_by(deliveries.c.due_at)
        .limit(1)
    ).scalar_one_or_none()
    trouble = trouble_of(tx, destination)
    if first is None or trouble is None:
        return first
    return max(first, trouble.deferred_until)


def pending_by_destination(tx: Transaction) -> dict[str, int]:
    """How many deliveries wait for each destination, also for those the configuration no longer names."""
    query = (
        select(deliveries.c.destination, func.count().label("waiting"))
        .where(deliveries.c.state == DeliveryState.PENDING)
        .group_by(deliveries.c.destination)
    )
    return {row.destination: row.waiting for row in tx.connection.execute(query)}


_RESULT = tuple(
    results.c[name]
    for name in (
        "kind",
        "sop_class_uid",
        "sop_instance_uid",
        "transfer_syntax_uid",
        "study_id",
        "path",
        "size",
        "digest",
    )
)


def _changes(tx: Transaction, delivery: Delivery, outcome: Outcome) -> dict[str, Any]:
    said = {"status": outcome.status, "reason": None if outcome.reason is None else clean(outcome.reason)}
    match outcome:
        case Stored():
            return {**said, "state": DeliveryState.STORED, "ended_at": tx.now}
        case Deferred():
            return {**said, "attempts": delivery.attempts + 1, "due_at": outcome.until}
        case Refused():
            ended = {"state": DeliveryState.REFUSED, "ended_at": tx.now}
            return {**said, **ended, "attempts": delivery.attempts + 1}


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        number=row.id,
        destination=row.destination,
        kind=ObjectKind(row.kind),
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        study_number=row.study_id,
        study_instance_uid=row.study_instance_uid,
        path=row.path,
        size=row.size,
        digest=row.digest,
        attempts=row.attempts,
        since=row.since,
    )


def _trouble(row: Row[Any]) -> DestinationTrouble:
    return DestinationTrouble(
        name=row.name,
        failures=row.failures,
        failing_since=row.failing_since,
        deferred_until=row.deferred_until,
        reason=row.reason,
    )
