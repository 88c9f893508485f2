"""How it stands with the destinations: what waits, what is awaited of them, and what was given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, func, select, update

from mcads_node.result import ObjectKind
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.outgoing import kind_of, outgoing
from mcads_node.workitems.overview import WaitingFor
from mcads_node.workitems.schema import deliveries, destinations
from mcads_node.workitems.settled import IS_DEAD_LETTER

#: a delivery that begins anew, with all attempts
AFRESH: Mapping[str, object] = {"state": DeliveryState.PENDING, "attempts": 0, "ended_at": None}


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A delivery that is not tried any more, and whose object is not at its destination."""

    #: the node's own number of the delivery
    number: int
    study_number: int
    study_instance_uid: str
    destination: str
    #: None: an instance that is forwarded as it was received
    kind: ObjectKind | None
    sop_class_uid: str
    sop_instance_uid: str
    attempts: int
    #: since when it had been tried
    since: datetime
    #: when it was given up
    ended_at: datetime
    #: the peer's last C-STORE status
    status: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class DestinationLine:
    """One destination: its circuit, and what waits for it."""

    name: str
    #: attempts to reach it in a row that failed; 0: nothing is known against it
    failures: int
    failing_since: datetime | None
    #: until when it is left alone
    deferred_until: datetime | None
    reason: str | None
    #: deliveries that wait, and since when the oldest is tried
    pending: int
    oldest: datetime | None
    #: deliveries that are stored there, and for whose Storage Commitment the node waits; the oldest of them
    awaiting_commitment: int
    oldest_stored: datetime | None
    #: dead letters
    undelivered: int


def list_undelivered(tx: Transaction, destination: str | None, limit: int) -> list[DeadLetter]:
    """Dead letters of all studies, or of one destination, the newest first."""
    query = outgoing().where(IS_DEAD_LETTER).order_by(deliveries.c.id.desc()).limit(limit)
    if destination is not None:
        query = query.where(deliveries.c.destination == destination)
    return [
        DeadLetter(
            number=row.id,
            study_number=row.study_id,
            study_instance_uid=row.study_instance_uid,
            destination=row.destination,
            kind=kind_of(row),
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            attempts=row.attempts,
            since=row.since,
            ended_at=row.ended_at,
            status=row.status,
            reason=row.reason,
        )
        for row in tx.connection.execute(query)
    ]


def retry_undelivered(tx: Transaction, destination: str, who: str) -> int:
    """Have the dead letters of a destination tried again."""
    changed = tx.connection.execute(
        update(deliveries)
        .where(IS_DEAD_LETTER, deliveries.c.destination == destination)
        .values(**AFRESH, due_at=tx.now, since=tx.now)
    ).rowcount
    subject = f"destination {destination}"
    record(tx, Happening(who=who, what="retried", subject=subject, why=f"{changed} deliveries"))
    return changed


def list_destinations(tx: Transaction) -> list[DestinationLine]:
    """Every destination that deliveries or troubles name, by name."""
    waiting = _by_destination(tx, deliveries.c.state == DeliveryState.PENDING, deliveries.c.since)
    awaited = _by_destination(tx, deliveries.c.commitment_due_at.is_not(None), deliveries.c.stored_at)
    dead = _by_destination(tx, IS_DEAD_LETTER, deliveries.c.ended_at)
    troubles = {row.name: row for row in tx.connection.execute(select(destinations))}
    names = sorted({*waiting, *awaited, *dead, *troubles})
    lines = []
    for name in names:
        trouble = troubles.get(name)
        pending, oldest = waiting.get(name, (0, None))
        awaiting, oldest_stored = awaited.get(name, (0, None))
        lines.append(
            DestinationLine(
                name=name,
                failures=trouble.failures if trouble else 0,
                failing_since=trouble.failing_since if trouble else None,
                deferred_until=trouble.deferred_until if trouble else None,
                reason=trouble.reason if trouble else None,
                pending=pending,
                oldest=oldest,
                awaiting_commitment=awaiting,
                oldest_stored=oldest_stored,
                undelivered=dead.get(name, (0, None))[0],
            )
        )
    return lines


def waiting_for(tx: Transaction, studies: Sequence[int]) -> dict[int, tuple[WaitingFor, ...]]:
    """Where studies are not yet all that they should be, by the number of the study."""
    pending = func.sum(case((deliveries.c.state == DeliveryState.PENDING, 1), else_=0)).label("pending")
    query = (
        select(
            deliveries.c.study_id,
            deliveries.c.destination,
            pending,
            (func.count() - pending).label("awaited"),
        )
        .where(
            deliveries.c.study_id.in_(studies),
            (deliveries.c.state == DeliveryState.PENDING) | deliveries.c.commitment_due_at.is_not(None),
        )
        .group_by(deliveries.c.study_id, deliveries.c.destination)
        .order_by(deliveries.c.study_id, deliveries.c.destination)
    )
    troubles = {row.name: row for row in tx.connection.execute(select(destinations))}
    found: dict[int, tuple[WaitingFor, ...]] = {}
    for row in tx.connection.execute(query):
        trouble = troubles.get(row.destination)
        waiting = WaitingFor(
            destination=row.destination,
            pending=int(row.pending),
            awaiting_commitment=int(row.awaited),
            deferred_until=trouble.deferred_until if trouble else None,
            reason=trouble.reason if trouble else None,
        )
        found[row.study_id] = (*found.get(row.study_id, ()), waiting)
    return found


def _by_destination(
    tx: Transaction, condition: ColumnElement[bool], moment: ColumnElement[datetime]
) -> dict[str, tuple[int, datetime | None]]:
    """Count deliveries by destination, and find the earliest of their moments."""
    query = (
        select(deliveries.c.destination, func.count().label("n"), func.min(moment).label("first"))
        .where(condition)
        .group_by(deliveries.c.destination)
    )
    return {row.destination: (row.n, row.first) for row in tx.connection.execute(query)}
