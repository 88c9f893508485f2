"""What a rule has done with the images that it matches."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from mcads_node.config.vocabulary import Fraction, Name, Section
from mcads_node.errors import ConfigError, Problem
from mcads_node.result import ObjectKind
from mcads_node.schedule import Schedule, Window

#: the words of `Priority`, in their order
PriorityWord = Literal["stat", "high", "routine", "low"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: Final[tuple[Day, ...]] = get_args(Day)


class AnalyseSection(Section):
    """How the images of a route are analysed."""

    model: Name | None = None
    explain: tuple[Literal["grad-cam"], ...] = ("grad-cam",)
    explain_top_finding: bool = False
    thresholds: dict[str, Fraction] = Field(default_factory=dict)
    threshold_sets: tuple[Name, ...] = ()
    objects: tuple[ObjectKind, ...] | None = None

    @field_validator("threshold_sets", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("objects")
    @classmethod
    def _some_kinds(cls, value: tuple[ObjectKind, ...] | None) -> tuple[ObjectKind, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError(f"expected some of {', '.join(ObjectKind)}, each once at most")
        return value


def _minutes(text: str) -> int | None:
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", text.strip())
    if found is None:
        return None
    hours, minutes = int(found[1]), int(found[2])
    return hours * 60 + minutes if minutes < 60 and hours * 60 + minutes <= 24 * 60 else None


class WindowSection(Section):
    """Hours in which work may be done; on some days only, where they are named."""

    hours: str
    days: tuple[Day, ...] = _DAYS

    @field_validator("hours")
    @classmethod
    def _from_and_to(cls, value: str) -> str:
        minutes = [_minutes(part) for part in value.split("-")]
        if len(minutes) != 2 or None in minutes or minutes[0] in (minutes[1], 24 * 60) or minutes[1] == 0:
            raise ValueError(f"expected hours such as 20:00-06:00 or 00:00-24:00; found {value!r}")
        return value

    @field_validator("days", mode="before")
    @classmethod
    def _some_days(cls, value: Any) -> Any:
        days = [value] if isinstance(value, str) else value
        if isinstance(days, list) and not days:
            raise ValueError(f"expected at least one of {', '.join(_DAYS)}")
        return days

    @property
    def window(self) -> Window:
        """In minutes and numbers."""
        begins, ends = (_minutes(part) for part in self.hours.split("-"))
        assert begins is not None  # noqa: S101 - as validated
        assert ends is not None  # noqa: S101
        return Window(days=tuple(_DAYS.index(day) for day in self.days), begins=begins, ends=ends)


class ScheduleSection(Section):
    """When the images of a route are analysed."""

    windows: Annotated[tuple[WindowSection, ...], Field(min_length=1)]
    time_zone: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (OSError, ValueError, KeyError):
                raise ValueError(
                    f"{value!r} is not a time zone this machine knows, such as Europe/Vilnius"
                ) from None
        return value

    @property
    def schedule(self) -> Schedule:
        """As the node reckons with it."""
        return Schedule(windows=tuple(each.window for each in self.windows), time_zone=self.time_zone)


def hours_of(text: str) -> Schedule:
    """Read hours such as ``20:00-06:00``, of every day, on this machine's clock; raises ConfigError."""
    try:
        return Schedule(windows=(WindowSection(hours=text).window,))
    except ValueError:
        message = f"expected hours such as 20:00-06:00; found {text!r}"
        raise ConfigError([Problem(file="--hours", line=None, key="", message=message)]) from None
