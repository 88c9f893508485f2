"""`AuditTrail`: takes events from any thread, and brings them to the repository in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from mcads_node import metrics
from mcads_node.audit.message import (
    PATIENT_UNKNOWN,
    PATIENT_WITHHELD,
    Identity,
    Peer,
    Transfer,
    application_activity,
    instances_transferred,
    security_alert,
)
from mcads_node.audit.sender import Repository, Sender
from mcads_node.audit.syslog import NOTICE, WARNING, syslog_message
from mcads_node.errors import NodeError, PeerUnreachable

log = structlog.stdlib.get_logger(__name__)

#: how often at most a loss is told in the log
_LOSS_SECONDS = 60.0
#: of all that is being added up, alerts take no more: who turns up under ever new names hides no transfer
_MOST_ALERTS = 1000


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How events are added up, kept, and tried again."""

    #: messages that wait for the repository, and events that are being added up; what is more is lost
    capacity: int = 10_000
    #: a sum is told when nothing was added for so long
    quiet_seconds: float = 5.0
    #: … and at the latest so long after its first event
    longest_seconds: float = 60.0
    #: pause after the first failure; it doubles
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class _Alert:
    """What security alerts have in common that are told as one."""

    peer: Peer
    what: str


@dataclass
class _Sum:
    """Events that are told in one message."""

    #: on the monotonic clock
    begun: float
    added: float
    #: of the last one, UTC
    at: datetime
    #: by SOP Class UID; an alert has one entry
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class _Due:
    """A message that waits for the repository."""

    at: datetime
    severity: int
    #: makes the XML; run in the trail's thread, since it may ask for the patient
    compose: Callable[[], bytes]


