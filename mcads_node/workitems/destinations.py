"""What is known of the destinations themselves: which cannot be reached, and which process has which.

A destination that cannot be reached is deferred as a whole: one row says until when, and what waits for it is
left untouched, however much that is. One process at a time sends to a destination.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from mcads_node.backoff import RetryPolicy
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, clean, record
from mcads_node.workitems.outcomes import DestinationTrouble
from mcads_node.workitems.schema import destination_holders, destinations

#: how far the clocks of machines that share a database may be apart
SKEW = timedelta(minutes=1)
#: nothing is put off for longer: what seems to be was put off before the clock stepped back
LONGEST_WAIT = RetryPolicy().cap + SKEW


def defer(tx: Transaction, name: str, until: datetime, reason: str) -> DestinationTrouble:
    """Leave a destination alone until then; what waits for it keeps its attempts."""
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(destinations).values(
        name=name, failures=1, failing_since=tx.now, deferred_until=until, reason=clean(reason)
    )
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "failures": destinations.c.failures + 1,
            "deferred_until": statement.excluded.deferred_until,
            "reason": statement.excluded.reason,
        },
    )
    row = tx.connection.execute(statement.returning(destinations)).one()
    record(tx, Happening(who=name, what="deferred", subject=f"destination {name}", why=reason))
    return _trouble(row)


def note_answer(tx: Transaction, name: str) -> None:
    """Take it that whatever kept a destination from being reached is over: it has answered."""
    tx.connection.execute(_FORGET, {"destination": name})


_FORGET = delete(destinations).where(destinations.c.name == bindparam("destination"))


def hold(tx: Transaction, name: str, holder: str, until: datetime) -> bool:
    """Have a destination for oneself until then, or longer; False where another process has it.

    All hold it for equally long: who has it for longer from now took it before the clock stepped back.
    """
    held_until = destination_holders.c.held_until
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(destination_holders).values(name=name, holder=holder, held_until=until)
    taken = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": statement.excluded.holder, "held_until": statement.excluded.held_until},
        where=or_(destination_holders.c.holder == holder, held_until <= tx.now, held_until > until + SKEW),
    )
    # what it returns, since the drivers disagree on the number of rows of such a statement
    return tx.connection.execute(taken.returning(destination_holders.c.name)).first() is not None


def let_go(tx: Transaction, name: str, holder: str) -> None:
    """Let another process have a destination."""
    ours = (destination_holders.c.name == name) & (destination_holders.c.holder == holder)
    tx.connection.execute(delete(destination_holders).where(ours))


def trouble_of(tx: Transaction, name: str) -> DestinationTrouble | None:
    """Why and since when a destination cannot be reached; None where nothing is known against it."""
    row = tx.connection.execute(_TROUBLE, {"destination": name}).first()
    return None if row is None else _trouble(row)


_TROUBLE = select(destinations).where(destinations.c.name == bindparam("destination"))


def is_left_alone(tx: Transaction, name: str) -> bool:
    """Whether a destination is deferred; not by what was decided before the clock stepped back."""
    trouble = trouble_of(tx, name)
    return trouble is not None and tx.now < trouble.deferred_until <= tx.now + LONGEST_WAIT


def _trouble(row: Row[Any]) -> DestinationTrouble:
    return DestinationTrouble(
        name=row.name,
        failures=row.failures,
        failing_since=row.failing_since,
        deferred_until=row.deferred_until,
        reason=row.reason,
    )
