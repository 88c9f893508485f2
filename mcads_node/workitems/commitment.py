"""Storage Commitment: what destinations were asked to keep, and what they answered (PS3.4 annex J).

A delivery that is STORED at a destination that is asked for commitment has a moment at which it is to be
asked for. A request names a batch of them under a transaction UID, and puts that moment off: what is not
answered by then is asked for again, under another UID. Requests stay on record, so that an answer counts
however late it comes. What the destination does not commit to is sent again, a number of times.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Row, case, delete, exists, insert, literal, select, update

from mcads_node.backoff import ErrorKind, Failure, GiveUp, RetryPolicy, next_attempt
from mcads_node.workitems.deliveries import plan
from mcads_node.workitems.destinations import SKEW, is_left_alone, note_answer
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.outcomes import (
    CommitmentOutcome,
    CommitmentReport,
    CommitmentRequest,
    Deferred,
    Delivery,
    DeliveryState,
    Refused,
)
from mcads_node.workitems.outgoing import delivery_of, outgoing
from mcads_node.workitems.schema import commitment_items, commitments, deliveries, studies

#: Failure Reason (0008,1197) as in PS3.3 section C.14.1.1, and whether sending it again may help
_FAILURES: Final[Mapping[int, tuple[str, bool]]] = MappingProxyType(
    {
        0x0110: ("processing failure", True),
        0x0112: ("no such object instance", True),
        0x0119: ("class / instance conflict", False),
        0x0122: ("referenced SOP class not supported", False),
        0x0131: ("duplicate transaction UID", True),
        0x0213: ("resource limitation", True),
    }
)


def request_commitment(
    tx: Transaction, destination: str, again_at: datetime, limit: int
) -> CommitmentRequest | None:
    """Put on record that a destination is asked now, and again at `again_at`; None where nothing is due.

    Whoever gets the answer is the only one to ask: in the same transaction the objects cease to be due.
    """
    if is_left_alone(tx, destination):
        return None
    found = _due(tx, destination, again_at, limit)
    if not found:
        return None
    uid, stored_at = f"2.25.{uuid.uuid4().int}", deliveries.c.stored_at
    number = tx.connection.execute(
        insert(commitments)
        .values(destination=destination, transaction_uid=uid, asked_at=tx.now)
        .returning(commitments.c.id)
    ).scalar_one()
    tx.connection.execute(
        insert(commitment_items), [{"commitment_id": number, "delivery_id": each.number} for each in found]
    )
    tx.connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_([each.number for each in found]))
        .values(
            commitment_due_at=again_at,
            # not after it was asked for, where the clock stepped back in between
            stored_at=case((stored_at > tx.now, literal(tx.now, stored_at.type)), else_=stored_at),
        )
    )
    return CommitmentRequest(destination=destination, transaction_uid=uid, deliveries=found)


def withdraw_commitment(tx: Transaction, request: CommitmentRequest) -> None:
    """Forget a request that never reached its destination; what it named is due at once."""
    number = select(commitments.c.id).where(commitments.c.transaction_uid == request.transaction_uid)
    tx.connection.execute(
        delete(commitment_items).where(commitment_items.c.commitment_id == number.scalar_subquery())
    )
    tx.connection.execute(delete(commitments).where(commitments.c.transaction_uid == request.transaction_uid))
    tx.connection.execute(
        update(deliveries)
        .where(
            deliveries.c.id.in_([each.number for each in request.deliveries]),
            deliveries.c.commitment_due_at.is_not(None),
        )
        .values(commitment_due_at=tx.now)
    )


def record_commitment(
    tx: Transaction,
    report: CommitmentReport,
    policy_of: Callable[[str], RetryPolicy],
    random: Callable[[], float],
) -> CommitmentOutcome | None:
    """Write down what a destination answered; None where nobody asked under that transaction UID."""
    asked = tx.connection.execute(
        select(commitments).where(commitments.c.transaction_uid == report.transaction_uid)
    ).first()
    if asked is None:
        return None
    policy, counts = policy_of(asked.destination), {"committed": 0, "again": 0, "refused": 0}
    for row in _unanswered(tx, asked.id):
        delivery = delivery_of(row)
        if row.sop_instance_uid in report.committed:
            _answer(tx, asked.id, delivery)
            counts["committed"] += _commit(tx, row)
        elif row.sop_instance_uid in report.failed:
            _answer(tx, asked.id, delivery)
            if _is_awaited(row, asked.asked_at):
                reason = report.failed[row.sop_instance_uid]
                outcome = after_failure(delivery, reason, policy, tx.now, random)
                _fail(tx, delivery, outcome)
                counts["again" if isinstance(outcome, Deferred) else "refused"] += 1
    note_answer(tx, asked.destination)
    return CommitmentOutcome(destination=asked.destination, **counts)


def after_failure(
    delivery: Delivery,
    reason: int | None,
    policy: RetryPolicy,
    now: datetime,
    random: Callable[[], float],
) -> Deferred | Refused:
    """Decide what follows where a destination does not commit to an object.

    Parameters
    ----------
    delivery
        Stored, and not committed to.
    reason
        Failure Reason (0008,1197), if any was given.
    policy, now, random
        As for `next_attempt`; the failure counts as an attempt.
    """
    words, helps = _FAILURES.get(reason or 0, ("unknown failure reason", True))
    code = "none given" if reason is None else f"0x{reason:04X}, {words}"
    said = f"stored, but not committed (failure reason {code})"
    kind = ErrorKind.TRANSIENT if helps else ErrorKind.PERMANENT
    failure = Failure(kind=kind, attempts=delivery.attempts + 1, since=delivery.since)
    decision = next_attempt(failure, policy, now, random)
    if isinstance(decision, GiveUp):
        return Refused(reason=f"{said}; given up: {decision.reason}")
    return Deferred(until=decision.at, reason=said)


def give_up_unanswered(
    tx: Transaction, destination: str, stored_until: datetime, reason: str, limit: int
) -> int:
    """Refuse what was stored by then, asked for since, and is still not committed; gives their number."""
    was_asked = exists().where(commitment_items.c.delivery_id == deliveries.c.id)
    query = (
        outgoing()
        .where(
            deliveries.c.destination == destination,
            deliveries.c.commitment_due_at <= tx.now,
            deliveries.c.stored_at <= stored_until,
            was_asked,
        )
        .order_by(deliveries.c.commitment_due_at, deliveries.c.id)
        .limit(limit)
        .with_for_update(of=deliveries)
    )
    found = [delivery_of(row) for row in tx.connection.execute(query)]
    for delivery in found:
        _fail(tx, delivery, Refused(reason=reason))
    return len(found)


def waive_commitment(tx: Transaction, destination: str) -> int:
    """Take what a destination has stored for delivered: it is not asked any more; gives their number."""
    awaited = (deliveries.c.destination == destination) & deliveries.c.commitment_due_at.is_not(None)
    # an answer that comes late finds nothing: the file may be gone by then
    tx.connection.execute(
        update(commitment_items)
        .where(
            commitment_items.c.delivery_id.in_(select(deliveries.c.id).where(awaited)),
            commitment_items.c.answered_at.is_(None),
        )
        .values(answered_at=tx.now)
    )
    return tx.connection.execute(update(deliveries).where(awaited).values(commitment_due_at=None)).rowcount


def _due(tx: Transaction, destination: str, again_at: datetime, limit: int) -> tuple[Delivery, ...]:
    """Lock what a destination is to be asked for: what is due, or was before the clock stepped back."""
    due_at = deliveries.c.commitment_due_at
    for moment in (due_at <= tx.now, due_at > max(again_at, tx.now) + SKEW):
        query = (
            outgoing()
            .where(deliveries.c.destination == destination, moment)
            .order_by(due_at, deliveries.c.id)
            .limit(limit)
            .with_for_update(of=deliveries, skip_locked=True)
        )
        if found := tuple(delivery_of(row) for row in tx.connection.execute(query)):
            return found
    return ()


def _is_awaited(row: Row[Any], asked_at: datetime) -> bool:
    """Whether a failure is about what is there, and matters.

    Not of what was sent again since, after another request failed; nor of what was waived, or taken back.
    """
    stands = row.state == DeliveryState.STORED and row.commitment_due_at is not None
    return stands and row.retracted_by is None and bool(row.stored_at <= asked_at)


def _unanswered(tx: Transaction, number: int) -> list[Row[Any]]:
    """Read the objects of a request that were not answered; their studies are locked, as for a delivery."""
    ours = select(commitment_items.c.delivery_id).where(
        commitment_items.c.commitment_id == number, commitment_items.c.answered_at.is_(None)
    )
    of_studies = select(deliveries.c.study_id).where(deliveries.c.id.in_(ours))
    tx.connection.execute(
        select(studies.c.id)
        .where(studies.c.id.in_(of_studies))
        .order_by(studies.c.id)
        .with_for_update(of=studies)
    )
    query = outgoing().where(deliveries.c.id.in_(ours)).order_by(deliveries.c.id)
    return list(tx.connection.execute(query))


def _answer(tx: Transaction, number: int, delivery: Delivery) -> None:
    tx.connection.execute(
        update(commitment_items)
        .where(commitment_items.c.commitment_id == number, commitment_items.c.delivery_id == delivery.number)
        .values(answered_at=tx.now)
    )


def _commit(tx: Transaction, row: Row[Any]) -> bool:
    """Take a delivery for committed, also one that was to be sent again, or was given up."""
    if row.state == DeliveryState.COMMITTED:
        return False
    if row.state == DeliveryState.REFUSED and row.retracted_by is not None:
        # it was stopped on its way back to a peer that turns out to have it: the rejection note follows it
        plan(tx, row.retracted_by, row.destination)
    changes = {
        "state": DeliveryState.COMMITTED,
        "ended_at": tx.now,
        "reason": None,
        "commitment_due_at": None,
    }
    tx.connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(changes))
    _note(tx, delivery_of(row), "committed", None)
    return True


def _fail(tx: Transaction, delivery: Delivery, outcome: Deferred | Refused) -> None:
    changes: dict[str, Any] = {"reason": clean(outcome.reason), "commitment_due_at": None}
    if isinstance(outcome, Deferred):
        pending = {"state": DeliveryState.PENDING, "ended_at": None, "due_at": outcome.until}
        # never in the future: a clock that stepped back would make it due again at once, each time
        changes |= pending | {"attempts": delivery.attempts + 1, "since": min(delivery.since, tx.now)}
    else:
        changes |= {"state": DeliveryState.REFUSED, "ended_at": tx.now, "attempts": delivery.attempts + 1}
    tx.connection.execute(update(deliveries).where(deliveries.c.id == delivery.number).values(changes))
    what = "not committed" if isinstance(outcome, Deferred) else "refused"
    _note(tx, delivery, what, outcome.reason)


def _note(tx: Transaction, delivery: Delivery, what: str, why: str | None) -> None:
    subject, study = f"delivery {delivery.number}", delivery.study_number
    record(tx, Happening(who=delivery.destination, what=what, subject=subject, study=study, why=why))
