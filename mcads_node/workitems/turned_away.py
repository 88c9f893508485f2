"""The part of `Workitems` that keeps who was turned away, in the append-only record of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from mcads_node.workitems.again import again
from mcads_node.workitems.events import clean
from mcads_node.workitems.schema import events
from mcads_node.workitems.transactions import Transactions

#: what such an event is called
TURNED_AWAY = "turned away"


@dataclass(frozen=True, kw_only=True)
class TurnedAway:
    """A peer that was refused an association, or a SOP class within one."""

    #: calling AE title, as far as it gave one
    who: str
    #: where it called from, and as what it called us
    subject: str
    reason: str
    #: how often within a minute
    times: int


@dataclass(frozen=True, kw_only=True)
class TurnedAwayRecord:
    """The same, read back."""

    at: datetime
    peer: TurnedAway


class Gatekeeping(Transactions):
    """Who was turned away, when and why."""

    @again
    def record_turned_away(self, peers: Sequence[TurnedAway]) -> None:
        """Append an event for each."""
        with self._write() as tx:
            rows = [
                {
                    "at": tx.now,
                    "who": _printable(each.who) or "unknown",
                    "what": TURNED_AWAY,
                    "subject": _printable(each.subject),
                    "why": clean(each.reason),
                    "times": each.times,
                }
                for each in peers
            ]
            tx.connection.execute(insert(events), rows)

    def list_turned_away(self, limit: int = 50) -> list[TurnedAwayRecord]:
        """Give the last so many, the newest first."""
        query = select(events).where(events.c.what == TURNED_AWAY).order_by(events.c.id.desc()).limit(limit)
        with self._read() as tx:
            return [
                TurnedAwayRecord(
                    at=row.at,
                    peer=TurnedAway(who=row.who, subject=row.subject, reason=row.why or "", times=row.times),
                )
                for row in tx.connection.execute(query)
            ]


def _printable(text: str) -> str:
    """Make what a stranger wrote fit for an administrator's terminal."""
    return "".join(each if each.isprintable() else "?" for each in clean(text))[:255]
