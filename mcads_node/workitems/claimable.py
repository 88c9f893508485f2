"""What may be claimed, and in which order: a statement that is made once, with the moments bound later."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
)

from mcads_node.backoff import RetryPolicy
from mcads_node.workitems.records import Kind, Purpose, WorkState
from mcads_node.workitems.schema import UtcDateTime, workitems

#: how far the clocks of machines that share a database may be apart
_SKEW = timedelta(minutes=1)
#: no image waits longer for its next attempt, and no report for its study to be quiet
_LONGEST_WAIT = {Kind.ANALYSE: RetryPolicy().cap, Kind.REPORT: timedelta(days=1)}

#: states in which an item still has to be done
OPEN = (WorkState.SCHEDULED, WorkState.IN_PROGRESS)

#: of claims
ORDER = (workitems.c.turn_at, workitems.c.id)


def _moment(name: str) -> BindParameter[datetime]:
    """Stand for one of `moments`."""
    return bindparam(name, type_=UtcDateTime)


def moments(now: datetime) -> dict[str, datetime]:
    """Give the moments that a claim compares with."""
    longest = {f"longest_{kind}": now + wait + _SKEW for kind, wait in _LONGEST_WAIT.items()}
    return {"now": now, "soon": now + _SKEW, **longest}


def claimable(kind: Kind | None) -> Select[int]:
    """Select what is due at the moments that are bound (`moments`), in the order of claims."""
    now = _moment("now")
    query = (
        select(workitems.c.id)
        .where(
            # spelled out, not bound: only so does SQLite see that the partial index answers it
            literal_column("workitems.state") == literal_column("'SCHEDULED'"),
            workitems.c.held_until.is_(None),
            or_(
                workitems.c.due_at <= now,
                workitems.c.latest_at <= now,
                # a new image is due at once, even where the clock stepped back after it came
                and_(workitems.c.kind == Kind.ANALYSE, workitems.c.attempts == 0),
                *_out_of_time(),
            ),
            or_(workitems.c.kind == Kind.ANALYSE, _may_be_reported()),
        )
        .order_by(*ORDER)
        .with_for_update(skip_locked=True)
    )
    return query if kind is None else query.where(workitems.c.kind == kind)


def _out_of_time() -> Iterable[ColumnElement[bool]]:
    """Tell work by which it can be seen that the clock stepped back since it was scheduled.

    It would otherwise wait for as long as the step was. What is not seen by this waits at most as much
    longer as it has waited already, or for the longest pause there is.
    """
    yield workitems.c.created_at > _moment("soon")
    for kind in _LONGEST_WAIT:
        yield and_(workitems.c.kind == kind, workitems.c.due_at > _moment(f"longest_{kind}"))


def _may_be_reported() -> ColumnElement[bool]:
    """No earlier report of the study is being written, and its images are analysed or waited long enough.

    What is held until its hours is told by a later report, and so is what is only read again, where this one
    is more urgent; a shadow is never told.
    """
    other = workitems.alias("other")
    analyse = and_(
        other.c.kind == Kind.ANALYSE,
        other.c.state.in_(OPEN),
        other.c.held_until.is_(None),
        or_(
            other.c.purpose == Purpose.FIRST,
            and_(other.c.purpose == Purpose.AGAIN, other.c.priority >= workitems.c.priority),
        ),
        _waits(),
    )
    report = and_(other.c.kind == Kind.REPORT, other.c.state == WorkState.IN_PROGRESS)
    return ~exists().where(other.c.study_id == workitems.c.study_id, or_(analyse, report))


def _waits() -> ColumnElement[bool]:
    return or_(workitems.c.latest_at.is_(None), workitems.c.latest_at > _moment("now"))
