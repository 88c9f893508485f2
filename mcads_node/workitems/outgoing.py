"""What is sent: one of the node's results, or an instance as it was received, in one form for both."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select

from mcads_node.result import ObjectKind
from mcads_node.workitems.outcomes import Delivery
from mcads_node.workitems.schema import deliveries, instances, results, studies


def _either(name: str) -> ColumnElement[Any]:
    return func.coalesce(results.c[name], instances.c[name]).label(name)


def outgoing() -> Select[Any]:
    """Select deliveries with their objects; `FOR UPDATE` is for ``deliveries`` only."""
    shared = ("sop_class_uid", "sop_instance_uid", "transfer_syntax_uid", "path", "size", "digest")
    return (
        select(
            deliveries,
            results.c.kind,
            results.c.variant,
            results.c.retracted_by,
            *(_either(name) for name in shared),
            studies.c.study_instance_uid,
        )
        .join(studies, studies.c.id == deliveries.c.study_id)
        .outerjoin(results, results.c.id == deliveries.c.result_id)
        .outerjoin(instances, instances.c.id == deliveries.c.instance_id)
    )


def delivery_of(row: Row[Any]) -> Delivery:
    """Read back one row of `outgoing`."""
    return Delivery(
        number=row.id,
        destination=row.destination,
        kind=kind_of(row),
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        variant=row.variant or "",
        study_number=row.study_id,
        study_instance_uid=row.study_instance_uid,
        path=row.path,
        size=row.size,
        digest=row.digest,
        attempts=row.attempts,
        since=row.since,
    )


def kind_of(row: Row[Any]) -> ObjectKind | None:
    """Say what kind of result it is; None: an instance as it was received."""
    return None if row.kind is None else ObjectKind(row.kind)
