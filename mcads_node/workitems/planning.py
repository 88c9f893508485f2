"""Work and deliveries as they are planned: whose turn it is, and until when it is held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import insert

from mcads_node.priority import HEAD_START, Priority, turn
from mcads_node.schedule import Schedule
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.records import Kind, Purpose, WorkState
from mcads_node.workitems.schema import deliveries, workitems


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An analysis that is to be scheduled."""

    purpose: Purpose
    priority: Priority
    #: when it may be done; None: at any time
    schedule: Schedule | None = None
    #: of a shadow: the rule that it follows
    rule: str | None = None
    #: that reads, instead of the rule's
    model: str | None = None


def schedule_analysis(tx: Transaction, numbers: tuple[int, int], plan: Plan, due_at: datetime) -> None:
    """Schedule an analysis of an instance; `numbers` are its own and its study's."""
    instance, study = numbers
    held_until = None if plan.schedule is None else held(plan.schedule, tx.now)
    due_at = held_until or due_at
    row = {
        "kind": Kind.ANALYSE,
        "state": WorkState.SCHEDULED,
        "study_id": study,
        "instance_id": instance,
        "purpose": plan.purpose,
        "rule": plan.rule,
        "model": plan.model,
        "priority": plan.priority,
        "schedule": None if plan.schedule is None else plan.schedule.to_text(),
        "held_until": held_until,
        "due_at": due_at,
        "turn_at": turn(due_at, plan.priority),
        "attempts": 0,
        "deaths": 0,
        "created_at": tx.now,
    }
    tx.connection.execute(insert(workitems), row)


def held(schedule: Schedule, now: datetime) -> datetime | None:
    """Say until when work has to wait; what has hours of a zone that this machine does not know need not."""
    try:
        return schedule.held_until(now)
    except ZoneInfoNotFoundError:
        return None


def forward(tx: Transaction, numbers: tuple[int, int], destination: str, priority: Priority) -> None:
    """Have an instance sent on as it was received; `numbers` are its own and its study's."""
    instance, study = numbers
    tx.connection.execute(
        insert(deliveries).values(
            study_id=study,
            instance_id=instance,
            destination=destination,
            state=DeliveryState.PENDING,
            attempts=0,
            due_at=delivery_due(tx.now, priority),
            since=tx.now,
        )
    )


def delivery_due(now: datetime, priority: Priority) -> datetime:
    """Give the moment by which deliveries to a destination are ordered: what is urgent has a head start."""
    return now - max(HEAD_START[priority] - HEAD_START[Priority.ROUTINE], timedelta(0))
