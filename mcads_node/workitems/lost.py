"""Files that are gone for good, as after a backup in which they were damaged: said so, and not waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, select, update

from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.records import InstanceState, WorkState
from mcads_node.workitems.schema import analyses, deliveries, instances, results, workitems

#: databases take only so many values in one statement
_AT_ONCE = 500


def record_lost(tx: Transaction, paths: Sequence[str], who: str, why: str) -> None:
    """Put on record that files are lost: what waits for one of them ends, where a person looks.

    An image that was to be analysed goes into quarantine, and a result that was to be delivered becomes a
    dead letter. Of what was analysed, declined or delivered only the file is gone.
    """
    reason = f"its file is lost: {why}"
    for some in _portions(paths):
        subjects = [(f"instance {number}", study) for number, study in _images(tx, some, reason)]
        subjects += [(f"result {number}", study) for number, study in _results(tx, some, reason)]
        for subject, study in subjects:
            record(tx, Happening(who=who, what="file lost", subject=subject, study=study, why=why))
        tx.connection.execute(update(analyses).where(analyses.c.thumbnail.in_(some)).values(thumbnail=None))


def _images(tx: Transaction, paths: Sequence[str], reason: str) -> list[tuple[int, int | None]]:
    ours = instances.c.path.in_(paths) & instances.c.file_deleted_at.is_(None)
    query = select(instances.c.id, instances.c.study_id).where(ours).order_by(instances.c.id)
    found = [(row.id, row.study_id) for row in tx.connection.execute(query)]
    waiting = instances.c.state == InstanceState.RECEIVED
    tx.connection.execute(
        update(workitems)
        .where(
            workitems.c.instance_id.in_(select(instances.c.id).where(ours, waiting)),
            workitems.c.state.in_((WorkState.SCHEDULED, WorkState.IN_PROGRESS)),
        )
        .values(
            state=WorkState.CANCELED,
            ended_at=tx.now,
            reason=reason,
            held_until=None,
            worker=None,
            transaction_uid=None,
            lease_expires_at=None,
        )
    )
    tx.connection.execute(
        update(instances).where(ours, waiting).values(state=InstanceState.QUARANTINED, reason=reason)
    )
    _give_up(tx, deliveries.c.instance_id.in_([number for number, _ in found]), reason)
    # what can still be analysed, were it received again, keeps its file on record
    ended = instances.c.state.in_((InstanceState.ANALYSED, InstanceState.DECLINED))
    tx.connection.execute(update(instances).where(ours, ended).values(file_deleted_at=tx.now))
    return found


def _results(tx: Transaction, paths: Sequence[str], reason: str) -> list[tuple[int, int]]:
    ours = results.c.path.in_(paths) & results.c.file_deleted_at.is_(None)
    query = select(results.c.id, results.c.study_id).where(ours).order_by(results.c.id)
    found = [(row.id, row.study_id) for row in tx.connection.execute(query)]
    _give_up(tx, deliveries.c.result_id.in_([number for number, _ in found]), reason)
    tx.connection.execute(update(results).where(ours).values(file_deleted_at=tx.now))
    return found


def _give_up(tx: Transaction, which: ColumnElement[bool], reason: str) -> None:
    tx.connection.execute(
        update(deliveries)
        .where(which, deliveries.c.state == DeliveryState.PENDING)
        .values(state=DeliveryState.REFUSED, ended_at=tx.now, reason=reason)
    )


def _portions(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), _AT_ONCE):
        yield paths[start : start + _AT_ONCE]
