"""When nothing is left to be done for a study: the one place that says so, for whoever deletes what is old.

A study is settled when its work has ended, its images were analysed or declined (none is held), and each of
its objects is where it was due: stored there, and committed to where the destination is asked for that. A
dead letter is not settled: it can be tried again by hand, with the bytes that are kept.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, exists, func, or_, select

from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.records import InstanceState, WorkState
from mcads_node.workitems.schema import deliveries, instances, results, studies, workitems

#: not at its destination, and no longer tried: without those retracted, or that another object stands in for
_replacing = deliveries.alias("replacing")
IS_DEAD_LETTER: ColumnElement[bool] = (
    (deliveries.c.state == DeliveryState.REFUSED)
    & ~exists().where(_replacing.c.stands_in_for == deliveries.c.id)
    & ~exists()
    .where(results.c.id == deliveries.c.result_id, results.c.retracted_by.is_not(None))
    .correlate(deliveries)
)

#: a delivery for which something is to be done: by the node, by its destination, or by a person
IS_UNSETTLED: ColumnElement[bool] = or_(
    deliveries.c.state == DeliveryState.PENDING, deliveries.c.commitment_due_at.is_not(None), IS_DEAD_LETTER
)


def is_settled() -> ColumnElement[bool]:
    """Give a condition on rows of ``studies``: nothing is left to be done for it."""
    open_work = exists().where(
        workitems.c.study_id == studies.c.id,
        workitems.c.state.in_((WorkState.SCHEDULED, WorkState.IN_PROGRESS)),
    )
    unread = exists().where(
        instances.c.study_id == studies.c.id,
        instances.c.state.in_((InstanceState.RECEIVED, InstanceState.QUARANTINED, InstanceState.HELD)),
    )
    unsettled = exists().where(deliveries.c.study_id == studies.c.id, IS_UNSETTLED).correlate(studies)
    return studies.c.trouble.is_(None) & ~open_work & ~unread & ~unsettled


def settled_at() -> ScalarSelect[datetime]:
    """Give, for a row of ``studies`` that is settled, when its last delivery ended; null if it had none."""
    return (
        select(func.max(deliveries.c.ended_at))
        .where(deliveries.c.study_id == studies.c.id)
        .correlate(studies)
        .scalar_subquery()
    )
