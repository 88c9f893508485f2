"""What a report is to speak of, read back from what was put on record."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Row, Select, bindparam, exists, func, select

from mcads_node.instance import View
from mcads_node.result import ObjectKind
from mcads_node.workitems.codec import (
    algorithm_from_json,
    anatomy_from_json,
    checks_from_json,
    findings_from_json,
    triage_from_json,
)
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.patients import is_of_its_patient, patient_number, reports_of_its_patient
from mcads_node.workitems.records import (
    AnalysedImage,
    InstanceAnalysed,
    InstanceState,
    Kind,
    StoredResult,
    StudyForReport,
    Workitem,
    WorkState,
)
from mcads_node.workitems.schema import analyses, instances, results, studies, workitems


def study_for_report(tx: Transaction, item: Workitem) -> StudyForReport:
    """All that the report of `item` speaks of."""
    study = tx.connection.execute(_STUDY, {"study": item.study_number}).one()
    revision = item.revision or 1
    return StudyForReport(
        study_number=study.id,
        study_instance_uid=study.study_instance_uid,
        first_received_at=study.first_received_at,
        revision=revision,
        patient_number=study.patient_number,
        predecessors=_predecessors(tx, item.study_number, revision),
        told=_told(tx, item.study_number),
        images=_images(tx, item),
        unread=_unread(tx, item.study_number),
    )


#: each of these is made once: that takes SQLAlchemy longer than to execute it
_STUDY = select(studies).where(studies.c.id == bindparam("study"))


def _predecessors(tx: Transaction, study: int, revision: int) -> tuple[StoredResult, ...]:
    """Find the documents that this revision may replace, the newest last: of each model those it made last.

    What was retracted is nothing to build on, nor what speaks of another patient.
    """
    rows = tx.connection.execute(_reports_before(), {"study": study, "this": revision}).all()
    last = {row.device_uid: row.revision for row in rows}
    return tuple(stored_result(row) for row in rows if row.revision == last[row.device_uid])


@cache
def _reports_before() -> Select[Any]:
    study: BindParameter[int] = bindparam("study")
    ours = select(workitems.c.id).where(workitems.c.study_id == study, reports_of_its_patient(study))
    return (
        select(results)
        .where(
            results.c.study_id == study,
            results.c.workitem_id.in_(ours),
            results.c.kind.in_((ObjectKind.SR, ObjectKind.BASIC_TEXT_SR)),
            results.c.revision < bindparam("this"),
            results.c.retracted_by.is_(None),
        )
        .order_by(results.c.revision, results.c.id)
    )


def _told(tx: Transaction, study: int) -> int:
    """Find the last analysis that a report speaks of which was not retracted."""
    return tx.connection.execute(_last_told(), {"study": study}).scalar_one() or 0


@cache
def _last_told() -> Select[int]:
    study: BindParameter[int] = bindparam("study")
    stands = exists().where(
        results.c.workitem_id == workitems.c.id,
        results.c.revision.is_not(None),
        results.c.retracted_by.is_(None),
    )
    return select(func.max(workitems.c.covers)).where(
        workitems.c.study_id == study,
        workitems.c.kind == Kind.REPORT,
        workitems.c.state == WorkState.COMPLETED,
        reports_of_its_patient(study),
        stands,
    )


@cache
def standing() -> Select[int]:
    """Select what a report speaks of (`spoken_of`): of each image the last analysis that is no shadow."""
    return (
        select(func.max(analyses.c.id))
        .where(
            analyses.c.study_id == bindparam("study"),
            analyses.c.id <= bindparam("covers"),
            analyses.c.shadow.is_(False),
            is_of_its_patient(),
        )
        .group_by(analyses.c.instance_id)
    )


def spoken_of(item: Workitem) -> dict[str, int | None]:
    """Give the values of `standing`."""
    return {"study": item.study_number, "covers": item.covers}


@cache
def _standing_images() -> Select[Any]:
    return (
        select(analyses, instances.c.sop_class_uid, instances.c.sop_instance_uid, instances.c.received_at)
        .join(instances, instances.c.id == analyses.c.instance_id)
        .where(analyses.c.id.in_(standing()))
        .order_by(analyses.c.id)
    )


def _images(tx: Transaction, item: Workitem) -> tuple[AnalysedImage, ...]:
    rows = tx.connection.execute(_standing_images(), spoken_of(item)).all()
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
    for row in tx.connection.execute(_of_images(standing=standing), {"study": study}):
        found[row.analysis_id] = (*found.get(row.analysis_id, ()), stored_result(row))
    return found


@cache
def _of_images(*, standing: bool) -> Select[Any]:
    query = select(results).where(
        results.c.study_id == bindparam("study"), results.c.analysis_id.is_not(None)
    )
    if standing:
        query = query.where(results.c.retracted_by.is_(None))
    return query.order_by(results.c.id)


#: of an image that a report is made without because it may not wait any longer, or waits for its hours
NOT_YET = "it had not been analysed when this report was made"


def _unread(tx: Transaction, study: int) -> tuple[str, ...]:
    """Say why instances are not in the report that are of the study's patient, or would be."""
    bound = {"study": study, "patient": patient_number(tx, study)}
    return tuple(row.reason or NOT_YET for row in tx.connection.execute(_UNREAD, bound))


_UNREAD = (
    select(instances.c.state, instances.c.reason)
    .where(
        instances.c.study_id == bindparam("study"),
        instances.c.state != InstanceState.ANALYSED,
        (instances.c.patient_number == bindparam("patient")) | (instances.c.state == InstanceState.HELD),
    )
    .order_by(instances.c.id)
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
        expected_views=row.expected_views,
        max_wait_seconds=row.max_wait_seconds,
        device=row.device,
        triage=None if row.triage is None else triage_from_json(row.triage),
        anatomy=None if row.anatomy is None else anatomy_from_json(row.anatomy),
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
