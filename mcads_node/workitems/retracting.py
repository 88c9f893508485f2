"""Retraction: taking back what was reported of a study, with a rejection note (IHE IOCM) that says so.

The note names every object that a destination has or may be receiving. It goes to the destinations that have
one; where an object turns out to have arrived while it was retracted, the note follows it there. A retracted
object is never sent again, and no later report refers to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, or_, select, update

from mcads_node.errors import PermanentError
from mcads_node.result import ObjectKind
from mcads_node.workitems.claimable import OPEN
from mcads_node.workitems.deliveries import plan
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.extent import stored_result
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.patients import is_of_its_patient, reports_of_its_patient
from mcads_node.workitems.queue import lock_study
from mcads_node.workitems.records import Kind, StoredResult, WorkState
from mcads_node.workitems.schema import analyses, deliveries, results, studies, workitems
from mcads_node.workitems.studies import find

#: variant under which a rejection note is on record, among the key object selections
REJECTION_NOTE = "rejection-note"

_IS_NOTE = (results.c.kind == ObjectKind.KOS) & (results.c.variant == REJECTION_NOTE)


@dataclass(frozen=True, kw_only=True)
class Retractable:
    """What a rejection note of a study is to be made of."""

    study_number: int
    study_instance_uid: str
    #: when the node received the study's first instance, UTC
    first_received_at: datetime
    #: rejection notes that were made of the study before
    notes: int
    #: Part 10 file of a source's header, without pixels
    header: bytes = field(repr=False)
    #: objects that a destination has, or may be receiving now
    objects: tuple[StoredResult, ...]


@dataclass(frozen=True, kw_only=True)
class Retraction:
    """What a retraction came to."""

    #: objects that the note names
    objects: int
    #: where the note is sent
    destinations: tuple[str, ...]
    #: deliveries that were still waiting, and are not made any more
    stopped: int


def retractable(tx: Transaction, which: str | int) -> Retractable:
    """Say what of a study can be taken back.

    Raises
    ------
    PermanentError
        The study is not on record, or nothing of it went anywhere that was not retracted already.
    """
    number = find(tx, which)
    study = tx.connection.execute(select(studies).where(studies.c.id == number)).one()
    objects = sent_objects(tx, number)
    header = tx.connection.execute(
        select(analyses.c.header)
        .where(analyses.c.study_id == number, analyses.c.shadow.is_(False), is_of_its_patient())
        .order_by(analyses.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    if not objects or header is None:
        raise PermanentError(
            f"study {which}: nothing that was sent anywhere, or is being sent, is left to retract"
        )
    return Retractable(
        study_number=number,
        study_instance_uid=study.study_instance_uid,
        first_received_at=study.first_received_at,
        notes=tx.connection.execute(
            select(func.count()).select_from(results).where(results.c.study_id == number, _IS_NOTE)
        ).scalar_one(),
        header=header,
        objects=objects,
    )


def retract(
    tx: Transaction, what: Retractable, note: StoredResult, reason: str, who: str
) -> Retraction | None:
    """Store the note and plan its deliveries; None, with nothing written, where `what` is no longer all.

    Nor while a report is being written, which may refer to what is taken back here.
    """
    study = what.study_number
    lock_study(tx, study)
    if sent_objects(tx, study) != what.objects or _being_reported(tx, study):
        return None
    workitem, revision = _last_report(tx, study)
    row = {
        **asdict(note),
        "variant": REJECTION_NOTE,
        "study_id": study,
        "workitem_id": workitem,
        "revision": revision,
        "created_at": tx.now,
    }
    number: int = tx.connection.execute(insert(results).values(row).returning(results.c.id)).scalar_one()
    taken_back = _mark(tx, study, number)
    stopped = tx.connection.execute(
        update(deliveries)
        .where(deliveries.c.result_id.in_(taken_back), deliveries.c.state == DeliveryState.PENDING)
        .values(state=DeliveryState.REFUSED, ended_at=tx.now, reason=clean(f"retracted: {reason}"))
    ).rowcount
    # whether a destination keeps what is taken back does not matter any more
    tx.connection.execute(
        update(deliveries).where(deliveries.c.result_id.in_(taken_back)).values(commitment_due_at=None)
    )
    destinations = _destinations_of(tx, taken_back)
    for name in destinations:
        plan(tx, number, name)
    record(tx, Happening(who=who, what="retracted", subject=f"study {study}", study=study, why=reason))
    return Retraction(objects=len(what.objects), destinations=destinations, stopped=stopped)


def _being_reported(tx: Transaction, study: int) -> bool:
    # Locked, those that wait as well: on PostgreSQL a claim asks for no lock of the study. One that is being
    # made is waited for, and one that comes before we have committed passes them over.
    reports = (
        select(workitems.c.state)
        .where(workitems.c.study_id == study, workitems.c.kind == Kind.REPORT, workitems.c.state.in_(OPEN))
        .order_by(workitems.c.id)
        .with_for_update()
    )
    return WorkState.IN_PROGRESS in tx.connection.execute(reports).scalars().all()


def _standing(study: int) -> ColumnElement[bool]:
    """Objects of the study that say something of the patient that it is of now, and were not taken back."""
    of_its_patient = or_(
        results.c.analysis_id.in_(
            select(analyses.c.id).where(analyses.c.study_id == study, is_of_its_patient())
        ),
        results.c.workitem_id.in_(
            select(workitems.c.id).where(workitems.c.study_id == study, reports_of_its_patient(study))
        ),
    )
    return (results.c.study_id == study) & results.c.retracted_by.is_(None) & ~_IS_NOTE & of_its_patient


def sent_objects(tx: Transaction, study: int) -> tuple[StoredResult, ...]:
    """Objects of a study and its patient that stand, and that a destination has or may be receiving."""
    # also what was given up because the peer, which had stored it, did not commit to it: it may have it still
    gone = select(deliveries.c.result_id).where(
        (deliveries.c.state == DeliveryState.PENDING) | deliveries.c.stored_at.is_not(None)
    )
    query = select(results).where(_standing(study), results.c.id.in_(gone)).order_by(results.c.id)
    return tuple(stored_result(row) for row in tx.connection.execute(query))


def _last_report(tx: Transaction, study: int) -> tuple[int, int]:
    """Find number and revision of the last report that was written; where anything was sent there is one."""
    row = tx.connection.execute(
        select(workitems.c.id, workitems.c.revision)
        .where(*_written(study))
        .order_by(workitems.c.revision.desc())
        .limit(1)
    ).one()
    return row.id, row.revision


def _written(study: int) -> Iterable[ColumnElement[bool]]:
    return (
        workitems.c.study_id == study,
        workitems.c.kind == Kind.REPORT,
        workitems.c.state == WorkState.COMPLETED,
    )


def _mark(tx: Transaction, study: int, note: int) -> list[int]:
    """Take back every object of the reports that were written, and of the images they speak of."""
    covered = select(func.max(workitems.c.covers)).where(*_written(study)).scalar_subquery()
    statement = (
        update(results)
        .where(
            _standing(study),
            or_(results.c.revision.is_not(None), results.c.analysis_id <= covered),
        )
        .values(retracted_by=note)
        .returning(results.c.id)
    )
    return list(tx.connection.execute(statement).scalars())


def _destinations_of(tx: Transaction, objects: list[int]) -> tuple[str, ...]:
    query = (
        select(deliveries.c.destination)
        .where(deliveries.c.result_id.in_(objects), deliveries.c.stored_at.is_not(None))
        .distinct()
        .order_by(deliveries.c.destination)
    )
    return tuple(tx.connection.execute(query).scalars())
