"""Having images on record analysed again, because a person wishes it: by another model, or by other rules.

What is found takes the place of what was found before, in a revised report that names the one it replaces;
as a shadow it is only recorded. An image whose file was let go cannot be read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select

from mcads_node.priority import Priority
from mcads_node.schedule import Schedule
from mcads_node.workitems.claimable import OPEN
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.patients import patient_number
from mcads_node.workitems.planning import Plan, schedule_analysis
from mcads_node.workitems.queue import lock_study
from mcads_node.workitems.records import InstanceState, Purpose
from mcads_node.workitems.schema import instances, studies, workitems
from mcads_node.workitems.studies import find


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How images are to be analysed again."""

    #: that reads; None: as the rules say
    model: str | None = None
    #: record, and do not report
    shadow: bool = False
    priority: Priority = Priority.LOW
    #: when it may be done; None: at any time
    schedule: Schedule | None = None

    @property
    def purpose(self) -> Purpose:
        """What an image is analysed for."""
        return Purpose.SHADOW if self.shadow else Purpose.AGAIN


@dataclass(frozen=True, kw_only=True)
class Reanalysis:
    """What a wish came to, in images."""

    study_number: int
    scheduled: int
    #: that wait for the same already
    waiting: int
    #: whose files were let go
    without_file: int


def studies_since(tx: Transaction, moment: datetime) -> list[int]:
    """Numbers of the studies with an image that was received since then, and analysed."""
    analysed = exists().where(
        instances.c.study_id == studies.c.id, instances.c.state == InstanceState.ANALYSED
    )
    query = select(studies.c.id).where(studies.c.last_received_at >= moment, analysed).order_by(studies.c.id)
    return list(tx.connection.execute(query).scalars())


def reanalyse(tx: Transaction, which: str | int, wish: Wish, who: str) -> Reanalysis:
    """Schedule the analysis of each image of a study that was analysed."""
    study = find(tx, which)
    lock_study(tx, study)
    same = exists().where(
        workitems.c.instance_id == instances.c.id,
        workitems.c.purpose == wish.purpose,
        workitems.c.state.in_(OPEN),
        workitems.c.rule.is_(None),
        *([func.coalesce(workitems.c.model, "") == (wish.model or "")] if wish.shadow else []),
    )
    rows = tx.connection.execute(
        select(instances.c.id, instances.c.file_deleted_at, same.label("waits"))
        .where(
            instances.c.study_id == study,
            instances.c.state == InstanceState.ANALYSED,
            instances.c.patient_number == patient_number(tx, study),
        )
        .order_by(instances.c.id)
    ).all()
    ready = [row.id for row in rows if row.file_deleted_at is None and not row.waits]
    plan = Plan(purpose=wish.purpose, priority=wish.priority, schedule=wish.schedule, model=wish.model)
    for number in ready:
        schedule_analysis(tx, (number, study), plan, tx.now)
    why = f"{len(ready)} images, model {wish.model or 'of the rules'}{', shadow' if wish.shadow else ''}"
    record(tx, Happening(who=who, what="analysis wished", subject=f"study {study}", study=study, why=why))
    return Reanalysis(
        study_number=study,
        scheduled=len(ready),
        waiting=sum(bool(row.waits) for row in rows),
        without_file=sum(row.file_deleted_at is not None for row in rows if not row.waits),
    )
