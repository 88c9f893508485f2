"""Claims: who works on what, and for how long.

A claim is one UPDATE: SQLite has one writer at a time, PostgreSQL skips rows that another claim holds (FOR
UPDATE SKIP LOCKED). The partial index on scheduled items gives them in the order of claims, so that a claim
costs the same whether a hundred items wait or a hundred thousand. That order is one of moments (see
`priority`): an urgent item has a head start, and what waits grows urgent by waiting. What is held until its
hours is not in that index.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from mcads_node.backoff import RetryPolicy
from mcads_node.instance import ReceivedInstance, Requestor
from mcads_node.priority import Priority, turn
from mcads_node.workitems.completeness import Due
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import NODE, Happening, record
from mcads_node.workitems.records import Kind, Purpose, Workitem, WorkState
from mcads_node.workitems.schema import analyses, instances, studies, workitems

#: how far the clocks of machines that share a database may be apart
_SKEW = timedelta(minutes=1)
#: no image waits longer for its next attempt, and no report for its study to be quiet
_LONGEST_WAIT = {Kind.ANALYSE: RetryPolicy().cap, Kind.REPORT: timedelta(days=1)}

#: states in which an item still has to be done
OPEN = (WorkState.SCHEDULED, WorkState.IN_PROGRESS)


def claim(tx: Transaction, worker: str, lease: timedelta, kind: Kind | None, limit: int) -> list[Workitem]:
    """Take at most `limit` items that are due, the most urgent first, under a new Transaction UID."""
    transaction_uid = f"2.25.{uuid.uuid4().int}"
    picked = _claimable(tx.now, kind).limit(limit).cte("picked")
    statement = (
        update(workitems)
        .where(workitems.c.id.in_(select(picked.c.id)))
        .values(
            state=WorkState.IN_PROGRESS,
            worker=worker,
            transaction_uid=transaction_uid,
            lease_expires_at=tx.now + lease,
        )
        .returning(workitems.c.id, workitems.c.kind)
    )
    claimed = tx.connection.execute(statement).all()
    if not claimed:
        return []
    reports = [row.id for row in claimed if row.kind == Kind.REPORT]
    if reports:
        _fix_extent(tx, reports)
    items = load(tx, [row.id for row in claimed])
    record(tx, *(_claimed(item) for item in items))
    return items


def renew(tx: Transaction, items: Sequence[Workitem], lease: timedelta) -> list[Workitem]:
    """Prolong leases; gives the items that are still held, with their new expiry."""
    if not items:
        return []
    # in the order in which `failing.expire` takes them, so that the two never wait for each other
    mine = (
        select(workitems.c.id)
        .where(or_(*(held(item) for item in items)))
        .order_by(workitems.c.study_id, workitems.c.id)
        .with_for_update()
    )
    numbers = tx.connection.execute(mine).scalars().all()
    statement = (
        update(workitems)
        .where(workitems.c.id.in_(numbers))
        .values(lease_expires_at=tx.now + lease)
        .returning(workitems.c.id)
    )
    return load(tx, [row.id for row in tx.connection.execute(statement)])


def held(item: Workitem) -> ColumnElement[bool]:
    """Whether the caller still is who may speak for the item."""
    return and_(
        workitems.c.id == item.number,
        workitems.c.transaction_uid == item.transaction_uid,
        workitems.c.state == WorkState.IN_PROGRESS,
    )


def lock_study(tx: Transaction, study: int) -> None:
    """Let one transaction at a time decide about a study's report (on SQLite there is only one anyway)."""
    tx.connection.execute(select(studies.c.id).where(studies.c.id == study).with_for_update())


