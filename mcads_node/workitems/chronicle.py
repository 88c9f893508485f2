"""The part of `Workitems` that reads the append-only record of events, and adds what concerns no study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from mcads_node.workitems.again import again
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.schema import events, instances, studies
from mcads_node.workitems.studies import find
from mcads_node.workitems.transactions import Transactions


@dataclass(frozen=True, kw_only=True)
class EventLine:
    """One row of the record."""

    #: the node's own number of it; later ones are higher
    number: int
    at: datetime
    who: str
    what: str
    #: such as ``workitem 7``
    subject: str
    #: None where it concerns no study
    study_instance_uid: str | None
    why: str | None


class Chronicle(Transactions):
    """Who did what, to what, when and why."""

    @again
    def note(self, who: str, what: str, subject: str, why: str | None = None) -> None:
        """Append an event of the node as a whole."""
        with self._write() as tx:
            record(tx, Happening(who=who, what=what, subject=subject, why=why))

    def list_events(
        self, which: str | int | None = None, since: datetime | None = None, limit: int = 100
    ) -> list[EventLine]:
        """Give events in the order they happened: the last so many, or the first since a moment.

        Parameters
        ----------
        which
            UID or number of a study; None: of all, and those that concern none.
        since
            Timezone-aware.
        limit
            At most so many.

        Raises
        ------
        PermanentError
            The study is not on record.
        """
        query = (
            select(events, studies.c.study_instance_uid)
            .outerjoin(studies, studies.c.id == events.c.study_id)
            .order_by(events.c.id.desc() if since is None else events.c.id)
            .limit(limit)
        )
        with self._read() as tx:
            if which is not None:
                query = query.where(events.c.study_id == find(tx, which))
            if since is not None:
                query = query.where(events.c.at >= since)
            found = [
                EventLine(
                    number=row.id,
                    at=row.at,
                    who=row.who,
                    what=row.what,
                    subject=row.subject,
                    study_instance_uid=row.study_instance_uid,
                    why=row.why,
                )
                for row in tx.connection.execute(query)
            ]
        return found if since is not None else found[::-1]

    def files_of(self, study_instance_uid: str) -> Sequence[str]:
        """Paths in the spool of a study's instances, the first first."""
        query = (
            select(instances.c.path)
            .join(studies, studies.c.id == instances.c.study_id)
            .where(studies.c.study_instance_uid == study_instance_uid)
            .order_by(instances.c.id)
        )
        with self._read() as tx:
            return tx.connection.execute(query).scalars().all()
