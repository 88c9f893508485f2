"""`Workitems`: the durable state of the node, each method one transaction.

The story of one radiograph: `record_received` schedules its analysis before the C-STORE is answered.
`claim` hands it to a worker under a lease, `renew` keeps it, `complete_analysis` stores what was found and
schedules the study's report, once it has been quiet. `claim` hands out the report, `study_for_report` says
what to write, `complete_report` stores the objects and plans their deliveries. `due_deliveries` and
`record_delivery` bring each to its destination.

What goes wrong on the way ends in `release` (nobody's fault), `fail` (tried again, then quarantined) or
`expire_leases` (nobody spoke for it any more). `retry` is how a person sets quarantined work going again,
`release_held` and `decline_held` how one decides about images that name another patient than their study.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from mcads_node.instance import ReceivedInstance
from mcads_node.migrations import bring_up_to_date
from mcads_node.result import Rendition
from mcads_node.workitems import (
    completing,
    extent,
    failing,
    quarantined,
    queue,
    receiving,
    retracting,
    studies,
)
from mcads_node.workitems.again import again
from mcads_node.workitems.chronicle import Chronicle
from mcads_node.workitems.delivering import Delivering
from mcads_node.workitems.drifting import Drifting
from mcads_node.workitems.engine import Database
from mcads_node.workitems.holding import Holding
from mcads_node.workitems.keeping import Keeping
from mcads_node.workitems.later import Later
from mcads_node.workitems.listening import Listener
from mcads_node.workitems.overview import InstanceRecord, QuarantinedWork, Retried, StudyLine, StudyRecord
from mcads_node.workitems.records import (
    Handling,
    InstanceAnalysed,
    InstanceDeclined,
    KeptFile,
    Kind,
    Lease,
    LostLease,
    Receipt,
    StoredResult,
    StudyForReport,
    Workitem,
    WorkPolicy,
    WorkState,
)
from mcads_node.workitems.retracting import Retractable, Retraction
from mcads_node.workitems.ruling import Ruling
from mcads_node.workitems.schema import installation
from mcads_node.workitems.stewardship import Stewardship
from mcads_node.workitems.turned_away import Gatekeeping
from mcads_node.workitems.watching import Watching


def now_utc() -> datetime:
    """Read the clock of the machine."""
    return datetime.now(UTC)


def open_store(
    url_or_path: str | Path,
    *,
    clock: Callable[[], datetime] = now_utc,
    policy: WorkPolicy | None = None,
    busy_seconds: float = 15.0,
) -> Workitems:
    """Open the durable state, making or migrating its tables where needed.

    Parameters
    ----------
    url_or_path
        A SQLite file, made where it does not exist, or ``postgresql+psycopg://…``.
    clock
        Gives the present moment, timezone-aware.
    policy
        How often work is tried.
    busy_seconds
        How long to wait for another writer.

    Raises
    ------
    ConfigError
        Neither a file that can be written nor a URL of PostgreSQL; or a database that a newer version
        wrote.
    TransientError
        The database cannot be reached.
    """
    database = Database(url_or_path, busy_seconds)
    with database.write() as connection:
        bring_up_to_date(connection, database.name)
    return Workitems(database, clock, policy or WorkPolicy())


class Workitems(Gatekeeping, Delivering, Holding, Keeping, Later, Watching, Chronicle, Drifting, Ruling):
    """Studies, instances, workitems, results, deliveries and events. Safe to share between threads.

    Every method may raise `StorageFull` (the disk or the database cannot take more), `TransientError` (the
    database is busy or out of reach) and, where a constraint forbids it, `PermanentError`; then nothing was
    written.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], policy: WorkPolicy) -> None:
        super().__init__(database, clock)
        self._policy = policy

    def close(self) -> None:
        """Close the database; the last to close folds the write-ahead log in."""
        self._database.close()

    def listener(self, heard: Mapping[str, Callable[[str], None]]) -> Listener | None:
        """Give a thread that calls who is to hear of new work; None on SQLite, where nothing rings."""
        return None if self._database.is_sqlite else Listener(self._database, heard)

    def stewardship(self) -> Stewardship:
        """Give the right to do what only one of the processes may that share the database."""
        return Stewardship(self._database)

    def installation(self) -> str:
        """Say which installation of the node this is: the same for as long as its state lives."""
        with self._read() as tx:
            return str(tx.connection.execute(select(installation.c.uuid)).scalar_one())

    # receive

    @again
    def record_received(self, instance: ReceivedInstance, handling: Handling | None = None) -> Receipt:
        """Put an instance on record and schedule its analysis; on return it survives a loss of power.

        Parameters
        ----------
        instance
            Its bytes are safely in the spool.
        handling
            How urgent it is, when it may be analysed, and who gets the instance itself; None: as usual.

        Returns
        -------
        Receipt
            DUPLICATE: the same content is on record, the caller deletes its new file. CONFLICT: other
            content came before under its SOP Instance UID, this one is kept apart and declined;
            CONFLICT_AGAIN: for the second time, the caller deletes its new file. HELD: it names another
            patient than its study, and waits for a person.

        Raises
        ------
        InstanceUnreadable
            One of its UIDs is none.
        """
        with self._write() as tx:
            return receiving.record_received(tx, instance, handling or Handling())

    @again
    def record_unreadable(self, instance: ReceivedInstance, reason: str) -> Receipt:
        """Put bytes on record, declined, whose data set cannot be parsed; its UIDs need not be valid."""
        with self._write() as tx:
            return receiving.record_unreadable(tx, instance, reason)

    def kept_file(self, instance: ReceivedInstance, *, is_readable: bool) -> KeptFile | None:
        """Give the file on record of an instance that came before; None where it was let go.

        `is_readable` tells an instance of a study from bytes that could not be parsed.
        """
        with self._read() as tx:
            return receiving.kept_file(tx, instance, is_readable=is_readable)

    @again
    def replace_file(self, lost: KeptFile, instance: ReceivedInstance) -> bool:
        """Put an instance's file in the place of one that is lost, and have it analysed if it was not.

        False: the record has another file by now, or has let it go; the caller deletes its new file.
        """
        with self._write() as tx:
            return receiving.replace_file(tx, lost, instance)

    def known_instances(self, study_instance_uid: str) -> set[str]:
        """Give the SOP Instance UIDs that are on record under a Study Instance UID."""
        with self._read() as tx:
            return receiving.known_instances(tx, study_instance_uid)

    # dispatch

    @again
    def claim(
        self, worker: str, lease: timedelta, *, kind: Kind | None = None, limit: int = 1
    ) -> list[Workitem]:
        """Take work that is due, the most urgent first. A report is due once none of its images waits."""
        with self._write() as tx:
            return queue.claim(tx, worker, lease, kind, limit)

    @again
    def renew(self, items: Sequence[Workitem], lease: timedelta) -> list[Workitem]:
        """Prolong leases; an item that is missing from the answer was lost, and its work is void."""
        with self._write() as tx:
            return queue.renew(tx, items, lease)

    @again
    def complete_analysis(self, item: Workitem, outcome: InstanceAnalysed | InstanceDeclined) -> bool:
        """Store what an analysis found, or why it declined. False: the lease was lost, nothing is written."""
        with self._write() as tx:
            return completing.complete_analysis(tx, item, outcome)

    def study_for_report(self, item: Workitem) -> StudyForReport:
        """Say what a claimed report is to speak of."""
        with self._read() as tx:
            return extent.study_for_report(tx, item)

    @again
    def complete_report(
        self,
        item: Workitem,
        objects: Sequence[StoredResult],
        destinations: Mapping[str, Collection[Rendition]],
        omitted: Sequence[str] = (),
    ) -> bool:
        """Store a report and plan its deliveries, heatmaps included.

        Parameters
        ----------
        item
            The claimed report.
        objects
            Written to disk already; delivered in this order, after the heatmaps.
        destinations
            By name, the renditions that each is to get at first.
        omitted
            Why objects could not be made, a sentence each; told as events.

        Returns
        -------
        bool
            False: the lease was lost, nothing was written; the files of `objects` are not needed.
        """
        with self._write() as tx:
            return completing.complete_report(tx, item, objects, destinations, omitted)

    @again
    def release(self, item: Workitem, why: str) -> bool:
        """Give an item back; the attempt does not count. False: the lease was lost."""
        with self._write() as tx:
            return failing.release(tx, item, why)

    @again
    def fail(self, item: Workitem, error: str, *, permanent: bool) -> WorkState | None:
        """Count a failed attempt: SCHEDULED again, CANCELED (quarantined), or None: the lease was lost."""
        with self._write() as tx:
            return failing.fail(tx, item, error, self._policy, None if permanent else self._random)

    @again
    def expire_leases(self, *, held_by: str | None = None) -> list[LostLease]:
        """Take back items whose leases ran out by the clock; or those of a worker known to be dead."""
        with self._write() as tx:
            return failing.expire(tx, self._policy, failing.overdue(tx, held_by))

    def leases(self) -> list[Lease]:
        """Every lease there is; see `LeaseWatch`."""
        with self._read() as tx:
            return failing.leases(tx)

    @again
    def take_back(self, leases: Sequence[Lease]) -> list[LostLease]:
        """Take back the items of leases that nobody renews, but for those that were renewed meanwhile."""
        with self._write() as tx:
            return failing.expire(tx, self._policy, failing.among(leases))

    # read and retry

    def list_studies(self, limit: int = 50) -> list[StudyLine]:
        """Studies, the one that was last added to first."""
        with self._read() as tx:
            return studies.list_studies(tx, limit)

    def show_study(self, which: str | int) -> StudyRecord:
        """All that is known of one study, by UID or number; `PermanentError` where it is not on record."""
        with self._read() as tx:
            return studies.show_study(tx, which)

    def list_refused(self, limit: int = 50) -> list[InstanceRecord]:
        """Objects whose study is not known since they could not be read, the newest first."""
        with self._read() as tx:
            return studies.list_refused(tx, limit)

    def list_quarantined(self, limit: int = 50) -> list[QuarantinedWork]:
        """Work of all studies that was given up, the last first."""
        with self._read() as tx:
            return quarantined.list_quarantined(tx, limit)

    @again
    def retry(self, which: str | int, *, who: str = "administrator") -> Retried:
        """Have a study's quarantined work and refused deliveries tried again."""
        with self._write() as tx:
            return studies.retry(tx, which, who)

    def retractable(self, which: str | int) -> Retractable:
        """Say what of a study can be taken back; `PermanentError` where there is nothing."""
        with self._read() as tx:
            return retracting.retractable(tx, which)

    @again
    def retract(
        self, what: Retractable, note: StoredResult, reason: str, *, who: str = "administrator"
    ) -> Retraction | None:
        """Take back what a study's reports said, and have the note sent to whoever has any of it.

        Returns
        -------
        Retraction or None
            None: more was reported or sent since `retractable` was asked, and nothing is written; ask again.
        """
        with self._write() as tx:
            return retracting.retract(tx, what, note, reason, who)
