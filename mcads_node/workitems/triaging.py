"""How urgent studies are: of all images that a report would speak of now, the triage that decides."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from mcads_node.triage_level import Triage, decisive
from mcads_node.workitems.codec import triage_from_json
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.patients import is_of_its_patient
from mcads_node.workitems.schema import analyses


def triage_of(tx: Transaction, studies: Sequence[int]) -> dict[int, Triage]:
    """Give the triage of studies by their numbers; absent: none of its images was held against any rules."""
    last = (
        select(func.max(analyses.c.id))
        .where(analyses.c.study_id.in_(studies), analyses.c.shadow.is_(False), is_of_its_patient())
        .group_by(analyses.c.instance_id)
    )
    found: dict[int, list[Triage | None]] = {}
    query = select(analyses.c.study_id, analyses.c.triage).where(analyses.c.id.in_(last))
    for row in tx.connection.execute(query.order_by(analyses.c.id)):
        told = None if row.triage is None else triage_from_json(row.triage)
        found.setdefault(row.study_id, []).append(told)
    chosen = ((study, decisive(triages)) for study, triages in found.items())
    return {study: each[1] for study, each in chosen if each is not None}
