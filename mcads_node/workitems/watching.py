"""The part of `Workitems` that metrics, alerts and health checks ask, each method one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import text

from mcads_node.workitems import alerting
from mcads_node.workitems.alerting import AlertEntry
from mcads_node.workitems.backlog import Backlog, Stuck, backlog, stuck
from mcads_node.workitems.transactions import Transactions


class Watching(Transactions):
    """What waits, what is stuck, and of what an administrator was told."""

    def backlog(self) -> Backlog:
        """Count what waits; cheap, however much that is."""
        with self._read() as tx:
            return backlog(tx)

    def stuck(self, limit: int = 200) -> Stuck:
        """List what a person has to look at, of each sort the oldest."""
        with self._read() as tx:
            return stuck(tx, limit)

    def database_bytes(self) -> int:
        """Size of the database as a whole."""
        with self._read() as tx:
            sqlite = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            server = "SELECT pg_database_size(current_database())"
            is_sqlite = tx.connection.dialect.name == "sqlite"
            return int(tx.connection.execute(text(sqlite if is_sqlite else server)).scalar_one())

    def check_writable(self) -> None:
        """Take the database's lock for writing, and change nothing; raises where that cannot be done."""
        with self._write() as tx:
            # a server that is read-only refuses any UPDATE
            tx.connection.execute(text("UPDATE destinations SET failures = failures WHERE 1 = 0"))

    def alert_entries(self) -> list[AlertEntry]:
        """Every alert that holds, or whose end was not told."""
        with self._read() as tx:
            return alerting.alert_entries(tx)

    def save_alerts(self, changed: Sequence[AlertEntry], removed: Collection[tuple[str, str]] = ()) -> None:
        """Write what changed; `removed` are pairs of channel and key."""
        with self._write() as tx:
            alerting.save_alerts(tx, changed, removed)
