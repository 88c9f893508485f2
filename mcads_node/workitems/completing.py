"""Completing work: its state, what it found, and what follows from it, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, insert, null, select, update

from mcads_node.finding import Algorithm
from mcads_node.result import ObjectKind, Rendition
from mcads_node.workitems.codec import (
    algorithm_to_json,
    anatomy_to_json,
    checks_to_json,
    findings_to_json,
    triage_to_json,
)
from mcads_node.workitems.completeness import due_of_report
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.extent import spoken_of, standing
from mcads_node.workitems.outcomes import DeliveryState
from mcads_node.workitems.planning import delivery_due
from mcads_node.workitems.queue import lock_study, schedule_report
from mcads_node.workitems.records import (
    InstanceAnalysed,
    InstanceDeclined,
    InstanceState,
    Purpose,
    StoredResult,
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
        _decline(tx, item, outcome)
        return True
    analysis = _insert_analysis(tx, item, outcome)
    if item.purpose is not Purpose.SHADOW:
        digest = outcome.rules_digest
        _set_instance(tx, item, state=InstanceState.ANALYSED, reason=None, rules_digest=digest)
        new = _not_known(tx, item, outcome.objects, analysis)
        _insert_results(tx, item, new, analysis_id=analysis, rules_digest=digest)
        _note_omitted(tx, item, outcome.omitted, f"instance {item.instance_number}")
        schedule_report(tx, item.study_number, due_of_report(tx, item, outcome), item.priority)
    _note(tx, item, "analysed", _way(item, outcome), f"instance {item.instance_number}")
    return True


def _decline(tx: Transaction, item: Workitem, outcome: InstanceDeclined) -> None:
    """Put on record why an image was not analysed; what was found in it before stays found."""
    reason, rules = clean(outcome.reason) or "declined without a reason", outcome.rules_digest
    if item.purpose is Purpose.FIRST:
        _set_instance(tx, item, state=InstanceState.DECLINED, reason=reason, rules_digest=rules)
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
    _insert_results(tx, item, objects, revision=item.revision, rules_digest=_last_rules(tx, item))
    _schedule_deliveries(tx, item, destinations)
    _note_omitted(tx, item, omitted, str(item))
    tx.connection.execute(_NO_TROUBLE, {"study": item.study_number})
    _note(tx, item, "completed", f"report, revision {item.revision}, {len(objects)} objects")
    return True


def _end(tx: Transaction, item: Workitem) -> bool:
    mine = {"number": item.number, "claim": item.transaction_uid, "held": WorkState.IN_PROGRESS}
    values = {"state": WorkState.COMPLETED, "ended_at": tx.now, **_FREE}
    return bool(tx.connection.execute(_END, {**mine, **values}).rowcount)


#: what statements do again and again is said to SQLAlchemy once: it takes longer than to execute it
_END = update(workitems).where(
    workitems.c.id == bindparam("number"),
    workitems.c.transaction_uid == bindparam("claim"),
    workitems.c.state == bindparam("held"),
)
_FREE = dict.fromkeys(("worker", "transaction_uid", "lease_expires_at"))
_NO_TROUBLE = update(studies).where(studies.c.id == bindparam("study")).values(trouble=None)
_THIS_INSTANCE = update(instances).where(instances.c.id == bindparam("mine"))


def _set_instance(tx: Transaction, item: Workitem, **values: str | None) -> None:
    tx.connection.execute(_THIS_INSTANCE, {"mine": item.instance_number, **values})


def _insert_analysis(tx: Transaction, item: Workitem, outcome: InstanceAnalysed) -> int:
    algorithm: Algorithm = outcome.algorithm
    number: int = tx.connection.execute(
        _ANALYSED,
        {
            "study_id": item.study_number,
            "instance_id": item.instance_number,
            "shadow": item.purpose is Purpose.SHADOW,
            "route": outcome.route,
            "threshold_set": outcome.threshold_set,
            "kinds": null() if outcome.kinds is None else list(outcome.kinds),
            "algorithm": algorithm_to_json(algorithm),
            "findings": findings_to_json(outcome.findings),
            "checks": checks_to_json(outcome.checks),
            "view": outcome.view,
            "header": outcome.header,
            "thumbnail": outcome.thumbnail,
            "shown": outcome.shown,
            "send_to": list(outcome.send_to),
            "quiet_seconds": outcome.quiet_seconds,
            "expected_views": dict(outcome.expected_views),
            "max_wait_seconds": outcome.max_wait_seconds,
            "analysed_at": tx.now,
            "device": outcome.device,
            "triage": null() if outcome.triage is None else triage_to_json(outcome.triage),
            "anatomy": null() if outcome.anatomy is None else anatomy_to_json(outcome.anatomy),
        },
    ).scalar_one()
    return number


_ANALYSED = insert(analyses).returning(analyses.c.id)
_MADE = insert(results)


def _last_rules(tx: Transaction, item: Workitem) -> str | None:
    """Digest of the rules that the last of a report's images was treated by."""
    return tx.connection.execute(_LAST_RULES, spoken_of(item)).scalar()


_LAST_RULES = (
    select(instances.c.rules_digest)
    .join(analyses, analyses.c.instance_id == instances.c.id)
    .where(analyses.c.study_id == bindparam("study"), analyses.c.id <= bindparam("covers"))
    .order_by(analyses.c.id.desc())
    .limit(1)
)


def _insert_results(
    tx: Transaction, item: Workitem, objects: Sequence[StoredResult], **origin: int | str | None
) -> None:
    made = {"study_id": item.study_number, "workitem_id": item.number, "created_at": tx.now, **origin}
    if objects:
        tx.connection.execute(_MADE, [{**vars(each), **made} for each in objects])


def _schedule_deliveries(
    tx: Transaction, item: Workitem, destinations: Mapping[str, Collection[Rendition]]
) -> None:
    """One row per object and destination: of this report, and of the images it speaks of."""
    wanted = {
        name: {(each.kind, each.variant) for each in renditions} for name, renditions in destinations.items()
    }
    ours = tx.connection.execute(_to_send(), {**spoken_of(item), "report": item.number}).all()
    planned = tx.connection.execute(_PLANNED, {"made": [row.id for row in ours]})
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
        tx.connection.execute(_PLAN, rows)
    # only to a destination that was not there when the image was reported: wherever else it was due, it is
    for row, name in due:
        if row.file_deleted_at is not None:
            _note(tx, item, "omitted", f"its file was deleted, so it cannot go to {name}", f"result {row.id}")


_PLAN = insert(deliveries)
_PLANNED = select(deliveries.c.result_id, deliveries.c.destination).where(
    deliveries.c.result_id.in_(bindparam("made", expanding=True))
)


@cache
def _to_send() -> Select[Any]:
    return (
        select(results.c.id, results.c.kind, results.c.variant, results.c.file_deleted_at)
        .where(
            results.c.study_id == bindparam("study"),
            results.c.retracted_by.is_(None),
            (results.c.workitem_id == bindparam("report")) | results.c.analysis_id.in_(standing()),
        )
        # images go first: a viewer that opens the report finds what it refers to
        .order_by(results.c.id)
    )


def _note_omitted(tx: Transaction, item: Workitem, omitted: Iterable[str], subject: str) -> None:
    for why in omitted:
        _note(tx, item, "omitted", why, subject)


def _note(tx: Transaction, item: Workitem, what: str, why: str | None, subject: str | None = None) -> None:
    happening = Happening(
        who=item.worker, what=what, subject=subject or str(item), study=item.study_number, why=why
    )
    record(tx, happening)
