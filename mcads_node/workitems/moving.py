"""Images that name another patient than their study: which are held, and what a person decides about them.

Three things may have happened, and only a person knows which. The study went to another patient (a PACS
corrected it, or merged two): it is then of a new patient, and what was received of the one before counts no
more. Or the patient is the same under another ID. Or the image is not of this study at all.

What was reported of the patient before is not touched here. It is to be taken back first, or left to stand
knowingly: afterwards `retracting` speaks of the new patient.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, or_, select, update

from mcads_node.errors import PermanentError
from mcads_node.priority import Priority
from mcads_node.workitems.claimable import OPEN
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.patients import Patient, is_same_patient, patient_number
from mcads_node.workitems.planning import Plan, schedule_analysis
from mcads_node.workitems.queue import lock_study
from mcads_node.workitems.records import InstanceState, Purpose, WorkState
from mcads_node.workitems.retracting import sent_objects
from mcads_node.workitems.schema import instances, studies, workitems
from mcads_node.workitems.studies import find

#: why an instance is declined whose SOP Instance UID is known
CONFLICT = "another object with the same SOP Instance UID (0008,0018) and other content came before it"
_MOVED = "its study went to another patient before it was analysed"


@dataclass(frozen=True, kw_only=True)
class HeldInstance:
    """An instance that waits for a person to say whose it is."""

    #: the node's own number of it
    number: int
    study_number: int
    study_instance_uid: str
    sop_instance_uid: str
    requestor: str
    received_at: datetime
    #: relative to the spool
    path: str
    #: of an instance of the study that was taken in, to compare with; None: its file is gone
    other_path: str | None
    #: which of the other patients of the study it names, counted from 1 in the order they came
    candidate: int
    #: whether an instance of the patient before is on record under its SOP Instance UID
    stands_in: bool


@dataclass(frozen=True, kw_only=True)
class Released:
    """What a release came to."""

    #: images that are analysed now
    images: int
    #: images that are declined: the same patient's object came before under their SOP Instance UID
    conflicts: int
    #: objects that were sent of the patient before, and stand
    standing: int


def list_held(tx: Transaction, limit: int) -> list[HeldInstance]:
    """Instances that are held, of all studies, the first that came first."""
    query = _held().order_by(instances.c.study_id, instances.c.id).limit(limit)
    candidates: dict[int, list[Patient]] = {}
    return [_described(tx, row, candidates) for row in tx.connection.execute(query).all()]


def release(
    tx: Transaction, which: str | int, image: int | None, who: str, *, new_patient: bool, keep: bool
) -> Released:
    """Take held instances of a study in; see `Workitems.release_held`."""
    study, rows = _chosen(tx, which, image)
    standing = 0
    if new_patient:
        _require_one_patient(rows)
        standing = len(sent_objects(tx, study))
        if standing and not keep:
            raise PermanentError(
                f"study {study}: {standing} object(s) of the patient before were sent, or are being sent: "
                f"take them back first (mcads-node retract {study}), or let them stand (--keep-results)"
            )
        _move(tx, study, who)
    plan = Plan(purpose=Purpose.FIRST, priority=Priority.ROUTINE)
    taken = [take_in(tx, row.id, study, plan) for row in rows]
    why = "its study is of another patient now" if new_patient else "the patient is the same"
    record(tx, *(_happening(who, "released", row, why) for row in rows))
    return Released(images=sum(taken), conflicts=len(taken) - sum(taken), standing=standing)


def decline(tx: Transaction, which: str | int, image: int | None, reason: str, who: str) -> int:
    """Decline held instances of a study; gives how many."""
    _, rows = _chosen(tx, which, image)
    why = clean(f"it names another patient than its study: {reason}")
    tx.connection.execute(
        update(instances)
        .where(instances.c.id.in_([row.id for row in rows]))
        .values(state=InstanceState.DECLINED, reason=why)
    )
    record(tx, *(_happening(who, "declined", row, why) for row in rows))
    return len(rows)


def take_in(tx: Transaction, number: int, study: int, plan: Plan) -> bool:
    """Take in an instance that is held, of the patient that its study is of now; False: it is declined.

    Of those that have one SOP Instance UID, the one counts that is of this patient and came first.
    """
    of_now = patient_number(tx, study)
    mine = instances.c.id == number
    other = instances.alias("other")
    columns = (instances.c.conflicts_with, other.c.patient_number, other.c.study_id.label("of"))
    query = select(*columns).outerjoin(other, other.c.id == instances.c.conflicts_with).where(mine)
    row = tx.connection.execute(query).one()
    if row.conflicts_with is not None and (row.of != study or row.patient_number == of_now):
        values: dict[str, Any] = {"state": InstanceState.DECLINED, "reason": CONFLICT}
        tx.connection.execute(update(instances).where(mine).values(**values, patient_number=of_now))
        return False
    if row.conflicts_with is not None:
        first = row.conflicts_with
        others = or_(instances.c.id == first, instances.c.conflicts_with == first) & ~mine
        tx.connection.execute(update(instances).where(others).values(conflicts_with=number))
    tx.connection.execute(
        update(instances)
        .where(mine)
        .values(state=InstanceState.RECEIVED, reason=None, conflicts_with=None, patient_number=of_now)
    )
    schedule_analysis(tx, (number, study), plan, tx.now)
    return True


def _held() -> Select[Any]:
    return (
        select(instances, studies.c.study_instance_uid)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(instances.c.state == InstanceState.HELD)
    )


def _described(tx: Transaction, row: Row[Any], candidates: dict[int, list[Patient]]) -> HeldInstance:
    said = Patient(patient=row.patient, issuer=row.issuer)
    seen = candidates.setdefault(row.study_id, [])
    if said not in seen:
        seen.append(said)
    return HeldInstance(
        number=row.id,
        study_number=row.study_id,
        study_instance_uid=row.study_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        requestor=row.requestor_ae_title,
        received_at=row.received_at,
        path=row.path,
        other_path=_path_of_its_patient(tx, row.study_id),
        candidate=seen.index(said) + 1,
        stands_in=row.conflicts_with is not None,
    )


def _path_of_its_patient(tx: Transaction, study: int) -> str | None:
    query = (
        select(instances.c.path)
        .where(
            instances.c.study_id == study,
            instances.c.patient_number == patient_number(tx, study),
            instances.c.patient.is_not(None),
            instances.c.file_deleted_at.is_(None),
        )
        .order_by(instances.c.id)
        .limit(1)
    )
    path: str | None = tx.connection.execute(query).scalar_one_or_none()
    return path


def _chosen(tx: Transaction, which: str | int, image: int | None) -> tuple[int, list[Row[Any]]]:
    """Find the held instances of a study that are meant, and lock the study."""
    study = find(tx, which)
    lock_study(tx, study)
    query = _held().where(instances.c.study_id == study).order_by(instances.c.id)
    if image is not None:
        query = query.where(instances.c.id == image)
    rows = list(tx.connection.execute(query))
    if not rows:
        what = "no image of it is held" if image is None else f"image {image} of it is not held"
        raise PermanentError(f"study {which}: {what}")
    return study, rows


def _require_one_patient(rows: Collection[Row[Any]]) -> None:
    said = [Patient(patient=row.patient, issuer=row.issuer) for row in rows]
    if not all(is_same_patient(each, [other]) for each in said for other in said):
        numbers = ", ".join(str(row.id) for row in rows)
        raise PermanentError(
            f"the held images ({numbers}) name more than one patient: name the images of one by --image"
        )


def _move(tx: Transaction, study: int, who: str) -> None:
    """Let the study be of another patient: nothing that is under way speaks of the one before."""
    of_before = patient_number(tx, study)
    unread = (
        (instances.c.study_id == study)
        & (instances.c.patient_number == of_before)
        & instances.c.state.in_((InstanceState.RECEIVED, InstanceState.QUARANTINED))
    )
    tx.connection.execute(
        update(workitems)
        .where(workitems.c.study_id == study, workitems.c.state.in_(OPEN))
        .values(
            state=WorkState.CANCELED,
            ended_at=tx.now,
            reason=_MOVED,
            held_until=None,
            worker=None,
            transaction_uid=None,
            lease_expires_at=None,
        )
    )
    tx.connection.execute(update(instances).where(unread).values(state=InstanceState.DECLINED, reason=_MOVED))
    tx.connection.execute(
        update(studies).where(studies.c.id == study).values(patient_number=of_before + 1, trouble=None)
    )
    why = f"of patient no. {of_before + 1} now"
    record(tx, Happening(who=who, what="moved", subject=f"study {study}", study=study, why=why))


def _happening(who: str, what: str, row: Row[Any], why: str | None) -> Happening:
    return Happening(who=who, what=what, subject=f"instance {row.id}", study=row.study_id, why=why)
