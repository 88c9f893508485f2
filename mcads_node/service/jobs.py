"""The jobs of the clock, composed from the configuration and the durable state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from mcads_node import metrics
from mcads_node.backup import make_backup
from mcads_node.config import BackupSection, NodeConfig, RetentionSection
from mcads_node.disk import DiskGuard
from mcads_node.retention import RetentionPolicy, retention_job
from mcads_node.service.peers import PeerWatch
from mcads_node.state import State
from mcads_node.tend import Job
from mcads_node.workitems import LeaseWatch, Stewardship

log = structlog.stdlib.get_logger(__name__)

#: a file that no row names after so long was left by a process that died between the file and the row
ORPHAN_AGE = timedelta(hours=24)

_DISK_EVERY = timedelta(seconds=30)
_HOURS_EVERY = timedelta(minutes=1)
_ORPHANS_EVERY = timedelta(hours=6)
_RETENTION_EVERY = timedelta(hours=1)


def once_for_all(jobs: Iterable[Job], stewardship: Stewardship) -> list[Job]:
    """Have what is done once for all nodes that share a database done by the one that has the stewardship."""

    def alone(run: Callable[[], None]) -> Callable[[], None]:
        def run_if_ours() -> None:
            if stewardship.have():
                run()

        return run_if_ours

    return [replace(job, run=alone(job.run)) if job.once else job for job in jobs]


def jobs_of(state: State, lease: timedelta, poke_dispatch: Callable[[], None]) -> list[Job]:
    """Put together what is done by the clock.

    Parameters
    ----------
    state
        The durable state.
    lease
        How long a lease of work is.
    poke_dispatch
        Called when work was scheduled again.
    """
    watch = LeaseWatch(state.workitems, lease)
    return [
        Job(name="expire-leases", run=lambda: expire_leases(watch, poke_dispatch), every=watch.every),
        Job(
            name="keep-hours",
            run=lambda: keep_hours(state, poke_dispatch),
            every=_HOURS_EVERY,
            soon=True,
            once=True,
        ),
        Job(name="remove-orphans", run=lambda: remove_orphans(state), every=_ORPHANS_EVERY, once=True),
    ]


def upkeep_jobs(config: NodeConfig, state: State, peers: PeerWatch, stopping: threading.Event) -> list[Job]:
    """Put together retention, the backup of the day, and the look at the peers, as far as they are wanted.

    Parameters
    ----------
    config
        What the administrator wants.
    state
        The durable state.
    peers
        Asks the destinations.
    stopping
        Set when the node stops: long jobs end early.
    """
    retain = retention_job(state, retention_policy(config.retention), stopping)
    jobs = [Job(name="delete-old-files", run=retain, every=_RETENTION_EVERY, once=True)]
    if config.backup.directory is not None:
        backup = _backup_of(config.backup, config.backup.directory, state, stopping)
        jobs.append(Job(name="backup", run=backup, at=config.backup.at, once=True))
    if config.tending.echo_minutes is not None:
        every = timedelta(minutes=config.tending.echo_minutes)
        jobs.append(Job(name="echo-destinations", run=peers.look, every=every, soon=True))
    return jobs


def retention_policy(section: RetentionSection) -> RetentionPolicy:
    """Read the days of the configuration."""
    images, results, declined = (
        None if days is None else timedelta(days=days)
        for days in (section.images_days, section.results_days, section.declined_days)
    )
    return RetentionPolicy(images=images, results=results, declined=declined)


def _backup_of(
    section: BackupSection, directory: Path, state: State, stopping: threading.Event
) -> Callable[[], None]:
    def run() -> None:
        made = make_backup(state, directory, keep=section.keep, stopping=stopping)
        log.info(
            "backup.made",
            backup=made.folder.name,
            files=made.files,
            copied=made.copied,
            size=made.size,
            missing=len(made.missing),
        )

    return run


def disk_job(disk: DiskGuard) -> Job:
    """Look at the disk also while nobody sends: the log is to tell when it fills, and when there is room."""
    return Job(name="watch-disk", run=lambda: _look_at(disk), every=_DISK_EVERY)


def _look_at(disk: DiskGuard) -> None:
    disk.room()


def expire_leases(watch: LeaseWatch, poke_dispatch: Callable[[], None]) -> None:
    """Schedule again what a dead process held."""
    lost = watch.look()
    for lease in lost:
        log.warning(
            "work.lease_expired",
            workitem=lease.number,
            study=lease.study_instance_uid,
            state=lease.state,
            reason=lease.reason,
        )
        metrics.lease_expired()
    if lost:
        poke_dispatch()


def keep_hours(state: State, poke_dispatch: Callable[[], None]) -> None:
    """Hold work whose hours have ended, and let go what may be done now."""
    if let_go := state.workitems.keep_hours():
        log.info("work.hours_begun", count=let_go)
        poke_dispatch()


def remove_orphans(state: State) -> None:
    """Delete files that no row names."""
    older_than = datetime.now(UTC) - ORPHAN_AGE
    for folder, known in (
        (state.spool, state.workitems.spool_paths()),
        (state.results, state.workitems.result_paths()),
    ):
        for path in folder.orphans(known, older_than):
            folder.delete(path)
            log.info("tend.orphan_removed", path=path)