class AuditTrail:
    """Reports to an audit repository; without one, to nobody. Its methods never wait and never fail.

    Parameters
    ----------
    identity
        Who reports.
    repository
        Where the messages go; None: nowhere.
    patient_of
        Gives the Patient ID of a study, by its UID; None: patients are not told. Called in the trail's
        thread; may raise NodeError.
    pace
        How events are added up, kept, and tried again.
    """

    def __init__(
        self,
        identity: Identity,
        repository: Repository | None,
        patient_of: Callable[[str], str | None] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._identity = identity
        self._repository = repository
        self._patient_of = patient_of
        self._pace = pace or Pace()
        self._sender = Sender(repository) if repository else None
        self._changed = threading.Condition()
        self._queue: deque[_Due] = deque()
        self._sums: dict[Transfer | _Alert, _Sum] = {}
        #: how many of these are alerts
        self._alerts = 0
        self._stopping = threading.Event()
        self._lost = 0
        self._loss_told_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    @property
    def lost(self) -> int:
        """Events and messages that nobody will be told of."""
        return self._lost

    def start(self) -> None:
        """Send from now on."""
        if self._sender is not None:
            self._thread.start()

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Send what waits, as far as the repository takes it within that time; count the rest as lost."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(grace_seconds)
        with self._changed:
            # a thread that is still there has one in hand, and will not be waited for
            self._count_lost(len(self._queue) + len(self._sums) + self._thread.is_alive())
            self._queue.clear()
            self._sums.clear()
        if self._lost:
            log.error("audit.lost", messages=self._lost)

    def application_started(self) -> None:
        """Tell that the node is up."""
        self._activity(started=True)

    def application_stopped(self) -> None:
        """Tell that the node ends."""
        self._activity(started=False)

    def instances_transferred(self, transfer: Transfer, sop_class_uid: str, count: int = 1) -> None:
        """Tell that instances came or went; those of one study and peer are told together."""
        self._add(transfer, sop_class_uid, count)

    def security_alert(self, peer: Peer, what: str) -> None:
        """Tell that a peer was turned away, and why, without PHI; the same again is told as a number."""
        self._add(_Alert(peer=peer, what=what), "", 1)

    def _activity(self, *, started: bool) -> None:
        at = datetime.now(UTC)
        due = _Due(
            at=at,
            severity=NOTICE,
            compose=lambda: application_activity(self._identity, at, started=started),
        )
        with self._changed:
            # what happened before it is told before it
            self._tell_sums(all_of_them=True)
            self._put(due)
            self._changed.notify()

    def _add(self, key: Transfer | _Alert, sop_class_uid: str, count: int) -> None:
        if self._sender is None:
            return
        now = time.monotonic()
        with self._changed:
            found = self._sums.get(key)
            if found is None and self._is_full_for(key):
                self._lose(count)
                return
            if found is None:
                found = self._sums[key] = _Sum(begun=now, added=now, at=datetime.now(UTC))
                self._alerts += isinstance(key, _Alert)
                self._changed.notify()
            found.added, found.at = now, datetime.now(UTC)
            found.counts[sop_class_uid] += count

    def _is_full_for(self, key: Transfer | _Alert) -> bool:
        if isinstance(key, _Alert) and self._alerts >= _MOST_ALERTS:
            return True
        return len(self._sums) >= self._pace.capacity

    # the rest of the methods are called with the condition held, or in the trail's thread

    def _put(self, due: _Due) -> None:
        if self._sender is None:
            return
        if len(self._queue) >= self._pace.capacity:
            self._lose(1)
        else:
            self._queue.append(due)

    def _count_lost(self, count: int) -> None:
        self._lost += count
        metrics.audit_lost(count)

    def _lose(self, count: int) -> None:
        self._count_lost(count)
        now = time.monotonic()
        if now - self._loss_told_at >= _LOSS_SECONDS:
            self._loss_told_at = now
            log.error("audit.lost", messages=self._lost)

    def _run(self) -> None:
        while (due := self._next()) is not None:
            self._deliver(due)
        if self._sender is not None:
            self._sender.close()

    def _next(self) -> _Due | None:
        """Wait for the next message; None: the trail ends."""
        with self._changed:
            while True:
                self._tell_sums(all_of_them=self._stopping.is_set())
                if self._queue:
                    return self._queue.popleft()
                if self._stopping.is_set():
                    return None
                # a sum that is begun wakes this thread, one that has become quiet does not
                self._changed.wait(self._pace.quiet_seconds / 4 if self._sums else None)

    def _tell_sums(self, *, all_of_them: bool) -> None:
        now = time.monotonic()
        for key, found in list(self._sums.items()):
            quiet = now - found.added >= self._pace.quiet_seconds
            if all_of_them or quiet or now - found.begun >= self._pace.longest_seconds:
                del self._sums[key]
                self._alerts -= isinstance(key, _Alert)
                self._put(self._due(key, found))

    def _due(self, key: Transfer | _Alert, found: _Sum) -> _Due:
        if isinstance(key, _Alert):
            times = found.counts.total()
            what = key.what if times == 1 else f"{key.what}; {times} times"
            return _Due(
                at=found.at,
                severity=WARNING,
                compose=lambda: security_alert(self._identity, found.at, key.peer, what),
            )
        return _Due(
            at=found.at,
            severity=NOTICE if key.failure is None else WARNING,
            compose=lambda: instances_transferred(
                self._identity, found.at, key, found.counts, self._patient(key.study_instance_uid)
            ),
        )

    def _patient(self, study_instance_uid: str) -> str:
        if self._patient_of is None:
            return PATIENT_WITHHELD
        try:
            return self._patient_of(study_instance_uid) or PATIENT_UNKNOWN
        except NodeError:
            # the disk or the database, which others tell of
            return PATIENT_UNKNOWN

    def _deliver(self, due: _Due) -> None:
        """Send one message, however long that takes; give it up only where the node ends."""
        message = syslog_message(
            due.compose(),
            severity=due.severity,
            at=due.at,
            host=self._identity.host,
            process=self._identity.process,
        )
        pause, failed = self._pace.first_pause_seconds, False
        while self._sender is not None:
            try:
                self._sender.send(message)
            except PeerUnreachable as error:
                if not failed:
                    log.warning("audit.unreachable", reason=str(error))
                failed = True
                if self._stopping.is_set():
                    self._give_up()
                    return
                self._stopping.wait(pause)
                pause = min(2 * pause, self._pace.longest_pause_seconds)
            else:
                if failed:
                    log.info("audit.reachable", repository=str(self._repository))
                return

    def _give_up(self) -> None:
        """Count the message in hand and all that wait as lost."""
        with self._changed:
            self._count_lost(1 + len(self._queue) + len(self._sums))
            self._queue.clear()
            self._sums.clear()
