"""``triage.yaml``: which findings make an image how urgent.

No condition asks for what is absent, of all rules that hold the most urgent level is given, and what no rule
speaks of is no more urgent than what one does: so a score that rises never makes an image less urgent,
whatever the rules are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mcads_node.config.vocabulary import Fraction, Section, all_known
from mcads_node.yamlfile import read_document

#: how deep conditions may lie within one another
DEEPEST: Final = 4

#: of what is found: the last level says that nothing is
_Level = Annotated[int, Field(ge=1, le=4)]
_Text = Annotated[str, Field(pattern=r"^\S(.{0,78}\S)?$")]


class TriageCondition(Section):
    """Findings that must be present, or conditions of which all, or any, must hold."""

    findings: Literal["any"] | tuple[str, ...] | None = None
    #: so many of `findings`
    at_least: Annotated[int, Field(ge=1, le=100)] = 1
    #: each so far above its threshold, on the scale of scores
    margin: Fraction = 0.0
    all: tuple[TriageCondition, ...] | None = None
    any: tuple[TriageCondition, ...] | None = None

    @property
    def parts(self) -> tuple[TriageCondition, ...]:
        """Conditions within it."""
        return self.all or self.any or ()

    @field_validator("findings")
    @classmethod
    def _known_findings(cls, value: str | tuple[str, ...] | None, info: ValidationInfo) -> object:
        known: Iterable[str] | None = (info.context or {}).get("labels")
        if isinstance(value, tuple):
            if len(set(value)) < len(value):
                raise ValueError(f"expected each finding once; found {', '.join(value)}")
            if known is not None:
                all_known(value, known, "a finding of any model here")
        return value

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = [name for name in ("findings", "all", "any") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected one of findings, all and any; found {' and '.join(given) or 'none of them'}"
            )
        if not getattr(self, given[0]):
            raise ValueError(f"{given[0]} is empty: it never holds")
        if self.findings is None and self.model_fields_set & {"at_least", "margin"}:
            raise ValueError("at_least and margin stand beside findings")
        if isinstance(self.findings, tuple) and self.at_least > len(self.findings):
            raise ValueError(
                f"at_least is {self.at_least}, and there are {len(self.findings)} findings: it never holds"
            )
        if _depth(self) > DEEPEST:
            raise ValueError(f"conditions lie more than {DEEPEST} deep within one another")
        return self


class TriageRule(Section):
    """One rule: the level of an image of which `when` holds."""

    name: _Text
    level: _Level
    when: TriageCondition


class TriageRules(Section):
    """The whole of ``triage.yaml``: of all rules that hold, the most urgent level is given."""

    rules: tuple[TriageRule, ...]
    #: of what is above its threshold, and that no rule speaks of
    otherwise: _Level = 4
    #: of an image with nothing above its threshold, where a check of the input warns; None: no level
    warned: Annotated[int, Field(ge=1, le=5)] | None = None
    #: of an image with nothing above its threshold, where anything is undetermined; None: no level
    undetermined: _Level | None = None

    @field_validator("rules")
    @classmethod
    def _distinct_names(cls, value: tuple[TriageRule, ...]) -> tuple[TriageRule, ...]:
        if not value:
            raise ValueError("expected at least one rule; without triage, say triage: null in node.yaml")
        names = [rule.name for rule in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules need different names; more than once: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _rises_with_scores(self) -> Self:
        """See that what no rule speaks of is no more urgent than what a rule does.

        Else a score that rises until a rule holds would make an image less urgent.
        """
        told = {f"rule {rule.name!r}": rule.level for rule in self.rules} | {"otherwise": self.otherwise}
        for name, level in (("otherwise", self.otherwise), ("warned", self.warned)):
            less = next((other for other in told if level is not None and level < told[other]), None)
            if less is not None:
                raise ValueError(
                    f"{name} is {level}, more urgent than {less} with {told[less]}: a score that rises would "
                    "make an image less urgent"
                )
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the rules say, hex; comments and layout of the file are no part of it."""
        plain = self.model_dump(mode="json")
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _depth(condition: TriageCondition) -> int:
    return 1 + max(map(_depth, condition.parts), default=0)


def load_triage(path: Path, labels: Iterable[str] | None = None) -> TriageRules:
    """Read ``triage.yaml`` at `path`.

    Parameters
    ----------
    path
        The file.
    labels
        Of all models that are installed; None: rules may name any finding.

    Raises
    ------
    ConfigError
        With every problem found.
    """
    context = {"labels": None if labels is None else tuple(labels)}
    return read_document(path).fit(TriageRules, context)
