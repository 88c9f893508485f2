"""What the receiver records, before it answers a C-STORE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, case, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import ReceivedInstance, is_valid_uid
from mcads_node.workitems.claimable import OPEN
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.moving import CONFLICT, take_in
from mcads_node.workitems.patients import (
    OTHER_PATIENT,
    Patient,
    is_same_patient,
    patients_of,
)
from mcads_node.workitems.planning import Plan, forward, schedule_analysis
from mcads_node.workitems.queue import lock_study
from mcads_node.workitems.records import (
    Handling,
    InstanceState,
    KeptFile,
    Purpose,
    Receipt,
    WorkState,
)
from mcads_node.workitems.schema import instances, studies, workitems

#: made once: of the time that an object's record takes, the making of its statements was the larger part
_FIRST_UNDER: Select[Any] = select(instances.c.id, instances.c.study_id, instances.c.patient_number).where(
    instances.c.sop_instance_uid == bindparam("uid"),
    instances.c.conflicts_with.is_(None),
    instances.c.study_id.is_not(None),
)
_INSERT_INSTANCE = insert(instances).returning(instances.c.id)


def _upsert(make: Any) -> Any:
    statement = make(studies).values(
        study_instance_uid=bindparam("uid"),
        first_received_at=bindparam("received_at"),
        last_received_at=bindparam("received_at"),
    )
    # the first never changes: Series Date and Time of every result are made of it. The last only grows,
    # though several threads may commit out of order, and a clock may step back
    mine, new = studies.c.last_received_at, statement.excluded.last_received_at
    return statement.on_conflict_do_update(
        index_elements=["study_instance_uid"],
        set_={"last_received_at": case((mine < new, new), else_=mine)},
    ).returning(studies.c.id, studies.c.patient_number)


#: a row that is there is written, and so locked, even where nothing in it changes
_UPSERT_STUDY = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}


def record_received(tx: Transaction, instance: ReceivedInstance, handling: Handling) -> Receipt:
    """Put an instance on record, and schedule what is to be done with it."""
    _check_uids(instance)
    _take_turn(tx, instance.sop_instance_uid)
    first = _first_under(tx, instance.sop_instance_uid)
    # what is on record of others under the UID stands behind a first one
    again = None if first is None else _same_content_on_record(tx, instance)
    if first is not None and again is not None:
        _note(tx, instance, "received again", (first.id, first.study_id), "the same content is on record")
        return again
    study, of_now = _upsert_study(tx, instance.study_instance_uid, instance.received_at)
    said = Patient(patient=instance.patient, issuer=instance.issuer)
    if not is_same_patient(said, patients_of(tx, study)):
        number = _insert_held(tx, instance, study, first)
        _note(tx, instance, "held", (number, study), OTHER_PATIENT)
        _forward(tx, instance, (number, study), handling, known=first is not None)
        return Receipt.HELD
    if first is not None and (first.study_id != study or first.patient_number == of_now):
        _insert_conflict(tx, instance, study, first.id, of_now)
        return Receipt.CONFLICT
    if first is not None:
        # what came first is of a patient that the study is not of: it must not keep this one out
        number = _insert_held(tx, instance, study, first)
        take_in(tx, number, study, _first(handling))
    else:
        values = {"state": InstanceState.RECEIVED, "patient_number": of_now}
        number = _insert_instance(tx, instance, study, **values)
        schedule_analysis(tx, (number, study), _first(handling), instance.received_at)
    _note(tx, instance, "received", (number, study))
    for each in handling.shadows:
        shadow = Plan(purpose=Purpose.SHADOW, priority=each.priority, schedule=each.schedule, rule=each.rule)
        schedule_analysis(tx, (number, study), shadow, instance.received_at)
    _forward(tx, instance, (number, study), handling, known=first is not None)
    return Receipt.RECORDED


def _first(handling: Handling) -> Plan:
    return Plan(purpose=Purpose.FIRST, priority=handling.priority, schedule=handling.schedule)


def _forward(
    tx: Transaction, instance: ReceivedInstance, numbers: tuple[int, int], handling: Handling, *, known: bool
) -> None:
    """Have the object sent on; not where another came under its UID: nobody is to have two under one."""
    for name in () if known else handling.forward:
        forward(tx, numbers, name, handling.priority)
        _note(tx, instance, "forwarding planned", numbers, f"to {name}")
    withheld = ("another object came before under its UID",) if known and handling.forward else ()
    for why in (*handling.withheld, *withheld):
        _note(tx, instance, "not forwarded", numbers, why)


def record_unreadable(tx: Transaction, instance: ReceivedInstance, reason: str) -> Receipt:
    """Put bytes on record whose data set cannot be parsed, with what of its UIDs is valid."""
    same = select(instances.c.id).where(
        instances.c.study_id.is_(None),
        instances.c.digest == instance.digest,
        instances.c.sop_instance_uid.is_not_distinct_from(_valid(instance.sop_instance_uid)),
    )
    if tx.connection.execute(same.limit(1)).first() is not None:
        return Receipt.DUPLICATE
    number = _insert_instance(
        tx, instance, None, state=InstanceState.DECLINED, reason=clean(reason) or "unreadable"
    )
    _note(tx, instance, "declined", (number, None), reason)
    return Receipt.UNREADABLE


def kept_file(tx: Transaction, instance: ReceivedInstance, *, is_readable: bool) -> KeptFile | None:
    """Give the file on record of the same content under the same UID; None where it was let go."""
    query = select(instances.c.id, instances.c.path, instances.c.size).where(
        instances.c.sop_instance_uid.is_not_distinct_from(_valid(instance.sop_instance_uid)),
        instances.c.digest == instance.digest,
        instances.c.study_id.is_not(None) if is_readable else instances.c.study_id.is_(None),
        instances.c.file_deleted_at.is_(None),
    )
    row = tx.connection.execute(query.limit(1)).first()
    return None if row is None else KeptFile(instance_number=row.id, path=row.path, size=row.size)


def replace_file(tx: Transaction, lost: KeptFile, instance: ReceivedInstance) -> bool:
    """Put the file of an instance in the place of one that is lost, and have it analysed if it was not.

    False: the record has another file meanwhile, or has let it go, and nothing is written.
    """
    mine = instances.c.id == lost.instance_number
    study = tx.connection.execute(select(instances.c.study_id).where(mine)).scalar_one()
    if study is not None:
        lock_study(tx, study)
    row = tx.connection.execute(
        update(instances)
        .where(mine, instances.c.path == lost.path, instances.c.file_deleted_at.is_(None))
        .values(path=instance.path, size=instance.size)
        .returning(instances.c.state)
    ).first()
    if row is None:
        return False
    _note(tx, instance, "file replaced", (lost.instance_number, study), "its file was lost or damaged")
    if row.state in (InstanceState.RECEIVED, InstanceState.QUARANTINED):
        _analyse_afresh(tx, lost.instance_number)
    return True


def _analyse_afresh(tx: Transaction, number: int) -> None:
    """Schedule an analysis again; one that is under way has the lost file, and loses its lease."""
    tx.connection.execute(
        update(workitems)
        .where(
            workitems.c.instance_id == number,
            workitems.c.purpose == Purpose.FIRST,
            workitems.c.state.in_((*OPEN, WorkState.CANCELED)),
        )
        .values(
            state=WorkState.SCHEDULED,
            due_at=tx.now,
            attempts=0,
            deaths=0,
            ended_at=None,
            reason=None,
            worker=None,
            transaction_uid=None,
            lease_expires_at=None,
        )
    )
    tx.connection.execute(
        update(instances).where(instances.c.id == number).values(state=InstanceState.RECEIVED, reason=None)
    )


def known_instances(tx: Transaction, study_instance_uid: str) -> set[str]:
    """Give the SOP Instance UIDs that are on record under a Study Instance UID, whatever became of them."""
    query = (
        select(instances.c.sop_instance_uid)
        .join(studies, studies.c.id == instances.c.study_id)
        .where(studies.c.study_instance_uid == study_instance_uid)
    )
    return set(tx.connection.execute(query).scalars())


def _check_uids(instance: ReceivedInstance) -> None:
    for name in ("sop_class_uid", "sop_instance_uid", "study_instance_uid", "transfer_syntax_uid"):
        if not is_valid_uid(getattr(instance, name)):
            raise InstanceUnreadable(f"expected a UID of at most 64 characters of 0-9 and . as {name}")


def _valid(uid: str) -> str | None:
    return uid if is_valid_uid(uid) else None


def _take_turn(tx: Transaction, sop_instance_uid: str) -> None:
    """Where several nodes share a database, let one at a time decide about one SOP Instance UID."""
    if tx.connection.dialect.name == "postgresql":
        tx.connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(sop_instance_uid, 0))))


def _first_under(tx: Transaction, sop_instance_uid: str) -> Row[Any] | None:
    """Find what counts under a SOP Instance UID: number and patient of the instance, and its study."""
    return tx.connection.execute(_FIRST_UNDER, {"uid": sop_instance_uid}).first()


def _same_content_on_record(tx: Transaction, instance: ReceivedInstance) -> Receipt | None:
    """Also among those kept apart before: a peer that repeats a conflict must not fill the disk."""
    query = select(instances.c.conflicts_with, instances.c.state).where(
        instances.c.sop_instance_uid == instance.sop_instance_uid,
        instances.c.digest == instance.digest,
        instances.c.study_id.is_not(None),
    )
    row = tx.connection.execute(query).first()
    if row is None:
        return None
    is_known = row.conflicts_with is None or row.state == InstanceState.HELD
    return Receipt.DUPLICATE if is_known else Receipt.CONFLICT_AGAIN


def _upsert_study(tx: Transaction, uid: str, received_at: datetime) -> tuple[int, int]:
    """Put a study on record that is not, and lock it; gives its number, and that of its patient."""
    statement = _UPSERT_STUDY[tx.connection.dialect.name]
    row = tx.connection.execute(statement, {"uid": uid, "received_at": received_at}).one()
    return row.id, row.patient_number


def _insert_conflict(
    tx: Transaction, instance: ReceivedInstance, study: int, first: int, of_patient: int
) -> None:
    values = {"state": InstanceState.DECLINED, "reason": CONFLICT, "conflicts_with": first}
    number = _insert_instance(tx, instance, study, **values, patient_number=of_patient)
    _note(tx, instance, "conflict", (number, study), f"{CONFLICT}: instance {first}")


def _insert_held(tx: Transaction, instance: ReceivedInstance, study: int, first: Row[Any] | None) -> int:
    values = {"state": InstanceState.HELD, "reason": OTHER_PATIENT}
    return _insert_instance(tx, instance, study, **values, conflicts_with=first.id if first else None)


def _insert_instance(tx: Transaction, instance: ReceivedInstance, study: int | None, **values: Any) -> int:
    columns = {
        "study_id": study,
        "sop_class_uid": _valid(instance.sop_class_uid),
        "sop_instance_uid": _valid(instance.sop_instance_uid),
        "transfer_syntax_uid": _valid(instance.transfer_syntax_uid),
        "requestor_ae_title": clean(instance.requestor.ae_title),
        "requestor_address": clean(instance.requestor.address),
        "called_ae_title": clean(instance.requestor.called_ae_title),
        "received_at": instance.received_at,
        "path": instance.path,
        "size": instance.size,
        "digest": instance.digest,
        "patient": instance.patient,
        "issuer": instance.issuer,
    }
    number: int = tx.connection.execute(_INSERT_INSTANCE, {**columns, **values}).scalar_one()
    return number


def _note(
    tx: Transaction,
    instance: ReceivedInstance,
    what: str,
    numbers: tuple[int, int | None],
    why: str | None = None,
) -> None:
    number, study = numbers
    who = instance.requestor.ae_title
    record(tx, Happening(who=who, what=what, subject=f"instance {number}", study=study, why=why))
