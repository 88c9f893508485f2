"""Tend: what the node does by the clock, on APScheduler.

A job that fails says so and runs again at its next time; it stops no other. A job never overlaps itself: one
that is still running when it is due again is passed over, which is told once for as long as it runs. A stop
waits for running jobs, but not for ever: one that hangs, on a disk or a server, ends with the process.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from time import monotonic
from time import time as wall_clock

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job as APJob
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from mcads_node import metrics
from mcads_node.errors import NodeError

log = structlog.stdlib.get_logger(__name__)

#: how often the clock is looked at, and from when on it was set and not merely corrected
_CLOCK_SECONDS = 1.0
_STEP_SECONDS = 2.0
#: how long a stop waits for jobs that run
STOP_SECONDS = 8.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something done again and again: every so often, or once a day."""

    #: two or three words with hyphens; the log names the job by it
    name: str
    run: Callable[[], None]
    #: how long from one start to the next; None for a job of the day
    every: timedelta | None = None
    #: when it starts each day, on this machine's clock (its local time zone)
    at: time | None = None
    #: whether it runs when the node starts, and not one interval later
    soon: bool = False
    #: whether it is done once for all nodes that share a database, and not by each
    once: bool = False

    def __post_init__(self) -> None:
        if (self.every is None) == (self.at is None):
            raise ValueError(f"job {self.name}: expected either every or at")
        if self.every is not None and self.every <= timedelta(0):
            raise ValueError(f"job {self.name}: expected an interval of more than 0 s, got {self.every}")


class Tender:
    """Runs the scheduled jobs.

    Parameters
    ----------
    jobs
        Their names are unique.
    stopping
        Set when the node stops, before running jobs are waited for: a long one looks at it and ends early.
    wall
        The machine's clock, in seconds: it may be set back.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        stopping: threading.Event | None = None,
        wall: Callable[[], float] = wall_clock,
    ) -> None:
        self._stopping = stopping if stopping is not None else threading.Event()
        self._jobs = tuple(jobs)
        self._wall = wall
        self._watch = threading.Thread(target=self._watch_clock, name="tend-clock", daemon=True)
        # a job that could not run in time is run late, once, and without a word
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._threads = _Threads()
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults=defaults, executors={"default": self._threads}
        )
        self._scheduler.add_listener(_note_defect, EVENT_JOB_ERROR)
        #: jobs that are passed over now, and told so
        self._passed_over: set[str] = set()
        self._scheduler.add_listener(self._note_passed_over, EVENT_JOB_MAX_INSTANCES)
        self._scheduler.add_listener(self._note_end, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        # it would tell a defect once more, with the text of the error, which may quote a data set
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        for job in jobs:
            start = {"next_run_time": datetime.now(UTC)} if job.soon else {}
            self._scheduler.add_job(_run, _trigger(job), args=(job,), id=job.name, **start)

    def start(self) -> None:
        """Start the clock."""
        self._scheduler.start()
        self._watch.start()

    def stop(self, grace_seconds: float = STOP_SECONDS) -> bool:
        """Start no job, and let those that run finish; True where they did within the time given."""
        self._stopping.set()
        self._scheduler.shutdown(wait=False)
        left = self._threads.join(grace_seconds)
        for name in left:
            log.error("job.abandoned", job=name, seconds=grace_seconds)
        self._watch.join(grace_seconds)
        return not left

    def _note_passed_over(self, event: JobSubmissionEvent) -> None:
        if event.job_id not in self._passed_over:
            self._passed_over.add(event.job_id)
            log.warning("job.passed_over", job=event.job_id)

    def _note_end(self, event: JobExecutionEvent) -> None:
        self._passed_over.discard(event.job_id)

    def _watch_clock(self) -> None:
        """Reckon anew when the clock was set back: APScheduler would wait until it is as late as it was."""
        ahead = self._wall() - monotonic()
        while not self._stopping.wait(_CLOCK_SECONDS):
            before, ahead = ahead, self._wall() - monotonic()
            if ahead < before - _STEP_SECONDS:
                log.warning("clock.stepped_back", seconds=round(before - ahead))
                for job in self._jobs:
                    self._scheduler.reschedule_job(job.name, trigger=_trigger(job))


class _Threads(BaseExecutor):  # type: ignore[misc]
    """Runs each job in a daemon thread: Python waits at its end for those of a pool, however they hang."""

    def __init__(self) -> None:
        super().__init__()
        self._running: set[threading.Thread] = set()

    def _do_submit_job(self, job: APJob, run_times: list[datetime]) -> None:
        thread = threading.Thread(target=self._work, args=(job, run_times), name=f"job-{job.id}", daemon=True)
        self._running = {each for each in self._running if each.is_alive()} | {thread}
        thread.start()

    def _work(self, job: APJob, run_times: list[datetime]) -> None:
        self._run_job_success(job.id, run_job(job, job._jobstore_alias, run_times, self._logger.name))

    def join(self, seconds: float) -> list[str]:
        """Wait for the jobs that run; gives the names of those that still do."""
        end = monotonic() + seconds
        for thread in self._running:
            thread.join(max(0.0, end - monotonic()))
        return sorted(each.name.removeprefix("job-") for each in self._running if each.is_alive())


def _trigger(job: Job) -> IntervalTrigger | CronTrigger:
    if job.at is not None:
        return CronTrigger(hour=job.at.hour, minute=job.at.minute, second=job.at.second)
    every = job.every or timedelta(0)
    return IntervalTrigger(seconds=every.total_seconds(), timezone=UTC)


def _run(job: Job) -> None:
    begun, ok = monotonic(), False
    try:
        job.run()
        ok = True
    except NodeError as error:
        log.error("job.failed", job=job.name, reason=str(error))
    finally:
        metrics.job_ended(job.name, monotonic() - begun, ok=ok)


def _note_defect(event: JobExecutionEvent) -> None:
    # of an unforeseen error only type and place are told: its text may quote a data set
    error = event.exception
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{place[0].filename}:{place[0].lineno}" if place else ""
    log.critical("job.died", job=event.job_id, error=type(error).__name__, where=where)
