"""What waits, how long it has, and what a person has to look at: read for metrics and alerts.

Read every few seconds while the node works, so that each question is answered from an index, and most of the
indexes hold only the rows that it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import TextClause, case, func, select, text

from mcads_node.priority import Priority
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.records import Kind, WorkState
from mcads_node.workitems.schema import deliveries, instances, studies, workitems
from mcads_node.workitems.settled import IS_DEAD_LETTER
from mcads_node.workitems.undelivered import DestinationLine, list_destinations

# written out, for the planner is to see that the partial indexes hold these rows
_OPEN = text("state IN ('SCHEDULED', 'IN PROGRESS')")
_QUARANTINED = text("state = 'QUARANTINED'")
_HELD = text("state = 'HELD'")


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Work of one kind that is not done."""

    kind: Kind
    #: SCHEDULED, due or not
    waiting: int
    #: of these, how many are held until their hours
    held: int
    in_progress: int
    #: of what is waiting, when the first was due; in the future where nothing is. Without what may take its
    #: time: what is held until its hours, and low work
    due_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """All that waits, at one moment."""

    at: datetime
    queues: tuple[Queue, ...]
    #: also those that are no longer configured
    destinations: tuple[DestinationLine, ...]
    #: images
    quarantined: int
    #: studies of which no report could be made
    unreported: int
    #: images that name another patient than their study
    held: int = 0


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """Objects of one study that one destination did not get."""

    destination: str
    study: int
    deliveries: int


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """What goes on only when a person has looked at it; studies by the node's own numbers."""

    #: images in quarantine by study
    quarantined: dict[int, int]
    unreported: tuple[int, ...]
    dead_letters: tuple[DeadLetters, ...]
    #: images that name another patient, by study
    held: dict[int, int] = field(default_factory=dict)


def backlog(tx: Transaction) -> Backlog:
    """Count what waits."""
    return Backlog(
        at=tx.now,
        queues=_queues(tx),
        destinations=tuple(list_destinations(tx)),
        quarantined=tx.connection.execute(
            select(func.count()).select_from(instances).where(_QUARANTINED)
        ).scalar_one(),
        unreported=tx.connection.execute(
            select(func.count()).select_from(studies).where(studies.c.trouble.is_not(None))
        ).scalar_one(),
        held=tx.connection.execute(select(func.count()).select_from(instances).where(_HELD)).scalar_one(),
    )


def stuck(tx: Transaction, limit: int) -> Stuck:
    """List what a person has to look at, of each sort the oldest `limit`."""
    unreported = tx.connection.execute(
        select(studies.c.id).where(studies.c.trouble.is_not(None)).order_by(studies.c.id).limit(limit)
    )
    # an index holds those that are refused
    dead = (
        select(deliveries.c.destination, deliveries.c.study_id, func.count().label("n"))
        .where(IS_DEAD_LETTER)
        .group_by(deliveries.c.destination, deliveries.c.study_id)
        .order_by(deliveries.c.study_id, deliveries.c.destination)
        .limit(limit)
    )
    return Stuck(
        quarantined=_by_study(tx, _QUARANTINED, limit),
        unreported=tuple(unreported.scalars()),
        dead_letters=tuple(
            DeadLetters(destination=row.destination, study=row.study_id, deliveries=row.n)
            for row in tx.connection.execute(dead)
        ),
        held=_by_study(tx, _HELD, limit),
    )


def _by_study(tx: Transaction, state: TextClause, limit: int) -> dict[int, int]:
    """Count the images of a state, of the oldest studies that have any."""
    query = (
        select(instances.c.study_id, func.count().label("n"))
        .where(state)
        .group_by(instances.c.study_id)
        .order_by(instances.c.study_id)
        .limit(limit)
    )
    return {row.study_id: row.n for row in tx.connection.execute(query)}


def _queues(tx: Transaction) -> tuple[Queue, ...]:
    pressing = workitems.c.held_until.is_(None) & (workitems.c.priority >= Priority.ROUTINE)
    query = (
        select(
            workitems.c.kind,
            workitems.c.state,
            func.count().label("n"),
            func.count(workitems.c.held_until).label("held"),
            func.min(case((pressing, workitems.c.due_at))).label("due_at"),
        )
        .where(_OPEN)
        .group_by(workitems.c.kind, workitems.c.state)
    )
    found = {(row.kind, row.state): row for row in tx.connection.execute(query)}

    def queue(kind: Kind) -> Queue:
        waiting, held = found.get((kind, WorkState.SCHEDULED)), found.get((kind, WorkState.IN_PROGRESS))
        return Queue(
            kind=kind,
            waiting=waiting.n if waiting else 0,
            held=waiting.held if waiting else 0,
            in_progress=held.n if held else 0,
            due_at=waiting.due_at if waiting else None,
        )

    return tuple(map(queue, Kind))
