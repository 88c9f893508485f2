"""A courier: one thread, which sends to one destination over one association at a time."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from mcads_node import pulse
from mcads_node.backoff import ErrorKind
from mcads_node.deliver.committing import Asked, ask
from mcads_node.deliver.lane import Lane
from mcads_node.deliver.patience import Patience
from mcads_node.deliver.send import Answer, ObjectUnavailable, Outgoing, send
from mcads_node.deliver.terms import DeliveryQueue, DeliverySettings, Shelves, Transfer, outcome_of
from mcads_node.errors import NodeError, PeerUnreachable
from mcads_node.workitems import CommitmentOutcome, CommitmentReport, Deferred, Delivery, Outcome, Stored

log = structlog.stdlib.get_logger(__name__)

#: while there is always something to send, commitment is asked for so often, in seconds
_ASK_EVERY = 60.0
#: how long a courier lets others go on before it looks again
_OTHERS_SECONDS = 1.0
#: a courier that is silent for longer stands still: no object takes so long, see lane.py
_SILENCE_SECONDS = 900.0
#: an object whose file cannot be read is left alone for so long; the others go on
_UNAVAILABLE = timedelta(minutes=1)


@dataclass(kw_only=True)
class _Tally:
    """What became of the objects of one association."""

    stored: Counter[str] = field(default_factory=Counter)
    waited: list[float] = field(default_factory=list)
    refused: int = 0
    deferred: int = 0
    #: what was stored or refused, by study, SOP class, and whether it was stored
    ended: Counter[tuple[str, str, bool]] = field(default_factory=Counter)

    def count(self, delivery: Delivery, outcome: Outcome, now: datetime) -> None:
        if isinstance(outcome, Stored):
            self.stored[delivery.study_instance_uid] += 1
            self.waited.append((now - delivery.since).total_seconds())
        elif isinstance(outcome, Deferred):
            self.deferred += 1
        else:
            self.refused += 1
        if not isinstance(outcome, Deferred):
            stored = isinstance(outcome, Stored)
            self.ended[delivery.study_instance_uid, delivery.sop_class_uid, stored] += 1


class Courier(threading.Thread):
    """Sends what is due to one destination, and asks whether it keeps it.

    Parameters
    ----------
    lane
        What it shares with the other couriers of the destination.
    settings
        Where results go, who sends them, and how patiently.
    queue
        The durable state.
    shelves
        Where the bytes of the objects lie.
    """

    def __init__(
        self, lane: Lane, settings: DeliverySettings, queue: DeliveryQueue, shelves: Shelves, number: int
    ) -> None:
        super().__init__(name=f"deliver-{lane.destination}-{number}", daemon=True)
        self._lane = lane
        self._destination = lane.destination
        self._address = settings.destinations[lane.destination]
        self._settings = settings
        self._terms = settings.terms_of(lane.destination)
        self._policy = settings.policy_of(lane.destination)
        self._queue = queue
        self._shelves = shelves
        self._random = secrets.SystemRandom().random
        self._patience = Patience(self._destination, self._policy, queue, self._random)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._asked_at = time.monotonic()

    def poke(self) -> None:
        """Have it look for something to send."""
        self._wake.set()

    def stop(self) -> None:
        """Have it end after the object that is being sent."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Deliver until stopped."""
        while not self._stopping.is_set():
            # before it looks, so that what is planned while it looks wakes it again
            self._wake.clear()
            pulse.beat(within=_SILENCE_SECONDS)
            begun = time.monotonic()
            try:
                while self._deliver_or_ask():
                    pass
                pause = self._pause()
            except NodeError as error:
                log.warning("delivery.interrupted", destination=self._destination, error=str(error))
                pause = self._settings.poll_seconds
            except Exception as error:  # noqa: BLE001 - whatever one destination brings to light ends no other
                pause = self._rest_after(error, begun)
            if not self._stopping.is_set():
                self._wake.wait(pause)
        pulse.rest()

    def _goes_on(self) -> bool:
        return not self._stopping.is_set() and self._lane.hold()

    def _rest_after(self, error: Exception, begun: float) -> float:
        """Leave a destination alone with which something happened that nobody foresaw; seconds to pause."""
        # only type and place are told: the text of such an error may quote a data set
        place = traceback.extract_tb(error.__traceback__)[-1]
        what, where = type(error).__name__, f"{Path(place.filename).name}:{place.lineno}"
        log.critical("courier.fault", destination=self._destination, error=what, where=where)
        # what was unforeseen may be in there; the pause is kept in any case
        with contextlib.suppress(Exception):
            self._leave_alone(f"an unforeseen {what} in {where}", begun)
        return self._settings.poll_seconds

    def _pause(self) -> float:
        """Seconds until there is something to do."""
        due = self._queue.next_due(self._destination)
        longest = self._settings.poll_seconds
        # what another is dealing with stays due until it has done so
        shortest = _OTHERS_SECONDS if self._lane.is_served_by_others else 0.05
        return longest if due is None else min(max((due - _now()).total_seconds(), shortest), longest)

    def _deliver_or_ask(self) -> bool:
        """Do one thing that is due; True where there may be more."""
        if self._stopping.is_set():
            return False
        pulse.beat(within=_SILENCE_SECONDS)
        overdue = time.monotonic() - self._asked_at >= _ASK_EVERY
        if overdue and self._ask_for_commitment():
            return True
        due = self._lane.take()
        if not due:
            return self._ask_for_commitment()
        try:
            return self._deliver(due)
        finally:
            self._lane.give_back(due)

    def _deliver(self, due: Sequence[Delivery]) -> bool:
        """Send a batch over one association; True where there may be more."""
        waiting = {self._outgoing(delivery): delivery for delivery in due}
        tally, begun = _Tally(), time.monotonic()

        def on_answer(outgoing: Outgoing, answer: Answer) -> None:
            delivery, now = waiting[outgoing], _now()
            pulse.beat(within=_SILENCE_SECONDS)
            outcome = outcome_of(answer, delivery, self._policy, now, self._random)
            if isinstance(outcome, Stored):
                outcome = replace(outcome, awaits_commitment=self._terms.commitment_timeout is not None)
            instead = self._alternatives(delivery) if answer.class_refused else ()
            self._queue.record_delivery(delivery, outcome, instead)
            tally.count(delivery, outcome, now)
            if answer.failure is not ErrorKind.UNREACHABLE:
                self._lane.note_answer()

        unreachable = None
        try:
            send(self._address, tuple(waiting), on_answer, self._settings.caller, self._goes_on)
        except PeerUnreachable as error:
            unreachable = str(error)
            self._leave_alone(unreachable, begun)
        except ObjectUnavailable as error:
            self._put_off(waiting[error.outgoing], str(error))
            raise
        finally:
            self._tell(tally, begun, unreachable)
        return unreachable is None

    def _put_off(self, delivery: Delivery, reason: str) -> None:
        """Try others before an object whose file could not be read; that was no attempt."""
        now = _now()
        answer = Answer(failure=ErrorKind.UNREACHABLE, status=None, reason=reason)
        outcome = outcome_of(answer, delivery, self._policy, now, self._random)
        if isinstance(outcome, Deferred):
            outcome = replace(outcome, until=now + _UNAVAILABLE, counts=False)
        self._queue.record_delivery(delivery, outcome)

    def _tell(self, tally: _Tally, begun: float, unreachable: str | None) -> None:
        if self._settings.observer is None:
            return
        transfer = Transfer(
            destination=self._destination,
            address=self._address,
            stored=dict(tally.stored),
            refused=tally.refused,
            ended=dict(tally.ended),
            deferred=tally.deferred,
            unreachable=unreachable,
            waited=tuple(tally.waited),
            seconds=time.monotonic() - begun,
        )
        self._settings.observer(transfer)

    def _alternatives(self, delivery: Delivery) -> tuple[str, ...]:
        profile = self._settings.profiles.get(self._destination)
        if delivery.kind is None:
            # nothing stands in for an original
            return ()
        return profile.alternatives(delivery.kind, delivery.variant) if profile else ()

    def _outgoing(self, delivery: Delivery) -> Outgoing:
        return Outgoing(
            path=self._shelves.locate(delivery),
            sop_class_uid=delivery.sop_class_uid,
            sop_instance_uid=delivery.sop_instance_uid,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
            digest=delivery.digest,
            digest_of_data_set=delivery.kind is None,
        )

    def _leave_alone(self, reason: str, begun: float) -> None:
        """Leave the destination alone for a while, unless it has answered another courier meanwhile."""
        if self._lane.has_answered_since(begun):
            # it has no association left for this courier, or broke one of several: the others go on
            log.warning("courier.rests", destination=self._destination, reason=reason)
            self._stopping.wait(self._policy.base.total_seconds())
            return
        self._patience.leave_alone(reason)

    def _ask_for_commitment(self) -> bool:
        """Ask the destination to keep what it has stored; True where there may be more to ask for."""
        self._asked_at = time.monotonic()
        if self._terms.commitment_timeout is None or not self._lane.hold():
            return False
        now = _now()
        self._patience.give_up_unanswered(now)
        request = self._queue.request_commitment(self._destination, now + self._terms.commitment_timeout)
        if request is None:
            return False
        asked = Asked(
            request=request,
            on_report=self._record_report,
            on_answer=self._note_answer,
            wait_seconds=self._terms.report_seconds,
            goes_on=self._goes_on,
        )
        begun = time.monotonic()
        try:
            hindrance = ask(self._address, asked, self._settings.caller)
        except PeerUnreachable as error:
            self._queue.withdraw_commitment(request)
            self._leave_alone(str(error), begun)
            return False
        if hindrance is not None:
            log.warning(
                "commitment.not_accepted",
                destination=self._destination,
                transaction_uid=request.transaction_uid,
                reason=hindrance,
            )
        return True

    def _note_answer(self) -> None:
        self._lane.note_answer()
        self._queue.note_answer(self._destination)

    def _record_report(self, report: CommitmentReport) -> CommitmentOutcome | None:
        outcome = self._queue.record_commitment(report, self._settings.policy_of)
        if outcome is not None and self._settings.on_commitment is not None:
            self._settings.on_commitment(outcome)
        return outcome


def _now() -> datetime:
    return datetime.now(UTC)
