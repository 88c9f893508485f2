"""When to try again, and when to give up: a pure decision, tested as a table.

Two kinds of failure are told apart. A peer that cannot be reached may come back after a long week-end: only
the age of the work ends its retries. A failure that is about this very piece of work ends after a number of
attempts as well. What will fail again in the same way is not tried again at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mcads_node.errors import NodeError, PeerUnreachable, StorageFull, TransientError


class ErrorKind(StrEnum):
    """What a failure says about the next attempt."""

    #: nobody answered, or there is no room: says nothing about the work itself; attempts are not limited
    UNREACHABLE = "unreachable"
    #: this piece of work failed and may succeed later; attempts are limited
    TRANSIENT = "transient"
    #: will fail again in the same way; never tried again
    PERMANENT = "permanent"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How patient to be."""

    #: upper bound of the first delay
    base: timedelta = timedelta(seconds=5)
    #: growth of the upper bound from one attempt to the next; at least 1
    factor: float = 2.0
    #: the upper bound never grows beyond this
    cap: timedelta = timedelta(minutes=15)
    #: work older than this is given up; None: never for its age
    max_age: timedelta | None = timedelta(days=7)
    #: failed attempts after which transient failures are given up; None: never for their number
    max_attempts: int | None = 5

    def __post_init__(self) -> None:
        if self.base <= timedelta(0) or self.cap < self.base:
            raise ValueError(f"expected 0 < base <= cap, got base {self.base}, cap {self.cap}")
        if not (math.isfinite(self.factor) and self.factor >= 1.0):
            raise ValueError(f"expected a finite factor of at least 1, got {self.factor}")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError(f"expected at least one attempt, got {self.max_attempts}")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong, how often, and since when."""

    kind: ErrorKind
    #: failed attempts including this one; at least 1
    attempts: int
    #: since when this has been tried, UTC
    since: datetime

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"a failure is at least one attempt, got {self.attempts}")


@dataclass(frozen=True, kw_only=True)
class RetryAt:
    """Try again, not before this moment."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Do not try again."""

    #: one clause for an administrator
    reason: str


def kind_of(error: NodeError) -> ErrorKind:
    """Tell what an error says about the next attempt; an error that promises nothing is permanent."""
    if isinstance(error, PeerUnreachable | StorageFull):
        return ErrorKind.UNREACHABLE
    return ErrorKind.TRANSIENT if isinstance(error, TransientError) else ErrorKind.PERMANENT


def longest_delay(attempts: int, policy: RetryPolicy) -> timedelta:
    """Upper bound of the delay after `attempts` failures: ``min(cap, base · factor^(attempts − 1))``."""
    # compared as logarithms: the power itself overflows after some hundred attempts
    growth = (attempts - 1) * math.log(policy.factor)
    if growth >= math.log(policy.cap / policy.base):
        return policy.cap
    return min(policy.cap, policy.base * math.exp(growth))


def next_attempt(
    failure: Failure, policy: RetryPolicy, now: datetime, random: Callable[[], float]
) -> RetryAt | GiveUp:
    """Decide whether and when to try again.

    Parameters
    ----------
    failure
        What went wrong, how often, and since when.
    policy
        How patient to be.
    now
        UTC. A clock that stepped back makes the work look younger, never negative in age.
    random
        Gives numbers in 0 … 1; scales the delay ("full jitter"), so that many objects refused at one moment
        do not come back at one moment.

    Returns
    -------
    RetryAt | GiveUp
        The last attempt falls on the end of the maximum age, not before it.
    """
    if failure.kind is ErrorKind.PERMANENT:
        return GiveUp(reason="will fail again in the same way")
    counted = failure.kind is ErrorKind.TRANSIENT and policy.max_attempts is not None
    if counted and failure.attempts >= (policy.max_attempts or 0):
        return GiveUp(reason=f"{failure.attempts} attempts failed")
    at = now + longest_delay(failure.attempts, policy) * random()
    if policy.max_age is None:
        return RetryAt(at=at)
    if now - failure.since >= policy.max_age:
        return GiveUp(reason=f"no success within {_in_words(policy.max_age)}")
    return RetryAt(at=max(now, min(at, failure.since + policy.max_age)))


def _in_words(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"
