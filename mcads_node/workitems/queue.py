"""Claims: who works on what, and for how long.

A claim is one UPDATE: SQLite has one writer at a time, PostgreSQL skips rows that another claim holds (FOR
UPDATE SKIP LOCKED). The partial index on scheduled items gives them in the order of claims, so that a claim
costs the same whether a hundred items wait or a hundred thousand. That order is one of moments (see
`priority`): an urgent item has a head start, and what waits grows urgent by waiting. What is held until its
hours is not in that index. What may be claimed is in ``claimable``.

To make a statement takes SQLAlchemy longer than to execute it: each is made once, and bound when it is used.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from mcads_node.instance import ReceivedInstance, Requestor
from mcads_node.priority import Priority, turn
from mcads_node.workitems.claimable import ORDER, claimable, moments
from mcads_node.workitems.completeness import Due
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import NODE, Happening, record
from mcads_node.workitems.records import Kind, Purpose, Workitem, WorkState
from mcads_node.workitems.schema import analyses, instances, studies, workitems


def claim(tx: Transaction, worker: str, lease: timedelta, kind: Kind | None, limit: int) -> list[Workitem]:
    """Take at most `limit` items that are due, the most urgent first, under a new Transaction UID."""
    values = {
        "state": WorkState.IN_PROGRESS,
        "worker": worker,
        "transaction_uid": f"2.25.{uuid.uuid4().int}",
        "lease_expires_at": tx.now + lease,
    }
    claimed = tx.connection.execute(_claiming(kind), {**values, **moments(tx.now), "most": limit}).all()
    if not claimed:
        return []
    reports = [row.id for row in claimed if row.kind == Kind.REPORT]
    if reports:
        _fix_extent(tx, reports)
    items = load(tx, [row.id for row in claimed])
    record(tx, *(_claimed(item) for item in items))
    return items


@cache
def _claiming(kind: Kind | None) -> ReturningUpdate[Any]:
    picked = claimable(kind).limit(bindparam("most", type_=Integer)).cte("picked")
    return (
        update(workitems)
        .where(workitems.c.id.in_(select(picked.c.id)))
        .returning(workitems.c.id, workitems.c.kind)
    )


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
    tx.connection.execute(_LOCK_STUDY, {"study": study})


_LOCK_STUDY = select(studies.c.id).where(studies.c.id == bindparam("study")).with_for_update()


def schedule_report(tx: Transaction, study: int, due: Due, priority: Priority) -> None:
    """Have the study reported when it is due, or later if that is planned already.

    Of several last moments the earliest holds.

    There is at most one scheduled report of a study. One that is being written now speaks of what was
    analysed when it was claimed; what comes later is told by the next revision.
    """
    if _postpone_report(tx, study, due, priority):
        return
    revision = next_revision(tx, study)
    row = {
        "kind": Kind.REPORT,
        "state": WorkState.SCHEDULED,
        "study_id": study,
        "revision": revision,
        "priority": priority,
        "due_at": due.at,
        "latest_at": due.latest_at,
        "turn_at": _turn(due, priority),
        "attempts": 0,
        "deaths": 0,
        "created_at": tx.now,
    }
    number = tx.connection.execute(_SCHEDULE, row).scalar_one()
    why = f"report, revision {revision}"
    record(tx, Happening(who=NODE, what="scheduled", subject=f"workitem {number}", study=study, why=why))


_SCHEDULE = insert(workitems).returning(workitems.c.id)


def _turn(due: Due, priority: Priority) -> datetime:
    return turn(due.at if due.latest_at is None else min(due.at, due.latest_at), priority)


def _postpone_report(tx: Transaction, study: int, due: Due, priority: Priority) -> bool:
    """Have a report that is scheduled wait until then, and grow as urgent; False where none is."""
    row = tx.connection.execute(_SCHEDULED_REPORT, {"study": study}).first()
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


_SCHEDULED_REPORT = (
    select(workitems.c.id, workitems.c.due_at, workitems.c.latest_at, workitems.c.priority)
    .where(
        workitems.c.study_id == bindparam("study"),
        workitems.c.kind == Kind.REPORT,
        workitems.c.state == WorkState.SCHEDULED,
    )
    .with_for_update()
)


def next_revision(tx: Transaction, study: int) -> int:
    """One more than the last that is written or being written; a cancelled one never was."""
    last: int | None = tx.connection.execute(_LAST_REVISION, {"study": study}).scalar_one()
    return 1 + (last or 0)


_LAST_REVISION = select(func.max(workitems.c.revision)).where(
    workitems.c.study_id == bindparam("study"),
    workitems.c.kind == Kind.REPORT,
    workitems.c.state.in_((WorkState.IN_PROGRESS, WorkState.COMPLETED)),
)


def load(tx: Transaction, numbers: Sequence[int]) -> list[Workitem]:
    """Items in progress, with what is to be worked on, in the order of claims."""
    return [_workitem(row) for row in tx.connection.execute(_LOAD, {"numbers": numbers})]


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

_LOAD = (
    select(
        workitems,
        studies.c.study_instance_uid,
        studies.c.first_received_at,
        studies.c.patient_number,
        *(instances.c[name] for name in _OF_INSTANCE),
    )
    .join(studies, studies.c.id == workitems.c.study_id)
    .outerjoin(instances, instances.c.id == workitems.c.instance_id)
    .where(
        workitems.c.id.in_(bindparam("numbers", expanding=True)), workitems.c.state == WorkState.IN_PROGRESS
    )
    .order_by(*ORDER)
)


def _fix_extent(tx: Transaction, reports: Sequence[int]) -> None:
    """Fix what the reports speak of.

    A statement of its own, after the claim: on PostgreSQL it sees every analysis that found the report
    still scheduled, and only postponed it; an analysis that comes later finds it in progress and schedules
    the next.
    """
    tx.connection.execute(_FIX_EXTENT, {"reports": reports})


_FIX_EXTENT = (
    update(workitems)
    .where(workitems.c.id.in_(bindparam("reports", expanding=True)))
    .values(
        covers=select(func.max(analyses.c.id))
        .where(analyses.c.study_id == workitems.c.study_id, analyses.c.shadow.is_(False))
        .scalar_subquery()
    )
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
