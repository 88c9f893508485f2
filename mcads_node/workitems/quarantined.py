"""Work that was given up, over all studies: what waits for a person."""

from __future__ import annotations

from sqlalchemy import and_, func, or_, select

from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.overview import QuarantinedWork
from mcads_node.workitems.records import InstanceState, Kind, Purpose, WorkState
from mcads_node.workitems.schema import instances, studies, workitems


def list_quarantined(tx: Transaction, limit: int) -> list[QuarantinedWork]:
    """Images that could not be analysed and reports that could not be made, the last given up first."""
    other = workitems.alias("other")
    last_report = (
        select(func.max(other.c.id))
        .where(
            other.c.study_id == workitems.c.study_id,
            other.c.kind == Kind.REPORT,
            other.c.state == WorkState.CANCELED,
        )
        .scalar_subquery()
    )
    # a report that merely gave way to a later one is cancelled as well, and is nobody's trouble
    failed_report = studies.c.trouble.is_not(None) & (workitems.c.id == last_report)
    query = (
        select(workitems, studies.c.study_instance_uid, instances.c.sop_instance_uid)
        .join(studies, studies.c.id == workitems.c.study_id)
        .outerjoin(instances, instances.c.id == workitems.c.instance_id)
        .where(
            workitems.c.state == WorkState.CANCELED,
            or_(
                and_(instances.c.state == InstanceState.QUARANTINED, workitems.c.purpose == Purpose.FIRST),
                failed_report,
            ),
        )
        .order_by(workitems.c.ended_at.desc(), workitems.c.id.desc())
        .limit(limit)
    )
    return [
        QuarantinedWork(
            number=row.id,
            kind=Kind(row.kind),
            study_number=row.study_id,
            study_instance_uid=row.study_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            since=row.ended_at,
            attempts=row.attempts,
            deaths=row.deaths,
            reason=row.reason,
        )
        for row in tx.connection.execute(query)
    ]
