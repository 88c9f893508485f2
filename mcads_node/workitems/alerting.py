"""Which alerts were told by which way, so that a restart tells none of them twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.schema import alerts


@dataclass(frozen=True, kw_only=True)
class AlertEntry:
    """One alert on one way to an administrator."""

    #: such as ``email``
    channel: str
    #: what it is about; one that comes again has the same
    key: str
    kind: str
    text: str
    advice: str
    raised_at: datetime
    #: None: not told yet
    told_at: datetime | None = None
    #: None: it holds; else its end has not been told yet
    ended_at: datetime | None = None


def alert_entries(tx: Transaction) -> list[AlertEntry]:
    """Every alert that holds, or whose end was not told."""
    rows = tx.connection.execute(select(alerts).order_by(alerts.c.channel, alerts.c.key))
    return [AlertEntry(**row._mapping) for row in rows]


def save_alerts(tx: Transaction, changed: Sequence[AlertEntry], removed: Collection[tuple[str, str]]) -> None:
    """Write what changed; `removed` are pairs of channel and key."""
    for channel, key in {*removed, *((each.channel, each.key) for each in changed)}:
        tx.connection.execute(delete(alerts).where(alerts.c.channel == channel, alerts.c.key == key))
    if changed:
        tx.connection.execute(insert(alerts), [vars(each) for each in changed])
