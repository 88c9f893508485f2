"""``Time`` under ``when``: days and hours, in a time zone, at which an image was received."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from mcads_node.config.vocabulary import Section
from mcads_node.quantity import time_in
from mcads_node.suggestion import did_you_mean

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _days(written: Any) -> frozenset[int]:
    """Read ``sat``, ``[sat, sun]`` or ``mon-fri``."""
    found: set[int] = set()
    for word in written if isinstance(written, list | tuple) else [written]:
        first, dash, last = str(word).casefold().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"expected days such as mon, or mon-fri, of {', '.join(DAYS)}; found {word!r}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= {day % 7 for day in range(begin, end + 1 + 7 * (end < begin))}
    if not found:
        raise ValueError("expected at least one day")
    return frozenset(found)


def _clock(written: Any) -> time:
    text = str(getattr(written, "text", written))
    seconds = time_in(text) if ":" in text else None
    if seconds is None or seconds >= 86400:
        raise ValueError(f'expected a time such as "18:00"; found {text!r}')
    return (datetime.min + timedelta(seconds=seconds)).time()


def _zone(written: Any) -> str:
    name = str(written)
    try:
        ZoneInfo(name)
    except (ValueError, OSError):
        # ZoneInfoNotFoundError is a KeyError
        raise ValueError(_unknown_zone(name)) from None
    except KeyError:
        raise ValueError(_unknown_zone(name)) from None
    return name


def _unknown_zone(name: str) -> str:
    near = did_you_mean(name, available_timezones())
    return f"{name!r} is no time zone of the IANA data base, such as Europe/Vilnius{near}"


_CLOCK_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^\d{2}:\d{2}(:\d{2})?$"})
_DAY_SCHEMA = {"type": "string", "pattern": f"^({'|'.join(DAYS)})(-({'|'.join(DAYS)}))?$"}
Clock = Annotated[time, BeforeValidator(_clock), _CLOCK_SCHEMA]


class Hours(Section):
    """When an image was received; what is left out holds at any time."""

    days: Annotated[
        frozenset[int],
        BeforeValidator(_days),
        WithJsonSchema(
            {
                "description": "mon … sun, mon-fri, or a list; a night belongs to the day it begins on",
                "anyOf": [_DAY_SCHEMA, {"type": "array", "items": _DAY_SCHEMA, "minItems": 1}],
            }
        ),
    ] = frozenset(range(7))
    begin: Clock = Field(default=time(0), alias="from")
    end: Clock | None = Field(default=None, alias="to", description="not included; null: midnight")
    zone: Annotated[str | None, Field(description="IANA time zone; null: this machine's")] = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        return None if value is None else _zone(value)

    @model_validator(mode="after")
    def _some_time(self) -> Hours:
        if self.begin == self.end:
            raise ValueError("from and to are the same; leave both out for the whole day")
        return self

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.zone) if self.zone else None)

    def told(self, moment: datetime) -> str:
        """Write `moment` as it is compared."""
        local = self._local(moment)
        return f"{DAYS[local.weekday()]}, {local:%H:%M}"

    def holds(self, moment: datetime) -> bool:
        """Whether `moment`, timezone-aware, lies within; a night belongs to the day it begins on."""
        local = self._local(moment)
        clock, day = local.time(), local.weekday()
        if self.end is None or self.begin < self.end:
            return day in self.days and self.begin <= clock and (self.end is None or clock < self.end)
        return (clock >= self.begin and day in self.days) or (clock < self.end and (day - 1) % 7 in self.days)

    def __str__(self) -> str:
        days = "" if len(self.days) == 7 else " ".join(DAYS[day] for day in sorted(self.days)) + ", "
        end = "24:00" if self.end is None else f"{self.end:%H:%M}"
        return f"{days}{self.begin:%H:%M} to {end} ({self.zone or 'time of this machine'})"
