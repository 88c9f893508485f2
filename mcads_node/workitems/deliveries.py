"""What is to be sent where, and how each attempt ended.

A delivery is one object × one destination. It is PENDING until the peer has stored it, or refused it for
good. What follows where the destination is asked for Storage Commitment is in ``commitment``; what is known
of the destination itself in ``destinations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Integer, Row, Select, bindparam, func, insert, or_, select, update

from mcads_node.workitems.destinations import LONGEST_WAIT, SKEW, is_left_alone, note_answer, trouble_of
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import NODE, Happening, clean, record
from mcads_node.workitems.outcomes import (
    Deferred,
    Delivery,
    DeliveryState,
    Outcome,
    Refused,
    Stored,
)
from mcads_node.workitems.outgoing import delivery_of, outgoing
from mcads_node.workitems.queue import lock_study
from mcads_node.workitems.schema import UtcDateTime, deliveries, results


def due_deliveries(tx: Transaction, destination: str, limit: int) -> list[Delivery]:
    """Deliveries to one destination that are due, oldest first; none while the destination is deferred.

    What was planned before the clock stepped back comes last: it would otherwise wait for as long as the
    step was.
    """
    if is_left_alone(tx, destination):
        return []
    bound = {
        "to": destination,
        "now": tx.now,
        "soon": tx.now + SKEW,
        "latest": tx.now + LONGEST_WAIT,
    }
    found: list[Row[Any]] = []
    for query in _due():
        if len(found) < limit:
            found += tx.connection.execute(query, {**bound, "most": limit - len(found)}).all()
    return [delivery_of(row) for row in found]


@cache
def _due() -> tuple[Select[Any], Select[Any]]:
    """Select what is due, and what the clock left behind; made once: that takes long."""
    now, soon, latest = (bindparam(name, type_=UtcDateTime) for name in ("now", "soon", "latest"))
    due_at = deliveries.c.due_at
    query = (
        outgoing()
        .where(
            deliveries.c.state == DeliveryState.PENDING,
            deliveries.c.destination == bindparam("to"),
            results.c.retracted_by.is_(None),
        )
        .order_by(due_at, deliveries.c.id)
        .limit(bindparam("most", type_=Integer))
    )
    out_of_time = or_(due_at > latest, deliveries.c.since > soon)
    # one range of the index each: joined by "or", they would have everything sorted that waits
    return query.where(due_at <= now), query.where((due_at > now) & out_of_time)


def record_delivery(
    tx: Transaction, delivery: Delivery, outcome: Outcome, alternatives: Sequence[str]
) -> bool:
    """Write down how an attempt ended; False where another attempt had ended the delivery before."""
    _lock_study_of(tx, delivery)
    changed = tx.connection.execute(
        _END, {"mine": delivery.number, "pending": DeliveryState.PENDING, **_changes(tx, delivery, outcome)}
    )
    if not isinstance(outcome, Deferred) and (isinstance(outcome, Stored) or outcome.status is not None):
        note_answer(tx, delivery.destination)
    if not changed.rowcount:
        return isinstance(outcome, Stored) and _stored_after_retraction(tx, delivery, outcome)
    happening = Happening(
        who=delivery.destination,
        what=type(outcome).__name__.lower(),
        subject=f"delivery {delivery.number}",
        study=delivery.study_number,
        why=_without_comment(outcome),
    )
    record(tx, happening)
    if isinstance(outcome, Refused):
        _plan_alternative(tx, delivery, alternatives)
    return True


#: whose values are bound: another set of columns each kind of outcome
_END = update(deliveries).where(
    deliveries.c.id == bindparam("mine"), deliveries.c.state == bindparam("pending")
)


def _without_comment(outcome: Outcome) -> str | None:
    """Say why for the record of events: what a peer comments may name a patient; the delivery keeps it."""
    if isinstance(outcome, Stored) and outcome.reason is None:
        return None
    return outcome.reason if outcome.status is None else f"status 0x{outcome.status:04X}"


def plan(tx: Transaction, result: int, destination: str, *, stands_in_for: int | None = None) -> int | None:
    """Have a result sent to a destination; None where that was planned before."""
    there = select(deliveries.c.id).where(
        deliveries.c.result_id == result, deliveries.c.destination == destination
    )
    if tx.connection.execute(there).first() is not None:
        return None
    study = select(results.c.study_id).where(results.c.id == result).scalar_subquery()
    statement = insert(deliveries).values(
        study_id=study,
        result_id=result,
        destination=destination,
        state=DeliveryState.PENDING,
        attempts=0,
        due_at=tx.now,
        since=tx.now,
        stands_in_for=stands_in_for,
    )
    number: int = tx.connection.execute(statement.returning(deliveries.c.id)).scalar_one()
    return number


def next_due(tx: Transaction, destination: str) -> datetime | None:
    """When there is something to send to or to ask a destination, or was; None where nothing waits for it."""
    moments: list[datetime] = [
        moment for query in _NEXT for moment in tx.connection.execute(query, {"to": destination}).scalars()
    ]
    trouble = trouble_of(tx, destination) if is_left_alone(tx, destination) else None
    if not moments or trouble is None:
        return min(moments, default=None)
    return max(min(moments), trouble.deferred_until)


_NEXT = tuple(
    select(column).where(waits, deliveries.c.destination == bindparam("to")).order_by(column).limit(1)
    for column, waits in (
        (deliveries.c.due_at, deliveries.c.state == DeliveryState.PENDING),
        (deliveries.c.commitment_due_at, deliveries.c.commitment_due_at.is_not(None)),
    )
)


def give_up_old(tx: Transaction, destination: str, since_until: datetime, reason: str, limit: int) -> int:
    """Refuse what has been tried since then or longer, at most so many deliveries; gives their number."""
    query = (
        select(deliveries.c.id, deliveries.c.study_id)
        .where(
            deliveries.c.state == DeliveryState.PENDING,
            deliveries.c.destination == destination,
            deliveries.c.since <= since_until,
        )
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(limit)
    )
    found = tx.connection.execute(query.with_for_update()).all()
    refused = {"state": DeliveryState.REFUSED, "ended_at": tx.now, "reason": clean(reason)}
    tx.connection.execute(
        update(deliveries).where(deliveries.c.id.in_([row.id for row in found])).values(refused)
    )
    record(
        tx,
        *(
            Happening(
                who=destination, what="refused", subject=f"delivery {row.id}", study=row.study_id, why=reason
            )
            for row in found
        ),
    )
    return len(found)


def pending_by_destination(tx: Transaction) -> dict[str, int]:
    """How many deliveries wait for each destination, also for those the configuration no longer names."""
    query = (
        select(deliveries.c.destination, func.count().label("waiting"))
        .where(deliveries.c.state == DeliveryState.PENDING)
        .group_by(deliveries.c.destination)
    )
    return {row.destination: row.waiting for row in tx.connection.execute(query)}


def _lock_study_of(tx: Transaction, delivery: Delivery) -> None:
    # a retraction reads what was stored where, and decides by it (on SQLite there is only one writer anyway)
    lock_study(tx, delivery.study_number)


def _plan_alternative(tx: Transaction, delivery: Delivery, alternatives: Sequence[str]) -> None:
    """Have the first of the alternatives sent that was made with the refused object, and not yet planned."""
    if not alternatives:
        return
    refused = select(deliveries.c.result_id).where(deliveries.c.id == delivery.number).scalar_subquery()
    revision = select(results.c.revision).where(results.c.id == refused).scalar_subquery()
    made = {
        row.variant: row.id
        for row in tx.connection.execute(
            select(results.c.id, results.c.variant).where(
                results.c.study_id == delivery.study_number,
                results.c.kind == delivery.kind,
                results.c.revision == revision,
                results.c.variant.in_(alternatives),
                results.c.retracted_by.is_(None),
            )
        )
    }
    for variant in alternatives:
        number = (
            plan(tx, made[variant], delivery.destination, stands_in_for=delivery.number)
            if variant in made
            else None
        )
        if number is not None:
            happening = Happening(
                who=NODE,
                what="alternative planned",
                subject=f"delivery {number}",
                study=delivery.study_number,
                why=f"{variant or 'the default rendition'} instead of delivery {delivery.number}",
            )
            record(tx, happening)
            return


def _stored_after_retraction(tx: Transaction, delivery: Delivery, outcome: Stored) -> bool:
    """Record that an object arrived which was retracted while it was sent, and send the note after it."""
    note: int | None = tx.connection.execute(
        select(results.c.retracted_by)
        .join(deliveries, deliveries.c.result_id == results.c.id)
        .where(deliveries.c.id == delivery.number, deliveries.c.state == DeliveryState.REFUSED)
    ).scalar_one_or_none()
    if note is None:
        return False
    # what was taken back need not be kept there: nobody asks for that
    changes = {**_changes(tx, delivery, outcome), "commitment_due_at": None}
    tx.connection.execute(update(deliveries).where(deliveries.c.id == delivery.number).values(changes))
    plan(tx, note, delivery.destination)
    happening = Happening(
        who=delivery.destination,
        what="stored",
        subject=f"delivery {delivery.number}",
        study=delivery.study_number,
        why="it was retracted while it was sent; the rejection note follows",
    )
    record(tx, happening)
    return True


def _changes(tx: Transaction, delivery: Delivery, outcome: Outcome) -> dict[str, Any]:
    said = {"status": outcome.status, "reason": None if outcome.reason is None else clean(outcome.reason)}
    match outcome:
        case Stored():
            ended = {"state": DeliveryState.STORED, "ended_at": tx.now, "stored_at": tx.now}
            return {**said, **ended, "commitment_due_at": tx.now if outcome.awaits_commitment else None}
        case Deferred():
            attempts = delivery.attempts + outcome.counts
            # never in the future: a clock that stepped back would make it due again at once, each time
            since = min(delivery.since, tx.now)
            return {**said, "attempts": attempts, "due_at": outcome.until, "since": since}
        case Refused():
            ended = {"state": DeliveryState.REFUSED, "ended_at": tx.now}
            return {**said, **ended, "attempts": delivery.attempts + 1}
