"""The record of a study as a person reads it, and the way to have its failed work tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Select, Table, func, select, update

from mcads_node.errors import PermanentError
from mcads_node.priority import Priority
from mcads_node.workitems.claimable import OPEN
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.extent import analysis_of, objects_of_images, stored_result
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.overview import (
    DeliveryRecord,
    Event,
    InstanceRecord,
    ResultRecord,
    Retried,
    StudyLine,
    StudyRecord,
    WorkRecord,
)
from mcads_node.workitems.queue import lock_study, next_revision
from mcads_node.workitems.records import InstanceAnalysed, InstanceState, Kind, Purpose, WorkState
from mcads_node.workitems.schema import (
    analyses,
    deliveries,
    events,
    instances,
    results,
    studies,
    workitems,
)
from mcads_node.workitems.settled import IS_DEAD_LETTER
from mcads_node.workitems.triaging import triage_of
from mcads_node.workitems.undelivered import AFRESH, waiting_for


def list_studies(tx: Transaction, limit: int) -> list[StudyLine]:
    """Studies, the one that was last added to first."""
    query = select(studies).order_by(studies.c.last_received_at.desc(), studies.c.id.desc()).limit(limit)
    return _lines(tx, query)


def show_study(tx: Transaction, which: str | int) -> StudyRecord:
    """All that is known of one study, by its UID or the node's own number of it."""
    number = find(tx, which)
    (line,) = _lines(tx, select(studies).where(studies.c.id == number))
    return StudyRecord(
        line=line,
        instances=_instances(tx, number),
        workitems=tuple(_work(row) for row in _rows(tx, workitems, number)),
        results=_results(tx, number),
        events=tuple(
            Event(at=row.at, who=row.who, what=row.what, subject=row.subject, why=row.why)
            for row in _rows(tx, events, number)
        ),
    )


def retry(tx: Transaction, which: str | int, who: str) -> Retried:
    """Have a study's quarantined work and refused deliveries tried again, with all attempts."""
    number = find(tx, which)
    lock_study(tx, number)
    retried = Retried(
        workitems=_retry_analyses(tx, number) + _retry_report(tx, number),
        deliveries=_retry_deliveries(tx, number),
    )
    why = f"{retried.workitems} workitems, {retried.deliveries} deliveries"
    record(tx, Happening(who=who, what="retried", subject=f"study {number}", study=number, why=why))
    return retried


#: databases refuse to compare a column with what it cannot hold, each in its own way
_LARGEST_NUMBER = 2**63 - 1

_AFRESH = {"state": WorkState.SCHEDULED, "attempts": 0, "deaths": 0, "ended_at": None, "reason": None}


def _retry_analyses(tx: Transaction, study: int) -> int:
    quarantined = select(instances.c.id).where(
        instances.c.study_id == study, instances.c.state == InstanceState.QUARANTINED
    )
    changed = tx.connection.execute(
        update(workitems)
        .where(
            workitems.c.instance_id.in_(quarantined),
            workitems.c.purpose == Purpose.FIRST,
            workitems.c.state == WorkState.CANCELED,
        )
        .values(**_AFRESH, due_at=tx.now)
    )
    tx.connection.execute(
        update(instances)
        .where(instances.c.study_id == study, instances.c.state == InstanceState.QUARANTINED)
        .values(state=InstanceState.RECEIVED, reason=None)
    )
    return changed.rowcount


def _retry_report(tx: Transaction, study: int) -> int:
    """Schedule the report that could not be made, unless a later one is on its way already."""
    reports = (workitems.c.study_id == study) & (workitems.c.kind == Kind.REPORT)
    under_way = tx.connection.execute(
        select(workitems.c.id).where(reports, workitems.c.state.in_(OPEN)).limit(1)
    ).first()
    troubled = tx.connection.execute(select(studies.c.trouble).where(studies.c.id == study)).scalar_one()
    last = tx.connection.execute(
        select(func.max(workitems.c.id)).where(reports, workitems.c.state == WorkState.CANCELED)
    ).scalar_one()
    if under_way is not None or troubled is None or last is None:
        return 0
    tx.connection.execute(
        update(workitems)
        .where(workitems.c.id == last)
        .values(**_AFRESH, due_at=tx.now, covers=None, revision=next_revision(tx, study))
    )
    tx.connection.execute(update(studies).where(studies.c.id == study).values(trouble=None))
    return 1


def _retry_deliveries(tx: Transaction, study: int) -> int:
    # what was retracted stays retracted, and what another object stands in for is not sent besides it
    changed = tx.connection.execute(
        update(deliveries)
        .where(deliveries.c.study_id == study, IS_DEAD_LETTER)
        .values(**AFRESH, due_at=tx.now, since=tx.now)
    )
    return changed.rowcount


def find(tx: Transaction, which: str | int) -> int:
    """Give the number of a study; `PermanentError` where it is not on record."""
    if isinstance(which, int) and which > _LARGEST_NUMBER:
        raise PermanentError(f"no study {which} is on record")
    column = studies.c.id if isinstance(which, int) else studies.c.study_instance_uid
    number: int | None = tx.connection.execute(
        select(studies.c.id).where(column == which)
    ).scalar_one_or_none()
    if number is None:
        raise PermanentError(f"no study {which} is on record")
    return number


