"""``routes.yaml``: the rules, of which the first that matches is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator, model_validator

from mcads_node.config.checks import known_checks
from mcads_node.config.completion import CompleteWhen
from mcads_node.config.conditions import When, read_when
from mcads_node.config.vocabulary import Fraction, Name, Section, all_known
from mcads_node.instance import Verdict

#: its own definition is added where the schema as a whole is written
WHEN_SCHEMA = {"title": "When"}


class AnalyseSection(Section):
    """How the images of a route are analysed."""

    explain: tuple[Literal["grad-cam", "grad-cam-combined", "pli"], ...] = ("grad-cam",)
    explain_top_finding: bool = False
    thresholds: dict[str, Fraction] = Field(default_factory=dict)
    #: what a check that fails leads to; others lead to what `CHECKS` says
    checks: dict[str, Verdict] = Field(default_factory=dict)

    @field_validator("thresholds")
    @classmethod
    def _known_labels(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        known: Iterable[str] | None = (info.context or {}).get("labels")
        if known is not None:
            all_known(value, known, "a finding of the model")
        return value

    @field_validator("explain")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"expected each method once at most; found {', '.join(value)}")
        return value

    @field_validator("checks")
    @classmethod
    def _known_checks(cls, value: dict[str, Verdict]) -> dict[str, Verdict]:
        known_checks(value)
        return value


class Rule(Section):
    """One rule of ``routes.yaml``: what it matches, and what is done then."""

    name: Annotated[str, Field(min_length=1)]
    when: Annotated[When, PlainValidator(read_when), WithJsonSchema(WHEN_SCHEMA)]
    analyse: AnalyseSection | None = None
    decline: str | None = None
    complete_when: CompleteWhen = CompleteWhen()
    send_to: tuple[Name, ...] = ()

    @field_validator("send_to")
    @classmethod
    def _known_destinations(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known: Iterable[str] | None = (info.context or {}).get("destinations")
        if known is not None:
            all_known(value, known, "one of the destinations in node.yaml")
        return value

    @model_validator(mode="after")
    def _does_one_thing(self) -> Rule:
        if (self.analyse is None) == (self.decline is None):
            raise ValueError(f"rule {self.name!r} needs either analyse or decline, and not both")
        if self.analyse is not None and not self.send_to:
            raise ValueError(f"rule {self.name!r} analyses, so send_to must name a destination")
        return self


class RoutesConfig(Section):
    """The whole of ``routes.yaml``: the first rule that matches is used."""

    routes: tuple[Rule, ...]

    @field_validator("routes")
    @classmethod
    def _distinct_names(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if not value:
            raise ValueError("expected at least one rule; without one nothing would ever be analysed")
        names = [rule.name for rule in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules need different names; more than once: {', '.join(twice)}")
        return value
