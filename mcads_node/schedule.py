"""Off-peak windows: when work may be done that waits for its time, on the clock of a time zone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, kw_only=True)
class Window:
    """Hours of some days of the week."""

    #: on which it begins, 0 (Monday) to 6
    days: tuple[int, ...]
    #: minutes after midnight, 0…1439
    begins: int
    #: minutes after midnight, 1…1440; at or before `begins`: on the next day
    ends: int

    def __post_init__(self) -> None:
        if not self.days or not set(self.days) <= set(range(7)):
            raise ValueError("a window has days of the week")
        if not 0 <= self.begins < _DAY_MINUTES or not 1 <= self.ends <= _DAY_MINUTES:
            raise ValueError("a window has hours of the day")
        if self.begins == self.ends:
            raise ValueError("a window that begins when it ends says nothing")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When work may be done."""

    windows: tuple[Window, ...]
    #: IANA name, such as ``Europe/Vilnius``; None: this machine's own
    time_zone: str | None = None

    def held_until(self, now: datetime) -> datetime | None:
        """Say until when work has to wait; None where a window is open.

        Hours are those of the zone's clock: on the day on which it is set forward a window that lies in the
        hour that is left out begins when the clock has passed it, and where it is set back the hour that
        comes twice is in the window both times.

        Parameters
        ----------
        now
            Timezone-aware.

        Returns
        -------
        datetime or None
            UTC; within nine days.
        """
        opens = []
        for begins, ends in self._around(now):
            if begins <= now < ends:
                return None
            if begins > now:
                opens.append(begins)
        return min(opens)

    def _around(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        today = now.astimezone(self._zone()).date()
        for days in range(-1, 9):
            day = today + timedelta(days=days)
            for window in self.windows:
                if day.weekday() not in window.days:
                    continue
                last = day if window.ends > window.begins else day + timedelta(days=1)
                begins, ends = self._moment(day, window.begins), self._moment(last, window.ends)
                if begins < ends:
                    yield begins, ends

    def _moment(self, day: date, minutes: int) -> datetime:
        days, minutes = divmod(minutes, _DAY_MINUTES)
        wall = datetime.combine(day + timedelta(days=days), time(minutes // 60, minutes % 60))
        zone = self._zone()
        # without a zone, Python reads the time on the machine's clock
        return (wall if zone is None else wall.replace(tzinfo=zone)).astimezone(UTC)

    def _zone(self) -> ZoneInfo | None:
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    def to_text(self) -> str:
        """Write it down; the same schedule gives the same text."""
        windows = [[list(each.days), each.begins, each.ends] for each in self.windows]
        return json.dumps({"windows": windows, "time_zone": self.time_zone}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Schedule:
        """Inverse of `to_text`."""
        told = json.loads(text)
        windows = tuple(Window(days=tuple(days), begins=b, ends=e) for days, b, e in told["windows"])
        return cls(windows=windows, time_zone=told["time_zone"])
