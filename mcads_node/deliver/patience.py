"""How patient a destination is dealt with: when it is left alone, and what waits for it in vain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from mcads_node import metrics
from mcads_node.backoff import ErrorKind, Failure, GiveUp, RetryPolicy, next_attempt
from mcads_node.deliver.terms import DeliveryQueue

log = structlog.stdlib.get_logger(__name__)


class Patience:
    """Leaves one destination alone while it is away, and gives up what has waited for too long.

    Parameters
    ----------
    destination
        Its name.
    policy
        How patient to be.
    queue
        The durable state.
    random
        Gives numbers from 0 to 1, by which pauses are drawn.
    """

    def __init__(
        self, destination: str, policy: RetryPolicy, queue: DeliveryQueue, random: Callable[[], float]
    ) -> None:
        self._destination = destination
        self._policy = policy
        self._queue = queue
        self._random = random

    def leave_alone(self, reason: str) -> None:
        """Leave the destination alone for a while, longer each time; give up what is too old by now."""
        now = datetime.now(UTC)
        trouble = self._queue.destination_trouble(self._destination)
        failure = Failure(
            kind=ErrorKind.UNREACHABLE,
            attempts=trouble.failures + 1 if trouble else 1,
            since=trouble.failing_since if trouble else now,
        )
        # a destination is never given up, however long it is away; only what waits for it grows too old
        decision = next_attempt(failure, replace(self._policy, max_age=None), now, self._random)
        until = now if isinstance(decision, GiveUp) else decision.at
        self._queue.defer_destination(self._destination, until, reason)
        log.warning("destination.deferred", destination=self._destination, until=until, reason=reason)
        self._give_up_old(reason, now)

    def give_up_unanswered(self, now: datetime) -> None:
        """Give up what was stored, asked for, and not committed to for too long."""
        max_age = self._policy.max_age
        if max_age is None:
            return
        reason = f"stored, but not committed within {max_age}; given up"
        self._give_up(
            lambda: self._queue.give_up_unanswered(self._destination, now - max_age, reason), reason
        )

    def _give_up_old(self, reason: str, now: datetime) -> None:
        max_age = self._policy.max_age
        if max_age is None:
            return
        # at this age: the words are those of a single object that is given up
        failure = Failure(kind=ErrorKind.UNREACHABLE, attempts=1, since=now - max_age)
        decision = next_attempt(failure, self._policy, now, self._random)
        why = decision.reason if isinstance(decision, GiveUp) else ""
        text = f"{reason}; given up: {why}"
        self._give_up(lambda: self._queue.give_up_old(self._destination, now - max_age, text), why)

    def _give_up(self, some: Callable[[], int], reason: str) -> None:
        given_up = 0
        while count := some():
            given_up += count
        if given_up:
            log.error("delivery.given_up", destination=self._destination, count=given_up, reason=reason)
            metrics.delivery_failed(self._destination, "given_up", given_up)
