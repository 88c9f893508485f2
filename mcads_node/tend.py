"""Tend: what the node does by the clock, on APScheduler."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from mcads_node.errors import NodeError
from mcads_node.state import State

log = structlog.stdlib.get_logger(__name__)

#: a file that no row names after so long was left by a process that died between the file and the row
ORPHAN_AGE = timedelta(hours=24)


class Tender:
    """Runs the scheduled jobs.

    Parameters
    ----------
    state
        The durable state.
    poke_dispatch
        Called when work was scheduled again.
    lease_check_seconds
        How often leases are looked through.
    """

    def __init__(
        self, state: State, poke_dispatch: Callable[[], None], lease_check_seconds: float = 15.0
    ) -> None:
        self._state = state
        self._poke_dispatch = poke_dispatch
        # a job that could not run in time is run late, once, and without a word
        defaults = {"misfire_grace_time": None, "coalesce": True}
        self._scheduler = BackgroundScheduler(timezone=UTC, job_defaults=defaults)
        self._scheduler.add_job(self.expire_leases, "interval", seconds=lease_check_seconds)
        self._scheduler.add_job(self.remove_orphans, "interval", hours=6)

    def start(self) -> None:
        """Start the clock."""
        self._scheduler.start()

    def stop(self) -> None:
        """Let a running job finish, start none."""
        self._scheduler.shutdown(wait=True)

    def expire_leases(self) -> None:
        """Schedule again what a dead process held."""
        try:
            lost = self._state.workitems.expire_leases()
        except NodeError as error:
            log.error("tend.expire_leases", reason=str(error))
            return
        for lease in lost:
            log.warning(
                "work.lease_expired",
                workitem=lease.number,
                study=lease.study_instance_uid,
                state=lease.state,
                reason=lease.reason,
            )
        if lost:
            self._poke_dispatch()

    def remove_orphans(self) -> None:
        """Delete files that no row names."""
        older_than = datetime.now(UTC) - ORPHAN_AGE
        try:
            for folder, known in (
                (self._state.spool, self._state.workitems.spool_paths()),
                (self._state.results, self._state.workitems.result_paths()),
            ):
                for path in folder.orphans(known, older_than):
                    folder.delete(path)
                    log.info("tend.orphan_removed", path=path)
        except NodeError as error:
            log.error("tend.remove_orphans", reason=str(error))