def schedule_report(tx: Transaction, study: int, due: Due, priority: Priority) -> None:
    """Have the study reported when it is due, or later if that is planned already.

    Of several last moments the earliest holds.

    There is at most one scheduled report of a study. One that is being written now speaks of what was
    analysed when it was claimed; what comes later is told by the next revision.
    """
    if _postpone_report(tx, study, due, priority):
        return
    revision = next_revision(tx, study)
    number = tx.connection.execute(
        insert(workitems)
        .values(
            kind=Kind.REPORT,
            state=WorkState.SCHEDULED,
            study_id=study,
            revision=revision,
            priority=priority,
            due_at=due.at,
            latest_at=due.latest_at,
            turn_at=_turn(due, priority),
            attempts=0,
            deaths=0,
            created_at=tx.now,
        )
        .returning(workitems.c.id)
    ).scalar_one()
    why = f"report, revision {revision}"
    record(tx, Happening(who=NODE, what="scheduled", subject=f"workitem {number}", study=study, why=why))


def _turn(due: Due, priority: Priority) -> datetime:
    return turn(due.at if due.latest_at is None else min(due.at, due.latest_at), priority)


def _postpone_report(tx: Transaction, study: int, due: Due, priority: Priority) -> bool:
    """Have a report that is scheduled wait until then, and grow as urgent; False where none is."""
    row = tx.connection.execute(
        select(workitems.c.id, workitems.c.due_at, workitems.c.latest_at, workitems.c.priority)
        .where(
            workitems.c.study_id == study,
            workitems.c.kind == Kind.REPORT,
            workitems.c.state == WorkState.SCHEDULED,
        )
        .with_for_update()
    ).first()
    if row is None:
        return False
    lasts = [each for each in (row.latest_at, due.latest_at) if each is not None]
    both = Due(at=max(row.due_at, due.at), latest_at=min(lasts, default=None))
    higher = max(Priority(row.priority), priority)
    tx.connection.execute(
        update(workitems)
        .where(workitems.c.id == row.id)
        .values(due_at=both.at, latest_at=both.latest_at, priority=higher, turn_at=_turn(both, higher))
    )
    return True


def next_revision(tx: Transaction, study: int) -> int:
    """One more than the last that is written or being written; a cancelled one never was."""
    last = tx.connection.execute(
        select(func.max(workitems.c.revision)).where(
            workitems.c.study_id == study,
            workitems.c.kind == Kind.REPORT,
            workitems.c.state.in_((WorkState.IN_PROGRESS, WorkState.COMPLETED)),
        )
    ).scalar_one()
    return 1 + (last or 0)


def load(tx: Transaction, numbers: Sequence[int]) -> list[Workitem]:
    """Items in progress, with what is to be worked on, in the order of claims."""
    query = (
        select(
            workitems,
            studies.c.study_instance_uid,
            studies.c.first_received_at,
            studies.c.patient_number,
            *(instances.c[name] for name in _OF_INSTANCE),
        )
        .join(studies, studies.c.id == workitems.c.study_id)
        .outerjoin(instances, instances.c.id == workitems.c.instance_id)
        .where(workitems.c.id.in_(numbers), workitems.c.state == WorkState.IN_PROGRESS)
        .order_by(*_ORDER)
    )
    return [_workitem(row) for row in tx.connection.execute(query)]


_ORDER = (workitems.c.turn_at, workitems.c.id)

_OF_INSTANCE = (
    "sop_class_uid",
    "sop_instance_uid",
    "transfer_syntax_uid",
    "requestor_ae_title",
    "requestor_address",
    "called_ae_title",
    "received_at",
    "path",
    "size",
    "digest",
)


def _claimable(now: datetime, kind: Kind | None) -> Select[int]:
    query = (
        select(workitems.c.id)
        .where(
            # spelled out, not bound: only so does SQLite see that the partial index answers it
            literal_column("workitems.state") == literal_column("'SCHEDULED'"),
            workitems.c.held_until.is_(None),
            or_(
                workitems.c.due_at <= now,
                workitems.c.latest_at <= now,
                # a new image is due at once, even where the clock stepped back after it came
                and_(workitems.c.kind == Kind.ANALYSE, workitems.c.attempts == 0),
                *_out_of_time(now),
            ),
            or_(workitems.c.kind == Kind.ANALYSE, _may_be_reported(now)),
        )
        .order_by(*_ORDER)
        .with_for_update(skip_locked=True)
    )
    return query if kind is None else query.where(workitems.c.kind == kind)


