"""Work that waits for its hours: held until they begin, and again when they have ended.

A claim does not look at hours. Here, once a minute, what is held is let go where a window of its schedule
is open, and what was not begun while it was open is held until the next. There are few schedules, so each is
reckoned once, however much waits for it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import literal_column, or_, select, update

from mcads_node.priority import Priority, turn
from mcads_node.schedule import Schedule
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.planning import held
from mcads_node.workitems.records import WorkState
from mcads_node.workitems.schema import workitems

# spelled out, so that the planner sees that the partial index holds these rows
_SCHEDULED = literal_column("workitems.state") == literal_column(f"'{WorkState.SCHEDULED}'")


def keep_hours(tx: Transaction) -> int:
    """Hold what may not be done now, and let go what may; gives how much was let go."""
    waiting = _SCHEDULED & workitems.c.schedule.is_not(None)
    schedules = tx.connection.execute(select(workitems.c.schedule).where(waiting).distinct()).scalars().all()
    let_go = 0
    for text in schedules:
        until = held(Schedule.from_text(text), tx.now)
        if until is None:
            let_go += _let_go(tx, text)
        else:
            _hold(tx, text, until)
    return let_go


def _let_go(tx: Transaction, schedule: str) -> int:
    waiting = _SCHEDULED & (workitems.c.schedule == schedule) & workitems.c.held_until.is_not(None)
    return tx.connection.execute(update(workitems).where(waiting).values(held_until=None)).rowcount


def _hold(tx: Transaction, schedule: str, until: datetime) -> None:
    otherwise = or_(workitems.c.held_until.is_(None), workitems.c.held_until != until)
    waiting = _SCHEDULED & (workitems.c.schedule == schedule) & otherwise
    for priority in Priority:
        tx.connection.execute(
            update(workitems)
            .where(waiting, workitems.c.priority == priority)
            .values(held_until=until, due_at=until, turn_at=turn(until, priority))
        )
