"""One process at a time does what is to be done once for all that share a database.

On PostgreSQL it is who has a lock that lives as long as its connection: if the process dies, or its machine,
the server gives the lock back, and whoever asks next has it. SQLite's processes are on one machine, where a
lock file sees to it that the role ``tend`` runs once.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import Any

import structlog
from sqlalchemy import text

from mcads_node.errors import NodeError
from mcads_node.workitems.engine import Database, translated

log = structlog.stdlib.get_logger(__name__)

#: any number, as long as it is always the same, and no other lock's
_ADVISORY_LOCK = 0x4D434145


class Stewardship:
    """Whether this process is the one. Safe to share between threads.

    Parameters
    ----------
    database
        That is shared.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._held = ExitStack()
        self._connection: Any = None
        #: what was found when it was last asked
        self.is_ours = database.is_sqlite

    def have(self) -> bool:
        """Take or keep it, if no other process has it.

        Raises
        ------
        TransientError
            The server cannot be asked.
        """
        if self._database.is_sqlite:
            return True
        with self._lock:
            had, self.is_ours = self.is_ours, False
            self.is_ours = self._still() or self._take()
            if self.is_ours and not had:
                log.info("stewardship.taken")
            if had and not self.is_ours:
                log.info("stewardship.lost")
            return self.is_ours

    def let_go(self) -> None:
        """Let another process have it."""
        with self._lock:
            self._drop()

    def _still(self) -> bool:
        if self._connection is None:
            return False
        try:
            with translated():
                self._connection.execute(text("SELECT 1"))
        except NodeError:
            # the server has given the lock back, or will
            self._drop()
            return False
        return True

    def _take(self) -> bool:
        with ExitStack() as undo:
            connection = undo.enter_context(self._database.session())
            with translated():
                query = text("SELECT pg_try_advisory_lock(:key)")
                taken = bool(connection.execute(query, {"key": _ADVISORY_LOCK}).scalar_one())
            if taken:
                self._connection, self._held = connection, undo.pop_all()
        return taken

    def _drop(self) -> None:
        held, self._held, self._connection, self.is_ours = self._held, ExitStack(), None, False
        # one that broke cannot be closed in good order
        with suppress(NodeError):
            held.close()
