"""Completing work: its state, what it found, and what follows from it, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Select, exists, func, insert, null, select, update

from mcads_node.finding import Algorithm
from mcads_node.instance import View
from mcads_node.result import ObjectKind, Rendition
from mcads_node.workitems.codec import (
    algorithm_from_json,
    algorithm_to_json,
    checks_from_json,
    checks_to_json,
    findings_from_json,
    findings_to_json,
)
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.planning import delivery_due
from mcads_node.workitems.queue import held, lock_study, schedule_report
from mcads_node.workitems.records import (
    AnalysedImage,
    InstanceAnalysed,
    InstanceDeclined,
    InstanceState,
    Kind,
    Purpose,
    StoredResult,
    StudyForReport,
    Workitem,
    WorkState,
)
from mcads_node.workitems.schema import analyses, deliveries, instances, results, studies, workitems


def complete_analysis(tx: Transaction, item: Workitem, outcome: InstanceAnalysed | InstanceDeclined) -> bool:
    """End an analyse item; False if the lease was lost and nothing was written."""
    lock_study(tx, item.study_number)
    if item.instance is None or not _end(tx, item):
        return False
    _note(tx, item, "completed", None if item.purpose is Purpose.FIRST else str(item.purpose))
    if isinstance(outcome, InstanceDeclined):
        _decline(tx, item, clean(outcome.reason) or "declined without a reason")
        return True
    analysis = _insert_analysis(tx, item, outcome)
    if item.purpose is not Purpose.SHADOW:
        _set_instance(tx, item, InstanceState.ANALYSED, None)
        _insert_results(tx, item, _not_known(tx, item, outcome.objects, analysis), analysis_id=analysis)
        _note_omitted(tx, item, outcome.omitted, f"instance {item.instance_number}")
        due_at = item.instance.received_at + outcome.quiet if item.purpose is Purpose.FIRST else tx.now
        schedule_report(tx, item.study_number, due_at, item.priority)
    _note(tx, item, "analysed", _way(item, outcome), f"instance {item.instance_number}")
    return True


def _decline(tx: Transaction, item: Workitem, reason: str) -> None:
    """Put on record why an image was not analysed; what was found in it before stays found."""
    if item.purpose is Purpose.FIRST:
        _set_instance(tx, item, InstanceState.DECLINED, reason)
    _note(tx, item, "declined", reason, f"instance {item.instance_number}")


def _way(item: Workitem, outcome: InstanceAnalysed) -> str:
    """Say by what it was analysed."""
    told = [f"route {outcome.route}", f"model {outcome.algorithm.name}"]
    if outcome.threshold_set is not None:
        told.append(f"threshold set {outcome.threshold_set}")
    if item.purpose is Purpose.SHADOW:
        told.append("shadow")
    return ", ".join(told)


def _not_known(
    tx: Transaction, item: Workitem, objects: Sequence[StoredResult], analysis: int
) -> list[StoredResult]:
    """Give the objects that are new. One that was made before is the one that was made before.

    The same analysis of an image, done again, makes objects of the same UIDs: the first bytes stand, and what
    is found now refers to them.
    """
    if item.purpose is Purpose.FIRST or not objects:
        return list(objects)
    uids = [each.sop_instance_uid for each in objects]
    ours = (results.c.study_id == item.study_number) & results.c.sop_instance_uid.in_(uids)
    known = set(
        tx.connection.execute(
            update(results).where(ours).values(analysis_id=analysis).returning(results.c.sop_instance_uid)
        ).scalars()
    )
    return [each for each in objects if each.sop_instance_uid not in known]


def complete_report(
    tx: Transaction,
    item: Workitem,
    objects: Sequence[StoredResult],
    destinations: Mapping[str, Collection[Rendition]],
    omitted: Sequence[str],
) -> bool:
    """End a report item and have its objects delivered; False if the lease was lost."""
    lock_study(tx, item.study_number)
    if item.revision is None or not _end(tx, item):
        return False
    _insert_results(tx, item, objects, revision=item.revision)
    _schedule_deliveries(tx, item, destinations)
    _note_omitted(tx, item, omitted, str(item))
    tx.connection.execute(update(studies).where(studies.c.id == item.study_number).values(trouble=None))
    _note(tx, item, "completed", f"report, revision {item.revision}, {len(objects)} objects")
    return True


def study_for_report(tx: Transaction, item: Workitem) -> StudyForReport:
    """All that the report of `item` speaks of."""
    study = tx.connection.execute(select(studies).where(studies.c.id == item.study_number)).one()
    revision = item.revision or 1
    return StudyForReport(
        study_number=study.id,
        study_instance_uid=study.study_instance_uid,
        first_received_at=study.first_received_at,
        revision=revision,
        predecessors=_predecessors(tx, item.study_number, revision),
        told=_told(tx, item.study_number),
        images=_images(tx, item),
        unread=_unread(tx, item.study_number),
    )


def analysis_of(row: Row[Any], objects: tuple[StoredResult, ...]) -> InstanceAnalysed:
    """Read back what `complete_analysis` wrote."""
    return InstanceAnalysed(
        route=row.route,
        threshold_set=row.threshold_set,
        algorithm=algorithm_from_json(row.algorithm),
        findings=findings_from_json(row.findings),
        checks=checks_from_json(row.checks),
        view=View(row.view),
        header=row.header,
        thumbnail=row.thumbnail,
        shown=row.shown,
        objects=objects,
        send_to=tuple(row.send_to),
        kinds=None if row.kinds is None else tuple(ObjectKind(kind) for kind in row.kinds),
        quiet_seconds=row.quiet_seconds,
    )


def stored_result(row: Row[Any]) -> StoredResult:
    """Read back one result row."""
    return StoredResult(
        kind=ObjectKind(row.kind),
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        path=row.path,
        size=row.size,
        digest=row.digest,
        variant=row.variant,
        device_uid=row.device_uid,
    )


def _end(tx: Transaction, item: Workitem) -> bool:
    statement = (
        update(workitems)
        .where(held(item))
        .values(
            state=WorkState.COMPLETED,
            ended_at=tx.now,
            worker=None,
            transaction_uid=None,
            lease_expires_at=None,
        )
    )
    return bool(tx.connection.execute(statement).rowcount)


def _set_instance(tx: Transaction, item: Workitem, state: InstanceState, reason: str | None) -> None:
    mine = instances.c.id == item.instance_number
    tx.connection.execute(update(instances).where(mine).values(state=state, reason=reason))


def _insert_analysis(tx: Transaction, item: Workitem, outcome: InstanceAnalysed) -> int:
    algorithm: Algorithm = outcome.algorithm
    number: int = tx.connection.execute(
        insert(analyses)
        .values(
            study_id=item.study_number,
            instance_id=item.instance_number,
            shadow=item.purpose is Purpose.SHADOW,
            route=outcome.route,
            threshold_set=outcome.threshold_set,
            kinds=null() if outcome.kinds is None else list(outcome.kinds),
            algorithm=algorithm_to_json(algorithm),
            findings=findings_to_json(outcome.findings),
            checks=checks_to_json(outcome.checks),
            view=outcome.view,
            header=outcome.header,
            thumbnail=outcome.thumbnail,
            shown=outcome.shown,
            send_to=list(outcome.send_to),
            quiet_seconds=outcome.quiet_seconds,
            analysed_at=tx.now,
        )
        .returning(analyses.c.id)
    ).scalar_one()
    return number


def _insert_results(tx: Transaction, item: Workitem, objects: Sequence[StoredResult], **origin: int) -> None:
    made = {"study_id": item.study_number, "workitem_id": item.number, "created_at": tx.now, **origin}
    if objects:
        tx.connection.execute(insert(results), [{**asdict(each), **made} for each in objects])


def _schedule_deliveries(
    tx: Transaction, item: Workitem, destinations: Mapping[str, Collection[Rendition]]
) -> None:
    """One row per object and destination: of this report, and of the images it speaks of."""
    wanted = {
        name: {(each.kind, each.variant) for each in renditions} for name, renditions in destinations.items()
    }
    of_images = _standing_analyses(item)
    ours = tx.connection.execute(
        select(results.c.id, results.c.kind, results.c.variant, results.c.file_deleted_at)
        .where(
            results.c.study_id == item.study_number,
            results.c.retracted_by.is_(None),
            (results.c.workitem_id == item.number) | results.c.analysis_id.in_(of_images),
        )
        # images go first: a viewer that opens the report finds what it refers to
        .order_by(results.c.id)
    ).all()
    planned = tx.connection.execute(
        select(deliveries.c.result_id, deliveries.c.destination).where(
            deliveries.c.result_id.in_([row.id for row in ours])
        )
    )
    known = {(row.result_id, row.destination) for row in planned}
    due_at = delivery_due(tx.now, item.priority)
    state = {"state": DeliveryState.PENDING, "attempts": 0, "due_at": due_at, "since": tx.now}
    due = [
        (row, name)
        for row in ours
        for name, renditions in wanted.items()
        if (ObjectKind(row.kind), row.variant) in renditions and (row.id, name) not in known
    ]
    rows = [
        {"study_id": item.study_number, "result_id": row.id, "destination": name, **state}
        for row, name in due
        if row.file_deleted_at is None
    ]
    if rows:
        tx.connection.execute(insert(deliveries), rows)
    # only to a destination that was not there when the image was reported: wherever else it was due, it is
    for row, name in due:
        if row.file_deleted_at is not None:
            _note(tx, item, "omitted", f"its file was deleted, so it cannot go to {name}", f"result {row.id}")


def _predecessors(tx: Transaction, study: int, revision: int) -> tuple[StoredResult, ...]:
    """Find the documents that this revision may replace, the newest last: of each model those it made last.

    What was retracted is nothing to build on.
    """
    query = (
        select(results)
        .where(
            results.c.study_id == study,
            results.c.kind.in_((ObjectKind.SR, ObjectKind.BASIC_TEXT_SR)),
            results.c.revision < revision,
            results.c.retracted_by.is_(None),
        )
        .order_by(results.c.revision, results.c.id)
    )
    rows = tx.connection.execute(query).all()
    last = {row.device_uid: row.revision for row in rows}
    return tuple(stored_result(row) for row in rows if row.revision == last[row.device_uid])


def _told(tx: Transaction, study: int) -> int:
    """Find the last analysis that a report speaks of which was not retracted."""
    stands = exists().where(
        results.c.workitem_id == workitems.c.id,
        results.c.revision.is_not(None),
        results.c.retracted_by.is_(None),
    )
    query = select(func.max(workitems.c.covers)).where(
        workitems.c.study_id == study,
        workitems.c.kind == Kind.REPORT,
        workitems.c.state == WorkState.COMPLETED,
        stands,
    )
    return tx.connection.execute(query).scalar_one() or 0


def _standing_analyses(item: Workitem) -> Select[int]:
    """Select what a report speaks of: of each image the last analysis that is no shadow."""
    return (
        select(func.max(analyses.c.id))
        .where(
            analyses.c.study_id == item.study_number,
            analyses.c.id <= item.covers,
            analyses.c.shadow.is_(False),
        )
        .group_by(analyses.c.instance_id)
    )


def _images(tx: Transaction, item: Workitem) -> tuple[AnalysedImage, ...]:
    rows = tx.connection.execute(
        select(analyses, instances.c.sop_class_uid, instances.c.sop_instance_uid, instances.c.received_at)
        .join(instances, instances.c.id == analyses.c.instance_id)
        .where(analyses.c.id.in_(_standing_analyses(item)))
        .order_by(analyses.c.id)
    ).all()
    made = objects_of_images(tx, item.study_number, standing=True)
    return tuple(
        AnalysedImage(
            number=row.id,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            received_at=row.received_at,
            analysis=analysis_of(row, made.get(row.id, ())),
        )
        for row in rows
    )


def objects_of_images(
    tx: Transaction, study: int, *, standing: bool = False
) -> dict[int, tuple[StoredResult, ...]]:
    """Objects made of a study's images, by the number of their analysis; `standing`: not those retracted."""
    found: dict[int, tuple[StoredResult, ...]] = {}
    query = select(results).where(results.c.study_id == study, results.c.analysis_id.is_not(None))
    if standing:
        query = query.where(results.c.retracted_by.is_(None))
    for row in tx.connection.execute(query.order_by(results.c.id)):
        found[row.analysis_id] = (*found.get(row.analysis_id, ()), stored_result(row))
    return found


def _unread(tx: Transaction, study: int) -> tuple[str, ...]:
    query = (
        select(instances.c.reason)
        .where(
            instances.c.study_id == study,
            instances.c.state.in_((InstanceState.DECLINED, InstanceState.QUARANTINED)),
        )
        .order_by(instances.c.id)
    )
    return tuple(tx.connection.execute(query).scalars())


def _note_omitted(tx: Transaction, item: Workitem, omitted: Iterable[str], subject: str) -> None:
    for why in omitted:
        _note(tx, item, "omitted", why, subject)


def _note(tx: Transaction, item: Workitem, what: str, why: str | None, subject: str | None = None) -> None:
    happening = Happening(
        who=item.worker, what=what, subject=subject or str(item), study=item.study_number, why=why
    )
    record(tx, happening)
