"""The deliverer: brings results to their destinations, however long that takes.

Every destination has a thread of its own, so that a dead one never delays another. A thread asks what is
due, opens one association, sends object after object, and records what the peer answered to each before it
sends the next. Nothing is "sent" before its status came back.

* The peer stored it, perhaps with a warning: Stored.
* The peer will never take it: Refused, with the status and its Error Comment; a person may have it tried
  again. Where it does not even accept the SOP class, and the destination's profile has another one for the
  same report, that object is planned in the same transaction. Nothing is ever encoded anew.
* This object failed and may succeed later: Deferred, with backoff, a number of times.
* The peer is away, silent, or full: that is no fault of the object. The destination as a whole is left alone
  for a while that grows, and what waits for it keeps its attempts.

All of it is in the database: a node that is killed at any point goes on from there. At worst it sends an
object again whose status it had no time to record; the peer gets the same bytes under the same UID.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from mcads_node.backoff import ErrorKind, Failure, GiveUp, RetryPolicy, next_attempt
from mcads_node.deliver.send import Answer, Caller, DestinationAddress, Outgoing, send
from mcads_node.errors import NodeError, PeerUnreachable
from mcads_node.profile import Profile
from mcads_node.spool import Spool
from mcads_node.workitems import Deferred, Delivery, DestinationTrouble, Outcome, Refused, Stored

log = structlog.stdlib.get_logger(__name__)

#: objects asked for at a time, and sent over one association; few kinds of object, so few contexts
_BATCH = 50


class DeliveryQueue(Protocol):
    """What a deliverer needs of the durable state; see `Workitems`."""

    def due_deliveries(self, destination: str, limit: int) -> list[Delivery]:
        """Give what is due, oldest first."""

    def record_delivery(self, delivery: Delivery, outcome: Outcome, alternatives: Sequence[str] = ()) -> bool:
        """Commit how an attempt ended, and plan the first of the alternatives where it was refused."""

    def defer_destination(self, name: str, until: datetime, reason: str) -> DestinationTrouble:
        """Leave a destination alone until then."""

    def destination_trouble(self, name: str) -> DestinationTrouble | None:
        """Why it was left alone, if it was."""

    def next_due(self, destination: str) -> datetime | None:
        """When to look again."""


@dataclass(frozen=True, kw_only=True)
class DeliverySettings:
    """Where results go, who sends them, and how patiently."""

    #: by the name that routes and deliveries use
    destinations: Mapping[str, DestinationAddress]
    caller: Caller
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    #: what each destination wants, by its name: what to send instead of an object whose SOP class it rejects
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    #: seconds after which a thread looks by itself: other processes plan deliveries too
    poll_seconds: float = 5.0


def outcome_of(
    answer: Answer, delivery: Delivery, policy: RetryPolicy, now: datetime, random: Callable[[], float]
) -> Outcome:
    """Decide what an answer means for a delivery."""
    if answer.failure is None:
        return Stored(status=answer.status or 0x0000, reason=answer.reason)
    reason = answer.reason or "failed"
    if answer.failure is ErrorKind.PERMANENT:
        return Refused(status=answer.status, reason=reason)
    failure = Failure(kind=answer.failure, attempts=delivery.attempts + 1, since=delivery.since)
    decision = next_attempt(failure, policy, now, random)
    if isinstance(decision, GiveUp):
        return Refused(status=answer.status, reason=f"{reason}; given up: {decision.reason}")
    return Deferred(until=decision.at, status=answer.status, reason=reason)


class Deliverer:
    """Runs one thread per destination.

    Parameters
    ----------
    settings
        Where results go, who sends them, and how patiently.
    queue
        The durable state.
    results
        Where the bytes of the objects lie.
    """

    def __init__(self, settings: DeliverySettings, queue: DeliveryQueue, results: Spool) -> None:
        self._couriers = {
            name: _Courier(name, address, settings, queue, results)
            for name, address in settings.destinations.items()
        }

    def start(self) -> None:
        """Deliver from now on."""
        for courier in self._couriers.values():
            courier.start()

    def poke(self, destination: str | None = None) -> None:
        """Say that there may be something to send, to one destination or to any."""
        for name, courier in self._couriers.items():
            if destination in (None, name):
                courier.poke()

    def stop(self, grace_seconds: float = 30.0) -> bool:
        """Stop between objects; True where every thread has ended within the time given."""
        for courier in self._couriers.values():
            courier.stop()
        deadline = time.monotonic() + grace_seconds
        for courier in self._couriers.values():
            courier.join(max(0.0, deadline - time.monotonic()))
        return not self.running

    @property
    def running(self) -> frozenset[str]:
        """Destinations whose thread runs; one missing after `start` met a fault in the node itself."""
        return frozenset(name for name, courier in self._couriers.items() if courier.is_alive())


class _Courier(threading.Thread):
    """The thread of one destination."""

    def __init__(
        self,
        name: str,
        address: DestinationAddress,
        settings: DeliverySettings,
        queue: DeliveryQueue,
        results: Spool,
    ) -> None:
        super().__init__(name=f"deliver-{name}", daemon=True)
        self._destination = name
        self._address = address
        self._settings = settings
        self._queue = queue
        self._results = results
        self._random = secrets.SystemRandom().random
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def poke(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            # before it looks, so that what is planned while it looks wakes it again
            self._wake.clear()
            try:
                while self._deliver_batch():
                    pass
                pause = self._pause()
            except NodeError as error:
                log.warning("delivery.interrupted", destination=self._destination, error=str(error))
                pause = self._settings.poll_seconds
            if not self._stopping.is_set():
                self._wake.wait(pause)

    def _goes_on(self) -> bool:
        return not self._stopping.is_set()

    def _pause(self) -> float:
        """Seconds until there is something to do."""
        due = self._queue.next_due(self._destination)
        longest = self._settings.poll_seconds
        return longest if due is None else min(max((due - _now()).total_seconds(), 0.05), longest)

    def _deliver_batch(self) -> bool:
        """Send what is due, at most a batch of it; True where there may be more."""
        due = self._queue.due_deliveries(self._destination, _BATCH) if self._goes_on() else []
        if not due:
            return False
        waiting = {self._outgoing(delivery): delivery for delivery in due}

        def on_answer(outgoing: Outgoing, answer: Answer) -> None:
            delivery = waiting.pop(outgoing)
            outcome = outcome_of(answer, delivery, self._settings.policy, _now(), self._random)
            instead = self._alternatives(delivery) if answer.not_negotiated else ()
            self._queue.record_delivery(delivery, outcome, instead)

        try:
            send(self._address, tuple(waiting), on_answer, self._settings.caller, self._goes_on)
        except PeerUnreachable as error:
            self._leave_alone(str(error))
            self._give_up_old(waiting.values(), str(error))
            return False
        return True

    def _alternatives(self, delivery: Delivery) -> tuple[str, ...]:
        profile = self._settings.profiles.get(self._destination)
        return profile.alternatives(delivery.kind, delivery.variant) if profile else ()

    def _outgoing(self, delivery: Delivery) -> Outgoing:
        return Outgoing(
            path=self._results.locate(delivery.path),
            sop_class_uid=delivery.sop_class_uid,
            sop_instance_uid=delivery.sop_instance_uid,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
            digest=delivery.digest,
        )

    def _leave_alone(self, reason: str) -> None:
        now = _now()
        trouble = self._queue.destination_trouble(self._destination)
        failure = Failure(
            kind=ErrorKind.UNREACHABLE,
            attempts=trouble.failures + 1 if trouble else 1,
            since=trouble.failing_since if trouble else now,
        )
        # a destination is never given up, however long it is away; only what waits for it grows too old
        decision = next_attempt(failure, replace(self._settings.policy, max_age=None), now, self._random)
        until = now if isinstance(decision, GiveUp) else decision.at
        self._queue.defer_destination(self._destination, until, reason)
        log.warning("destination.deferred", destination=self._destination, until=until, reason=reason)

    def _give_up_old(self, deliveries: Iterable[Delivery], reason: str) -> None:
        for delivery in deliveries:
            failure = Failure(kind=ErrorKind.UNREACHABLE, attempts=1, since=delivery.since)
            decision = next_attempt(failure, self._settings.policy, _now(), self._random)
            if isinstance(decision, GiveUp):
                refused = Refused(reason=f"{reason}; given up: {decision.reason}")
                self._queue.record_delivery(delivery, refused)


def _now() -> datetime:
    return datetime.now(UTC)