def _lines(tx: Transaction, query: Select[Any]) -> list[StudyLine]:
    rows = tx.connection.execute(query).all()
    numbers = [row.id for row in rows]
    by_instance = _count(tx, select(instances.c.study_id, instances.c.state), instances.c.study_id, numbers)
    by_delivery = _count(
        tx,
        select(deliveries.c.study_id, deliveries.c.state),
        deliveries.c.study_id,
        numbers,
    )
    by_work = _count(tx, select(workitems.c.study_id, workitems.c.state), workitems.c.study_id, numbers)
    waiting = waiting_for(tx, numbers)
    triages = triage_of(tx, numbers)
    held = {
        row.study_id: row.until
        for row in tx.connection.execute(
            select(workitems.c.study_id, func.min(workitems.c.held_until).label("until"))
            .where(workitems.c.study_id.in_(numbers), workitems.c.held_until.is_not(None))
            .group_by(workitems.c.study_id)
        )
    }
    revisions = {
        row.study_id: row.revision
        for row in tx.connection.execute(
            select(results.c.study_id, func.max(results.c.revision).label("revision"))
            .where(results.c.study_id.in_(numbers))
            .group_by(results.c.study_id)
        )
    }
    return [
        StudyLine(
            number=row.id,
            study_instance_uid=row.study_instance_uid,
            first_received_at=row.first_received_at,
            last_received_at=row.last_received_at,
            trouble=row.trouble,
            instances={InstanceState(name): n for name, n in by_instance.get(row.id, {}).items()},
            deliveries={DeliveryState(name): n for name, n in by_delivery.get(row.id, {}).items()},
            waiting_for=waiting.get(row.id, ()),
            triage=triages.get(row.id),
            held_until=held.get(row.id),
            revision=revisions.get(row.id) or 0,
            open_workitems=sum(by_work.get(row.id, {}).get(state, 0) for state in OPEN),
        )
        for row in rows
    ]


def _count(tx: Transaction, query: Select[Any], study: Any, numbers: list[int]) -> dict[int, dict[str, int]]:
    """Count rows by study and state."""
    state = query.selected_columns["state"]
    counted = query.add_columns(func.count().label("n")).where(study.in_(numbers)).group_by(study, state)
    found: dict[int, dict[str, int]] = {}
    for row in tx.connection.execute(counted):
        found.setdefault(row.study_id, {})[row.state] = row.n
    return found


def _rows(tx: Transaction, table: Table, study: int) -> list[Row[Any]]:
    query = select(table).where(table.c.study_id == study).order_by(table.c.id)
    return list(tx.connection.execute(query))


def list_refused(tx: Transaction, limit: int) -> list[InstanceRecord]:
    """Objects that were kept, and whose study is not known since they could not be read, the newest first."""
    query = (
        select(instances).where(instances.c.study_id.is_(None)).order_by(instances.c.id.desc()).limit(limit)
    )
    return [_instance(row, None) for row in tx.connection.execute(query)]


def _instances(tx: Transaction, study: int) -> tuple[InstanceRecord, ...]:
    made = objects_of_images(tx, study)
    analysed: dict[int, list[InstanceAnalysed]] = {}
    shadows: dict[int, list[InstanceAnalysed]] = {}
    for row in _rows(tx, analyses, study):
        found = shadows if row.shadow else analysed
        found.setdefault(row.instance_id, []).append(analysis_of(row, made.get(row.id, ())))
    forwarded: dict[int, list[DeliveryRecord]] = {}
    for row in _rows(tx, deliveries, study):
        if row.instance_id is not None:
            forwarded.setdefault(row.instance_id, []).append(_delivery(row))
    return tuple(
        replace(
            _instance(row, analysed.get(row.id, [None])[-1]),
            shadows=tuple(shadows.get(row.id, ())),
            forwarded=tuple(forwarded.get(row.id, ())),
        )
        for row in _rows(tx, instances, study)
    )


def _instance(row: Row[Any], analysis: InstanceAnalysed | None) -> InstanceRecord:
    return InstanceRecord(
        number=row.id,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        requestor=row.requestor_ae_title,
        received_at=row.received_at,
        state=InstanceState(row.state),
        reason=row.reason,
        path=row.path,
        file_deleted_at=row.file_deleted_at,
        rules_digest=row.rules_digest,
        analysis=analysis,
    )


def _results(tx: Transaction, study: int) -> tuple[ResultRecord, ...]:
    sent: dict[int, list[DeliveryRecord]] = {}
    for row in _rows(tx, deliveries, study):
        sent.setdefault(row.result_id, []).append(_delivery(row))
    return tuple(
        ResultRecord(
            object=stored_result(row),
            revision=row.revision,
            created_at=row.created_at,
            number=row.id,
            retracted_by=row.retracted_by,
            file_deleted_at=row.file_deleted_at,
            rules_digest=row.rules_digest,
            deliveries=tuple(sent.get(row.id, ())),
        )
        for row in _rows(tx, results, study)
    )


def _delivery(row: Row[Any]) -> DeliveryRecord:
    return DeliveryRecord(
        number=row.id,
        destination=row.destination,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        due_at=row.due_at,
        ended_at=row.ended_at,
        status=row.status,
        reason=row.reason,
        stands_in_for=row.stands_in_for,
        commitment_due_at=row.commitment_due_at,
    )


def _work(row: Row[Any]) -> WorkRecord:
    return WorkRecord(
        number=row.id,
        kind=Kind(row.kind),
        state=WorkState(row.state),
        instance_number=row.instance_id,
        purpose=None if row.purpose is None else Purpose(row.purpose),
        rule=row.rule,
        model=row.model,
        priority=Priority(row.priority),
        revision=row.revision,
        due_at=row.due_at,
        held_until=row.held_until,
        attempts=row.attempts,
        worker=row.worker,
        reason=row.reason,
    )
