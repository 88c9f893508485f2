"""The decision to try again, as a table and by its properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.backoff import (
    ErrorKind,
    Failure,
    GiveUp,
    RetryAt,
    RetryPolicy,
    kind_of,
    longest_delay,
    next_attempt,
)
from mcads_node.errors import (
    InstanceUnreadable,
    NodeError,
    PeerUnreachable,
    PermanentError,
    StorageFull,
    TransientError,
)

NOW = datetime(2024, 3, 1, 8, 0, tzinfo=UTC)
POLICY = RetryPolicy(
    base=timedelta(seconds=10),
    factor=2.0,
    cap=timedelta(seconds=60),
    max_age=timedelta(days=2),
    max_attempts=4,
)
T, U, P = ErrorKind.TRANSIENT, ErrorKind.UNREACHABLE, ErrorKind.PERMANENT


@pytest.mark.parametrize(
    ("kind", "attempts", "age", "expected"),
    [
        (T, 1, 0, 10.0),
        (T, 2, 0, 20.0),
        (T, 3, 0, 40.0),
        (T, 4, 0, "4 attempts failed"),
        (U, 4, 0, 60.0),
        (U, 1000, 0, 60.0),
        (U, 10**9, 0, 60.0),
        (P, 1, 0, "will fail again in the same way"),
        (T, 1, 2 * 86400 - 1, 1.0),
        (U, 1, 2 * 86400, "no success within 2 days"),
        (T, 1, -3600, 10.0),
    ],
)
def test_table(kind: ErrorKind, attempts: int, age: float, expected: float | str) -> None:
    failure = Failure(kind=kind, attempts=attempts, since=NOW - timedelta(seconds=age))
    decision = next_attempt(failure, POLICY, NOW, lambda: 1.0)
    if isinstance(expected, str):
        assert decision == GiveUp(reason=expected)
    else:
        assert decision == RetryAt(at=NOW + timedelta(seconds=expected))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PeerUnreachable("x"), U),
        (StorageFull("x"), U),
        (TransientError("x"), T),
        (PermanentError("x"), P),
        (InstanceUnreadable("x"), P),
        (NodeError("x"), P),
    ],
)
def test_what_an_error_says(error: NodeError, kind: ErrorKind) -> None:
    assert kind_of(error) is kind


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": timedelta(0)},
        {"base": timedelta(hours=1)},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": float("inf")},
        {"max_attempts": 0},
    ],
)
def test_a_policy_without_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


def test_no_failure_without_an_attempt() -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        Failure(kind=T, attempts=0, since=NOW)


def test_jitter_scales_the_whole_delay() -> None:
    failure = Failure(kind=T, attempts=2, since=NOW)
    assert next_attempt(failure, POLICY, NOW, lambda: 0.0) == RetryAt(at=NOW)
    assert next_attempt(failure, POLICY, NOW, lambda: 0.25) == RetryAt(at=NOW + timedelta(seconds=5))


policies = st.builds(
    RetryPolicy,
    base=st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(minutes=1)),
    factor=st.floats(min_value=1.0, max_value=100.0),
    cap=st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(days=1)),
    max_age=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)),
    max_attempts=st.none() | st.integers(1, 100),
)
ages = st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=60))


@given(policies, st.sampled_from([T, U]), st.integers(1, 10_000), ages, st.floats(0.0, 1.0))
def test_never_in_the_past_never_beyond_the_bounds(
    policy: RetryPolicy, kind: ErrorKind, attempts: int, age: timedelta, jitter: float
) -> None:
    failure = Failure(kind=kind, attempts=attempts, since=NOW - age)
    decision = next_attempt(failure, policy, NOW, lambda: jitter)
    too_old = policy.max_age is not None and age >= policy.max_age
    too_many = kind is T and policy.max_attempts is not None and attempts >= policy.max_attempts
    assert isinstance(decision, GiveUp) == (too_old or too_many)
    if isinstance(decision, RetryAt):
        assert NOW <= decision.at <= NOW + policy.cap
        assert policy.max_age is None or decision.at <= failure.since + policy.max_age


@given(policies, st.integers(1, 2000))
def test_the_bound_grows_to_the_cap(policy: RetryPolicy, attempts: int) -> None:
    assert longest_delay(1, policy) == policy.base
    assert longest_delay(attempts, policy) <= longest_delay(attempts + 1, policy) <= policy.cap
