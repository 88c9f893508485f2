"""When a study is complete: its expected views are analysed, it was quiet, or it has waited long enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select

from mcads_node.instance import View
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.patients import is_of_its_patient
from mcads_node.workitems.records import InstanceAnalysed, Kind, Purpose, Workitem, WorkState
from mcads_node.workitems.schema import analyses, workitems

#: a view that can be expected, and the views that it may be
_MEANS = {"FRONTAL": (View.PA, View.AP)}


@dataclass(frozen=True, kw_only=True)
class Due:
    """When a study's report is due."""

    #: once nothing of the study waits for its analysis any more
    at: datetime
    #: whatever waits; None: there is no such moment
    latest_at: datetime | None


def due_of_report(tx: Transaction, item: Workitem, outcome: InstanceAnalysed) -> Due:
    """Say when the report is due that speaks of an image; its analysis is on record already."""
    assert item.instance is not None  # noqa: S101 - every analyse item has one (a CHECK in the schema)
    if item.purpose is not Purpose.FIRST:
        return Due(at=tx.now, latest_at=None)
    # not by what was received in the future: the clock stepped back since, and nobody is to wait for it
    quiet_since = min(item.instance.received_at, tx.now)
    return Due(at=quiet_since + outcome.quiet, latest_at=_latest(tx, item, outcome))


def has_views(expected: Iterable[Mapping[str, int]], seen: Iterable[View]) -> bool:
    """Whether all views that any image's route expects are among those seen; False: nothing is expected."""
    wanted: Counter[str] = Counter()
    for each in expected:
        wanted |= Counter(each)
    counts = Counter(seen)
    return bool(wanted) and all(
        sum(counts[view] for view in _MEANS.get(name) or (View(name),)) >= number
        for name, number in wanted.items()
    )


def _latest(tx: Transaction, item: Workitem, outcome: InstanceAnalysed) -> datetime | None:
    covered = _covered(tx, item.study_number)
    images = _images(tx, item.study_number)
    earlier = [image for image in images if image.number <= covered]
    # those that were all there for the report before are no reason to hurry this one
    if _complete(images) and not _complete(earlier):
        return tx.now
    if outcome.max_wait_seconds is None:
        return None
    # a revised report waits anew: each late image would make one of its own otherwise
    begun = tx.now if earlier else min(item.study_first_received_at, tx.now)
    return begun + timedelta(seconds=outcome.max_wait_seconds)


@dataclass(frozen=True, kw_only=True)
class _Image:
    number: int
    view: View
    expected: Mapping[str, int]


def _complete(images: Iterable[_Image]) -> bool:
    seen = list(images)
    return has_views((image.expected for image in seen), (image.view for image in seen))


def _images(tx: Transaction, study: int) -> list[_Image]:
    images: dict[int, _Image] = {}
    for row in tx.connection.execute(_IMAGES, {"study": study}):
        # one that was read again was there since it was read first
        images.setdefault(
            row.instance_id, _Image(number=row.id, view=View(row.view), expected=row.expected_views)
        )
    return list(images.values())


_IMAGES = (
    select(analyses.c.id, analyses.c.instance_id, analyses.c.view, analyses.c.expected_views)
    .where(analyses.c.study_id == bindparam("study"), analyses.c.shadow.is_(False), is_of_its_patient())
    .order_by(analyses.c.id)
)


def _covered(tx: Transaction, study: int) -> int:
    """Give the last analysis that a report speaks of, written or being written; 0: there is none."""
    last: int | None = tx.connection.execute(_COVERED, {"study": study}).scalar_one()
    return last or 0


_COVERED = select(func.max(workitems.c.covers)).where(
    workitems.c.study_id == bindparam("study"),
    workitems.c.kind == Kind.REPORT,
    workitems.c.state.in_((WorkState.IN_PROGRESS, WorkState.COMPLETED)),
)
