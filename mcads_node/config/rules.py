"""``routes.yaml``: the rules, of which the first that matches is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import (
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mcads_node.config.acting import AnalyseSection, PriorityWord
from mcads_node.config.completion import CompleteWhen
from mcads_node.config.conditions import WHEN_SCHEMA, When, read_when
from mcads_node.config.hours import Hours
from mcads_node.config.thresholds import ThresholdSet
from mcads_node.config.vocabulary import Name, Section, all_known
from mcads_node.priority import Priority


class Rule(Section):
    """One rule of ``routes.yaml``: what it matches, and what is done then."""

    name: Annotated[str, Field(min_length=1)]
    when: Annotated[When, PlainValidator(read_when), WithJsonSchema(WHEN_SCHEMA)]
    analyse: AnalyseSection | None = None
    decline: str | None = None
    complete_when: CompleteWhen = CompleteWhen()
    send_to: tuple[Name, ...] = ()
    forward: tuple[Name, ...] = ()
    forward_back: bool = False
    priority: PriorityWord | None = None
    schedule: tuple[Hours, ...] = ()
    shadow: bool = False
    #: those that `analyse.threshold_sets` names, in its order
    _threshold_sets: tuple[ThresholdSet, ...] = PrivateAttr(default=())

    @property
    def threshold_sets(self) -> tuple[ThresholdSet, ...]:
        """The threshold sets that it names, in its order."""
        return self._threshold_sets

    @property
    def urgency(self) -> Priority:
        """How urgent its work is; that of a shadow rule may wait, unless it says otherwise."""
        if self.priority is None:
            return Priority.LOW if self.shadow else Priority.ROUTINE
        return Priority.of(self.priority)

    @field_validator("schedule", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, dict) else value

    @field_validator("send_to", "forward")
    @classmethod
    def _known_destinations(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known: Iterable[str] | None = (info.context or {}).get("destinations")
        if known is not None:
            all_known(value, known, "one of the destinations in node.yaml")
        return value

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.analyse is None) == (self.decline is None):
            raise ValueError(f"rule {self.name!r} needs either analyse or decline, and not both")
        if self.shadow:
            self._only_looks()
        elif self.analyse is not None and not self.send_to:
            raise ValueError(f"rule {self.name!r} analyses, so send_to must name a destination")
        if self.forward_back and not self.forward:
            raise ValueError(f"rule {self.name!r}: forward_back is for a rule that forwards")
        if self.schedule and self.analyse is None:
            raise ValueError(f"rule {self.name!r}: schedule is for a rule that analyses")
        return self

    def _only_looks(self) -> None:
        if self.analyse is None or self.analyse.objects is not None:
            raise ValueError(f"rule {self.name!r} is a shadow: it analyses, and makes no objects")
        if self.send_to or self.forward:
            raise ValueError(
                f"rule {self.name!r} is a shadow: it sends nothing, leave out send_to and forward"
            )


class RoutesConfig(Section):
    """The whole of ``routes.yaml``: the first rule that matches is used."""

    threshold_sets: tuple[ThresholdSet, ...] = ()
    routes: tuple[Rule, ...]

    @field_validator("threshold_sets")
    @classmethod
    def _distinct_sets(cls, value: tuple[ThresholdSet, ...]) -> tuple[ThresholdSet, ...]:
        _once("threshold sets", [each.name for each in value])
        return value

    @field_validator("routes")
    @classmethod
    def _distinct_names(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if not value:
            raise ValueError("expected at least one rule; without one nothing would ever be analysed")
        _once("rules", [rule.name for rule in value])
        if all(rule.shadow for rule in value):
            raise ValueError("expected a rule that is no shadow; without one nothing would ever be reported")
        return value

    @model_validator(mode="after")
    def _give_rules_their_sets(self) -> Self:
        sets = {each.name: each for each in self.threshold_sets}
        for rule in self.routes:
            if rule.analyse is not None:
                # a name that is not there is told of when the whole file is looked at
                rule._threshold_sets = tuple(
                    sets[name] for name in rule.analyse.threshold_sets if name in sets
                )
        return self


def _once(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} need different names; more than once: {', '.join(twice)}")
