"""What a rule has done with the images that it matches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, field_validator

from mcads_node.config.checks import known_checks
from mcads_node.config.hours import Hours
from mcads_node.config.vocabulary import Fraction, Name, Section
from mcads_node.errors import ConfigError, Problem
from mcads_node.instance import Verdict
from mcads_node.result import ObjectKind
from mcads_node.schedule import Schedule, Window

#: the words of `Priority`, in their order
PriorityWord = Literal["stat", "high", "routine", "low"]


_ONE_OR_SEVERAL = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class AnalyseSection(Section):
    """How the images of a route are analysed."""

    model: Name | None = None
    explain: tuple[Literal["grad-cam", "grad-cam-combined", "pli"], ...] = ("grad-cam",)
    explain_top_finding: bool = False
    thresholds: dict[str, Fraction] = Field(default_factory=dict)
    threshold_sets: Annotated[tuple[Name, ...], WithJsonSchema(_ONE_OR_SEVERAL)] = ()
    #: the site whose calibration of the model speaks
    calibration: Annotated[str, Field(min_length=1)] | None = None
    objects: tuple[ObjectKind, ...] | None = None
    #: what a check that fails leads to; others lead to what `CHECKS` says
    checks: dict[str, Verdict] = Field(default_factory=dict)

    @field_validator("checks")
    @classmethod
    def _known_checks(cls, value: dict[str, Verdict]) -> dict[str, Verdict]:
        known_checks(value)
        return value

    @field_validator("threshold_sets", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("explain")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"expected each method once at most; found {', '.join(value)}")
        return value

    @field_validator("objects")
    @classmethod
    def _some_kinds(cls, value: tuple[ObjectKind, ...] | None) -> tuple[ObjectKind, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError(f"expected some of {', '.join(ObjectKind)}, each once at most")
        return value


def schedule_of(hours: Iterable[Hours]) -> Schedule:
    """Give hours, any of which will do, as the node reckons with them."""
    return Schedule(windows=tuple(_window(each) for each in hours))


def _window(hours: Hours) -> Window:
    begins, ends = (
        None if clock is None else clock.hour * 3600 + clock.minute * 60 + clock.second
        for clock in (hours.begin, hours.end)
    )
    # no end, or an end at midnight: the day's
    return Window(days=tuple(sorted(hours.days)), begins=begins or 0, ends=ends or 86400, zone=hours.zone)


def hours_of(text: str) -> Schedule:
    """Read hours such as ``20:00-06:00``, of every day, on this machine's clock; raises ConfigError."""
    begin, _, end = text.partition("-")
    try:
        return schedule_of([Hours.model_validate({"from": begin, "to": end})])
    except ValueError:
        message = f"expected hours such as 20:00-06:00; found {text!r}"
        raise ConfigError([Problem(file="--hours", line=None, key="", message=message)]) from None
