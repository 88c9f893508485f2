"""Hours in which work may be done: windows on a zone's clock, also on days on which it is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.schedule import Schedule, Window

EVERY_DAY = tuple(range(7))
VILNIUS = "Europe/Vilnius"


def schedule(hours: tuple[int, int], days: tuple[int, ...] = EVERY_DAY, zone: str | None = "UTC") -> Schedule:
    """Whole hours."""
    window = Window(days=days, begins=hours[0] * 3600, ends=hours[1] * 3600, zone=zone)
    return Schedule(windows=(window,))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = schedule((20, 6))
# 2026-03-02 is a Monday
WEEKDAY_NIGHTS = schedule((20, 6), days=(0, 1, 2, 3, 4))
WEEKEND = schedule((0, 24), days=(5, 6))


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (NIGHT, "2026-03-02T12:00", "2026-03-02T20:00"),
        (NIGHT, "2026-03-02T20:00", None),
        (NIGHT, "2026-03-03T05:59", None),
        (NIGHT, "2026-03-03T06:00", "2026-03-03T20:00"),
        # the night that began on Friday goes on; that of Saturday does not begin
        (WEEKDAY_NIGHTS, "2026-03-07T05:00", None),
        (WEEKDAY_NIGHTS, "2026-03-07T06:00", "2026-03-09T20:00"),
        (WEEKEND, "2026-03-06T23:59", "2026-03-07T00:00"),
        (WEEKEND, "2026-03-08T23:59", None),
        (WEEKEND, "2026-03-09T00:00", "2026-03-14T00:00"),
        # in Vilnius it is two hours later in winter, three in summer
        (schedule((20, 6), zone=VILNIUS), "2026-03-02T17:59", "2026-03-02T18:00"),
        (schedule((20, 6), zone=VILNIUS), "2026-07-02T16:59", "2026-07-02T17:00"),
        # 2026-03-29, 03:00 becomes 04:00: a window in the hour that is left out is not
        (schedule((20, 6), zone=VILNIUS), "2026-03-29T02:59", None),
        (schedule((20, 6), zone=VILNIUS), "2026-03-29T03:00", "2026-03-29T17:00"),
        # 2026-10-25, 04:00 becomes 03:00: the night is an hour longer
        (schedule((20, 6), zone=VILNIUS), "2026-10-25T03:59", None),
        (schedule((20, 6), zone=VILNIUS), "2026-10-25T04:00", "2026-10-25T18:00"),
    ],
)
def test_until_when_work_has_to_wait(hours: Schedule, now: str, until: str | None) -> None:
    assert hours.held_until(at(now)) == (None if until is None else at(until))


def test_several_windows() -> None:
    both = Schedule(windows=(*WEEKDAY_NIGHTS.windows, *WEEKEND.windows))
    assert both.held_until(at("2026-03-07T12:00")) is None
    assert both.held_until(at("2026-03-09T12:00")) == at("2026-03-09T20:00")


ZONES = st.sampled_from([None, "UTC", VILNIUS, "America/New_York", "Australia/Lord_Howe"])
WINDOWS = st.builds(
    lambda days, begins, length, zone: Window(
        days=tuple(sorted(days)), begins=begins, ends=(begins + length - 1) % 86400 + 1, zone=zone
    ),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 86399),
    st.integers(1800, 84600),
    ZONES,
)
SCHEDULES = st.builds(Schedule, windows=st.lists(WINDOWS, min_size=1, max_size=2).map(tuple))
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(
    lambda each: each.replace(tzinfo=UTC)
)


@given(SCHEDULES, MOMENTS, st.floats(0, 0.999))
def test_what_waits_is_done_when_its_hours_begin_and_not_before(
    hours: Schedule, now: datetime, share: float
) -> None:
    until = hours.held_until(now)
    if until is None:
        return
    assert now < until <= now + timedelta(days=9)
    assert hours.held_until(until) is None
    assert hours.held_until(now + (until - now) * share) == until


@given(SCHEDULES)
def test_it_is_written_down_and_read_back(hours: Schedule) -> None:
    assert Schedule.from_text(hours.to_text()) == hours


@pytest.mark.parametrize(
    ("days", "begins", "ends"), [((), 0, 60), ((7,), 0, 60), ((0,), 86400, 60), ((0,), 60, 60), ((0,), 0, 0)]
)
def test_a_window_that_is_none(days: tuple[int, ...], begins: int, ends: int) -> None:
    with pytest.raises(ValueError, match="window"):
        Window(days=days, begins=begins, ends=ends)