def _out_of_time(now: datetime) -> Iterable[ColumnElement[bool]]:
    """Tell work by which it can be seen that the clock stepped back since it was scheduled.

    It would otherwise wait for as long as the step was. What is not seen by this waits at most as much
    longer as it has waited already, or for the longest pause there is.
    """
    yield workitems.c.created_at > now + _SKEW
    for kind, longest in _LONGEST_WAIT.items():
        yield and_(workitems.c.kind == kind, workitems.c.due_at > now + longest + _SKEW)


def _may_be_reported(now: datetime) -> ColumnElement[bool]:
    """No earlier report of the study is being written, and its images are analysed or waited long enough.

    What is held until its hours is told by a later report, and so is what is only read again, where this one
    is more urgent; a shadow is never told.
    """
    other = workitems.alias("other")
    analyse = and_(
        other.c.kind == Kind.ANALYSE,
        other.c.state.in_(OPEN),
        other.c.held_until.is_(None),
        or_(
            other.c.purpose == Purpose.FIRST,
            and_(other.c.purpose == Purpose.AGAIN, other.c.priority >= workitems.c.priority),
        ),
        _waits(now),
    )
    report = and_(other.c.kind == Kind.REPORT, other.c.state == WorkState.IN_PROGRESS)
    return ~exists().where(other.c.study_id == workitems.c.study_id, or_(analyse, report))


def _waits(now: datetime) -> ColumnElement[bool]:
    return or_(workitems.c.latest_at.is_(None), workitems.c.latest_at > now)


def _fix_extent(tx: Transaction, reports: Sequence[int]) -> None:
    """Fix what the reports speak of.

    A statement of its own, after the claim: on PostgreSQL it sees every analysis that found the report
    still scheduled, and only postponed it; an analysis that comes later finds it in progress and schedules
    the next.
    """
    last = select(func.max(analyses.c.id)).where(
        analyses.c.study_id == workitems.c.study_id, analyses.c.shadow.is_(False)
    )
    tx.connection.execute(
        update(workitems).where(workitems.c.id.in_(reports)).values(covers=last.scalar_subquery())
    )


def _workitem(row: Row[Any]) -> Workitem:
    return Workitem(
        number=row.id,
        kind=Kind(row.kind),
        study_number=row.study_id,
        study_instance_uid=row.study_instance_uid,
        study_first_received_at=row.first_received_at,
        priority=Priority(row.priority),
        due_at=row.due_at,
        attempts=row.attempts,
        deaths=row.deaths,
        worker=row.worker,
        transaction_uid=row.transaction_uid,
        lease_expires_at=row.lease_expires_at,
        instance=None if row.instance_id is None else _received(row),
        instance_number=row.instance_id,
        purpose=None if row.purpose is None else Purpose(row.purpose),
        rule=row.rule,
        model=row.model,
        revision=row.revision,
        covers=row.covers,
        latest_at=row.latest_at,
        patient_number=row.patient_number,
    )


def _received(row: Row[Any]) -> ReceivedInstance:
    return ReceivedInstance(
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        requestor=Requestor(
            ae_title=row.requestor_ae_title,
            address=row.requestor_address,
            called_ae_title=row.called_ae_title,
        ),
        received_at=row.received_at,
        path=row.path,
        size=row.size,
        digest=row.digest,
    )


def _claimed(item: Workitem) -> Happening:
    why = f"{item.kind}, attempt {item.attempts + 1}"
    return Happening(who=item.worker, what="claimed", subject=str(item), study=item.study_number, why=why)
