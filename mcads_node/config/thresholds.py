"""Named threshold sets: thresholds of a model that rules name, for one site, device or model version each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from mcads_node.config.conditions import Condition, known_keywords
from mcads_node.config.vocabulary import Fraction, Name, Section


class ThresholdSet(Section):
    """Thresholds under a name; of those that a rule names, the first that applies to an image is used."""

    name: Name
    model: Name | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    when: dict[str, Condition] = Field(default_factory=dict)
    thresholds: Annotated[dict[str, Fraction], Field(min_length=1)]

    @field_validator("when")
    @classmethod
    def _known_keywords(cls, value: dict[str, Condition]) -> dict[str, Condition]:
        return known_keywords(value)
