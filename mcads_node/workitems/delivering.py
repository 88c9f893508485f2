"""The part of `Workitems` that brings results to their destinations, each method one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from mcads_node.backoff import RetryPolicy
from mcads_node.workitems import commitment, deliveries, destinations, undelivered
from mcads_node.workitems.again import again
from mcads_node.workitems.outcomes import (
    CommitmentOutcome,
    CommitmentReport,
    CommitmentRequest,
    Delivery,
    DestinationTrouble,
    Outcome,
)
from mcads_node.workitems.transactions import Transactions
from mcads_node.workitems.undelivered import DeadLetter, DestinationLine


class Delivering(Transactions):
    """Deliveries, destinations, Storage Commitment, and what could not be delivered."""

    def due_deliveries(self, destination: str, limit: int) -> list[Delivery]:
        """Give what is to be sent to a destination now, oldest first; nothing while it is deferred."""
        with self._read() as tx:
            return deliveries.due_deliveries(tx, destination, limit)

    @again
    def record_delivery(self, delivery: Delivery, outcome: Outcome, alternatives: Sequence[str] = ()) -> bool:
        """Write down how an attempt ended. False: it had ended before, in another attempt.

        Parameters
        ----------
        delivery, outcome
            What was tried, and how it ended.
        alternatives
            Variants of the object of which the first that there is is to be sent where this one is refused.
        """
        with self._write() as tx:
            return deliveries.record_delivery(tx, delivery, outcome, alternatives)

    @again
    def defer_destination(self, name: str, until: datetime, reason: str) -> DestinationTrouble:
        """Leave an unreachable destination alone until then; says how often that was and since when."""
        with self._write() as tx:
            return destinations.defer(tx, name, until, reason)

    @again
    def note_answer(self, name: str) -> None:
        """Forget what is known against a destination: it has answered."""
        with self._write() as tx:
            destinations.note_answer(tx, name)

    def destination_trouble(self, name: str) -> DestinationTrouble | None:
        """Say what is known against a destination; None once it has answered again."""
        with self._read() as tx:
            return destinations.trouble_of(tx, name)

    def next_due(self, destination: str) -> datetime | None:
        """When the next delivery to a destination is or was due; None where nothing waits."""
        with self._read() as tx:
            return deliveries.next_due(tx, destination)

    def pending_by_destination(self) -> dict[str, int]:
        """How many deliveries wait, also for destinations that are no longer configured."""
        with self._read() as tx:
            return deliveries.pending_by_destination(tx)

    @again
    def hold_destination(self, name: str, holder: str, until: datetime) -> bool:
        """Have a destination for oneself until then, or longer; False where another process has it."""
        with self._write() as tx:
            return destinations.hold(tx, name, holder, until)

    @again
    def let_go_destination(self, name: str, holder: str) -> None:
        """Let another process have a destination."""
        with self._write() as tx:
            destinations.let_go(tx, name, holder)

    @again
    def give_up_old(self, destination: str, since_until: datetime, reason: str, limit: int = 500) -> int:
        """Refuse what has been tried since then or longer, at most so many; gives their number."""
        with self._write() as tx:
            return deliveries.give_up_old(tx, destination, since_until, reason, limit)

    @again
    def request_commitment(
        self, destination: str, again_at: datetime, limit: int = 100
    ) -> CommitmentRequest | None:
        """Put on record that a destination is asked to keep what it stored; None where nothing is due.

        Parameters
        ----------
        destination
            Nothing is due while it is deferred.
        again_at
            When it is to be asked anew, should no answer have come.
        limit
            How many objects one request may name.
        """
        with self._write() as tx:
            return commitment.request_commitment(tx, destination, again_at, limit)

    @again
    def withdraw_commitment(self, request: CommitmentRequest) -> None:
        """Forget a request that never reached its destination; what it named is due at once."""
        with self._write() as tx:
            commitment.withdraw_commitment(tx, request)

    @again
    def record_commitment(
        self, report: CommitmentReport, policy_of: Callable[[str], RetryPolicy]
    ) -> CommitmentOutcome | None:
        """Write down what a destination answered; None where the transaction UID is not one of ours.

        Parameters
        ----------
        report
            What it keeps, and what it does not.
        policy_of
            How patient to be with a destination: what it does not keep is sent again, a number of times.
        """
        with self._write() as tx:
            return commitment.record_commitment(tx, report, policy_of, self._random)

    @again
    def give_up_unanswered(
        self, destination: str, stored_until: datetime, reason: str, limit: int = 500
    ) -> int:
        """Refuse what was stored by then, asked for, and never committed; gives how many, at most `limit`."""
        with self._write() as tx:
            return commitment.give_up_unanswered(tx, destination, stored_until, reason, limit)

    @again
    def waive_commitment(self, destination: str) -> int:
        """Ask a destination no more for what it has stored: that is taken for delivered; gives its number."""
        with self._write() as tx:
            return commitment.waive_commitment(tx, destination)

    def list_undelivered(self, destination: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """Deliveries that are not tried any more, of all studies, the newest first."""
        with self._read() as tx:
            return undelivered.list_undelivered(tx, destination, limit)

    @again
    def retry_undelivered(self, destination: str, *, who: str = "administrator") -> int:
        """Have everything tried again that a destination did not get; gives the number of deliveries."""
        with self._write() as tx:
            return undelivered.retry_undelivered(tx, destination, who)

    def list_destinations(self) -> list[DestinationLine]:
        """How it stands with each destination that has, or has had, anything to get."""
        with self._read() as tx:
            return undelivered.list_destinations(tx)
