"""When the node's own backups were made, for whoever watches it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mcads_node.backup import last_backup
from mcads_node.tend import Job

_LOOK_EVERY = timedelta(minutes=10)


class BackupWatch:
    """Looks at the folder of backups, in a job of its own: a disk that hangs holds up nothing else.

    Parameters
    ----------
    directory
        ``backup.directory``; None: no backups are made.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        #: the last whole backup; where none is known, when it was first asked for. None: none are made
        self.since: datetime | None = None if directory is None else datetime.now(UTC)

    def look(self) -> None:
        """Look for the last backup that is whole."""
        if self._directory is not None:
            self.since = last_backup(self._directory, datetime.now(UTC)) or self.since

    def jobs(self) -> list[Job]:
        """Give the job that looks, if there is something to look at."""
        if self._directory is None:
            return []
        return [Job(name="look-at-backups", run=self.look, every=_LOOK_EVERY, soon=True)]
