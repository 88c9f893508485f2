"""What becomes of work that was not completed: nothing waits for ever.

It is given back, tried again later, or quarantined with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, false, or_, select, update

from mcads_node.backoff import ErrorKind, Failure, GiveUp, next_attempt
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import NODE, Happening, clean, record
from mcads_node.workitems.queue import held, load, lock_study
from mcads_node.workitems.records import (
    InstanceState,
    Kind,
    Lease,
    LostLease,
    Purpose,
    Workitem,
    WorkPolicy,
    WorkState,
)
from mcads_node.workitems.schema import instances, studies, workitems

_UNLEASED = {"worker": None, "transaction_uid": None, "lease_expires_at": None}


@dataclass(frozen=True, kw_only=True)
class _Again:
    """An item that is to be scheduled again."""

    due_at: datetime
    #: of a report: when it is due whatever waits
    latest_at: datetime | None
    attempts: int
    deaths: int
    who: str
    what: str
    reason: str


def release(tx: Transaction, item: Workitem, why: str) -> bool:
    """Give an item back untouched: the attempt does not count. False if the lease was lost."""
    again = _Again(
        due_at=item.due_at,
        latest_at=item.latest_at,
        attempts=item.attempts,
        deaths=item.deaths,
        who=item.worker,
        what="released",
        reason=why,
    )
    return _schedule_again(tx, item, again)


def fail(
    tx: Transaction, item: Workitem, error: str, policy: WorkPolicy, random: Callable[[], float] | None
) -> WorkState | None:
    """Count a failed attempt; `random` None means that no other attempt can help.

    Returns
    -------
    WorkState | None
        SCHEDULED again, or CANCELED (quarantined); None if the lease was lost and nothing was written.
    """
    attempts = item.attempts + 1
    kind = ErrorKind.PERMANENT if random is None else ErrorKind.TRANSIENT
    failure = Failure(kind=kind, attempts=attempts, since=tx.now)
    decision = next_attempt(failure, policy.retry, tx.now, random or (lambda: 0.0))
    reason = clean(error) or "failed without a reason"
    if isinstance(decision, GiveUp):
        reason = reason if kind is ErrorKind.PERMANENT else f"{reason} ({decision.reason})"
        return WorkState.CANCELED if quarantine(tx, item, reason, attempts, item.deaths) else None
    again = _Again(
        due_at=decision.at,
        latest_at=_not_before(decision.at, item.latest_at),
        attempts=attempts,
        deaths=item.deaths,
        who=item.worker,
        what="failed",
        reason=reason,
    )
    return WorkState.SCHEDULED if _schedule_again(tx, item, again) else None


def leases(tx: Transaction) -> list[Lease]:
    """Every lease there is."""
    columns = (workitems.c.id, workitems.c.transaction_uid, workitems.c.lease_expires_at)
    query = select(*columns).where(workitems.c.state == WorkState.IN_PROGRESS)
    return [
        Lease(
            number=row.id,
            transaction_uid=row.transaction_uid,
            expires_at=row.lease_expires_at,
            overdue=row.lease_expires_at < tx.now,
        )
        for row in tx.connection.execute(query)
    ]


def overdue(tx: Transaction, held_by: str | None) -> ColumnElement[bool]:
    """Whether a lease has run out by the clock, or is held by a worker that is known to be dead."""
    return workitems.c.lease_expires_at < tx.now if held_by is None else workitems.c.worker == held_by


def among(stale: Sequence[Lease]) -> ColumnElement[bool]:
    """Whether a lease is one of these, and was not renewed."""
    mine = (
        (workitems.c.transaction_uid == each.transaction_uid)
        & (workitems.c.id == each.number)
        & (workitems.c.lease_expires_at == each.expires_at)
        for each in stale
    )
    return or_(false(), *mine)


def expire(tx: Transaction, policy: WorkPolicy, which: ColumnElement[bool]) -> list[LostLease]:
    """Take back items in progress."""
    query = select(workitems.c.id).where(workitems.c.state == WorkState.IN_PROGRESS, which)
    numbers = tx.connection.execute(query).scalars().all()
    # in one order of studies, so that two who tend the same database never wait for each other
    items = sorted(load(tx, numbers), key=lambda item: (item.study_number, item.number)) if numbers else []
    lost = [_expire(tx, item, policy) for item in items]
    return [each for each in lost if each is not None]


def _expire(tx: Transaction, item: Workitem, policy: WorkPolicy) -> LostLease | None:
    attempts, deaths = item.attempts + 1, item.deaths + 1
    most = policy.retry.max_attempts
    if deaths >= policy.max_deaths or (most is not None and attempts >= most):
        times = "once" if deaths == 1 else f"{deaths} times"
        state, reason = WorkState.CANCELED, f"its worker died {times}; {attempts} attempts failed"
        done = quarantine(tx, item, reason, attempts, deaths)
    else:
        state, reason = WorkState.SCHEDULED, "its worker died or hung: the lease ran out"
        again = _Again(
            due_at=tx.now,
            latest_at=item.latest_at,
            attempts=attempts,
            deaths=deaths,
            who=NODE,
            what="lease ran out",
            reason=reason,
        )
        done = _schedule_again(tx, item, again)
    if not done:
        return None
    return LostLease(
        number=item.number,
        kind=item.kind,
        study_instance_uid=item.study_instance_uid,
        worker=item.worker,
        state=state,
        reason=reason,
    )


def _not_before(moment: datetime, latest_at: datetime | None) -> datetime | None:
    """Let a report that failed wait for its next attempt, however late it is."""
    return None if latest_at is None else max(latest_at, moment)


def _schedule_again(tx: Transaction, item: Workitem, again: _Again) -> bool:
    lock_study(tx, item.study_number)
    if item.kind is Kind.REPORT:
        successor = _successor(tx, item)
        if successor is not None:
            return _yield_to(tx, item, successor)
    statement = (
        update(workitems)
        .where(held(item))
        .values(
            state=WorkState.SCHEDULED,
            due_at=again.due_at,
            latest_at=again.latest_at,
            attempts=again.attempts,
            deaths=again.deaths,
            reason=clean(again.reason),
            covers=None,
            **_UNLEASED,
        )
    )
    if not tx.connection.execute(statement).rowcount:
        return False
    record(
        tx,
        Happening(
            who=again.who, what=again.what, subject=str(item), study=item.study_number, why=again.reason
        ),
    )
    return True


def _successor(tx: Transaction, item: Workitem) -> int | None:
    """Find the report that a later image had scheduled while this one was being written."""
    query = select(workitems.c.id).where(
        workitems.c.study_id == item.study_number,
        workitems.c.kind == Kind.REPORT,
        workitems.c.state == WorkState.SCHEDULED,
    )
    number: int | None = tx.connection.execute(query.with_for_update()).scalar_one_or_none()
    return number


def _yield_to(tx: Transaction, item: Workitem, successor: int) -> bool:
    """End an unwritten report in favour of a later one, which speaks of all it would have said."""
    reason = f"replaced by workitem {successor}, which a later image had scheduled"
    if not _cancel(tx, item, reason, item.attempts, item.deaths):
        return False
    _take_over_revision(tx, item, successor)
    record(
        tx,
        Happening(who=NODE, what="canceled", subject=str(item), study=item.study_number, why=reason),
    )
    return True


def _take_over_revision(tx: Transaction, item: Workitem, successor: int) -> None:
    # the revision that was not written must not be missing in the row of revisions
    statement = update(workitems).where(workitems.c.id == successor).values(revision=item.revision)
    tx.connection.execute(statement)


def quarantine(tx: Transaction, item: Workitem, reason: str, attempts: int, deaths: int) -> bool:
    """End an item that cannot be done, and say so where a person looks. False if the lease was lost."""
    lock_study(tx, item.study_number)
    if not _cancel(tx, item, reason, attempts, deaths):
        return False
    if item.purpose is Purpose.FIRST:
        tx.connection.execute(
            update(instances)
            .where(instances.c.id == item.instance_number)
            .values(state=InstanceState.QUARANTINED, reason=reason)
        )
    elif item.kind is Kind.REPORT:
        successor = _successor(tx, item)
        if successor is not None:
            _take_over_revision(tx, item, successor)
        tx.connection.execute(
            update(studies)
            .where(studies.c.id == item.study_number)
            .values(trouble=f"its report could not be made: {reason}")
        )
    record(
        tx,
        Happening(
            who=item.worker, what="quarantined", subject=str(item), study=item.study_number, why=reason
        ),
    )
    return True


def _cancel(tx: Transaction, item: Workitem, reason: str, attempts: int, deaths: int) -> bool:
    statement = (
        update(workitems)
        .where(held(item))
        .values(
            state=WorkState.CANCELED,
            ended_at=tx.now,
            attempts=attempts,
            deaths=deaths,
            reason=clean(reason),
            **_UNLEASED,
        )
    )
    return bool(tx.connection.execute(statement).rowcount)
