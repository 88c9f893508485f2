"""What the receiver records, before it answers a C-STORE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import ReceivedInstance, is_valid_uid
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.planning import Plan, forward, schedule_analysis
from mcads_node.workitems.queue import OPEN, lock_study
from mcads_node.workitems.records import (
    Handling,
    InstanceState,
    KeptFile,
    Purpose,
    Receipt,
    WorkState,
)
from mcads_node.workitems.schema import instances, studies, workitems


def record_received(tx: Transaction, instance: ReceivedInstance, handling: Handling) -> Receipt:
    """Put an instance on record, and schedule what is to be done with it."""
    _check_uids(instance)
    _take_turn(tx, instance.sop_instance_uid)
    first = _first_under(tx, instance.sop_instance_uid)
    again = _same_content_on_record(tx, instance)
    if first is not None and again is not None:
        _note(tx, instance, "received again", first, "the same content is on record")
        return again
    study = _upsert_study(tx, instance.study_instance_uid, instance.received_at)
    if first is not None:
        _insert_conflict(tx, instance, study, first[0])
        return Receipt.CONFLICT
    number = _insert_instance(tx, instance, study, state=InstanceState.RECEIVED)
    _note(tx, instance, "received", (number, study))
    _handle(tx, instance, (number, study), handling)
    return Receipt.RECORDED


def _handle(
    tx: Transaction, instance: ReceivedInstance, numbers: tuple[int, int], handling: Handling
) -> None:
    plans = [Plan(purpose=Purpose.FIRST, priority=handling.priority, schedule=handling.schedule)]
    plans += [
        Plan(purpose=Purpose.SHADOW, priority=each.priority, schedule=each.schedule, rule=each.rule)
        for each in handling.shadows
    ]
    for plan in plans:
        schedule_analysis(tx, numbers, plan, instance.received_at)
    for name in handling.forward:
        forward(tx, numbers, name, handling.priority)
        _note(tx, instance, "forwarding planned", numbers, f"to {name}")
    for why in handling.withheld:
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


def _first_under(tx: Transaction, sop_instance_uid: str) -> tuple[int, int] | None:
    """Find what came first under a SOP Instance UID: the numbers of the instance and of its study."""
    row = tx.connection.execute(
        select(instances.c.id, instances.c.study_id).where(
            instances.c.sop_instance_uid == sop_instance_uid,
            instances.c.conflicts_with.is_(None),
            instances.c.study_id.is_not(None),
        )
    ).first()
    return None if row is None else (row.id, row.study_id)


def _same_content_on_record(tx: Transaction, instance: ReceivedInstance) -> Receipt | None:
    """Also among those kept apart before: a peer that repeats a conflict must not fill the disk."""
    query = select(instances.c.conflicts_with).where(
        instances.c.sop_instance_uid == instance.sop_instance_uid,
        instances.c.digest == instance.digest,
        instances.c.study_id.is_not(None),
    )
    row = tx.connection.execute(query).first()
    if row is None:
        return None
    return Receipt.DUPLICATE if row.conflicts_with is None else Receipt.CONFLICT_AGAIN


def _upsert_study(tx: Transaction, uid: str, received_at: datetime) -> int:
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    tx.connection.execute(
        dialect.insert(studies)
        .values(study_instance_uid=uid, first_received_at=received_at, last_received_at=received_at)
        .on_conflict_do_nothing(index_elements=["study_instance_uid"])
    )
    number: int = tx.connection.execute(
        select(studies.c.id).where(studies.c.study_instance_uid == uid).with_for_update()
    ).scalar_one()
    # the first never changes: Series Date and Time of every result are made of it. The last only grows,
    # though several threads may commit out of order, and a clock may step back
    tx.connection.execute(
        update(studies)
        .where(studies.c.id == number, studies.c.last_received_at < received_at)
        .values(last_received_at=received_at)
    )
    return number


def _insert_conflict(tx: Transaction, instance: ReceivedInstance, study: int, first: int) -> None:
    reason = "another object with the same SOP Instance UID (0008,0018) and other content came before it"
    number = _insert_instance(
        tx, instance, study, state=InstanceState.DECLINED, reason=reason, conflicts_with=first
    )
    _note(tx, instance, "conflict", (number, study), f"{reason}: instance {first}")


def _insert_instance(tx: Transaction, instance: ReceivedInstance, study: int | None, **values: Any) -> int:
    statement = insert(instances).values(
        study_id=study,
        sop_class_uid=_valid(instance.sop_class_uid),
        sop_instance_uid=_valid(instance.sop_instance_uid),
        transfer_syntax_uid=_valid(instance.transfer_syntax_uid),
        requestor_ae_title=clean(instance.requestor.ae_title),
        requestor_address=clean(instance.requestor.address),
        called_ae_title=clean(instance.requestor.called_ae_title),
        received_at=instance.received_at,
        path=instance.path,
        size=instance.size,
        digest=instance.digest,
        **values,
    )
    number: int = tx.connection.execute(statement.returning(instances.c.id)).scalar_one()
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
