"""Off-peak hours: when work may be done that waits for its time, on the clock of a time zone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_DAY = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class Window:
    """Hours of some days of the week.

    They are those of the zone's clock: on the day on which it is set forward a window that lies in the hour
    that is left out is none, and where it is set back the hour that comes twice is in the window both times.
    """

    #: on which it begins, 0 (Monday) to 6
    days: tuple[int, ...]
    #: seconds after midnight, 0…86399
    begins: int
    #: seconds after midnight, 1…86400; before `begins`: on the next day
    ends: int
    #: IANA name, such as ``Europe/Vilnius``; None: this machine's own
    zone: str | None = None

    def __post_init__(self) -> None:
        if not self.days or not set(self.days) <= set(range(7)):
            raise ValueError("a window has days of the week")
        if not 0 <= self.begins < _DAY or not 1 <= self.ends <= _DAY or self.begins == self.ends:
            raise ValueError("a window begins and ends at different times of the day")

    def around(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Give begin and end, UTC, of each time that it is open from the day before to that in a week."""
        zone = None if self.zone is None else ZoneInfo(self.zone)
        today = now.astimezone(zone).date()
        for days in range(-1, 9):
            day = today + timedelta(days=days)
            if day.weekday() in self.days:
                last = day if self.ends > self.begins else day + timedelta(days=1)
                begins, ends = _moment(day, self.begins, zone), _moment(last, self.ends, zone)
                if begins < ends:
                    yield begins, ends


def _moment(day: date, seconds: int, zone: ZoneInfo | None) -> datetime:
    wall = datetime.combine(day, datetime.min.time()) + timedelta(seconds=seconds)
    # without a zone, Python reads the time on the machine's clock
    return (wall if zone is None else wall.replace(tzinfo=zone)).astimezone(UTC)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When work may be done: while any of these is open."""

    windows: tuple[Window, ...]

    def held_until(self, now: datetime) -> datetime | None:
        """Say until when work has to wait; None where a window is open.

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
        for begins, ends in (each for window in self.windows for each in window.around(now)):
            if begins <= now < ends:
                return None
            if begins > now:
                opens.append(begins)
        return min(opens)

    def to_text(self) -> str:
        """Write it down; the same schedule gives the same text."""
        return json.dumps([asdict(each) for each in self.windows], sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Schedule:
        """Inverse of `to_text`."""
        windows = (Window(**{**each, "days": tuple(each["days"])}) for each in json.loads(text))
        return cls(windows=tuple(windows))
