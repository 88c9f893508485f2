"""Named threshold sets: thresholds of a model that rules name, for one site, device or model version each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from mcads_node.config.conditions import WHEN_SCHEMA, When, read_when
from mcads_node.config.vocabulary import Fraction, Name, Section


class ThresholdSet(Section):
    """Thresholds under a name; of those that a rule names, the first that applies to an image is used."""

    name: Name
    model: Name | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    when: Annotated[When, PlainValidator(read_when), WithJsonSchema(WHEN_SCHEMA)] = ()
    thresholds: Annotated[dict[str, Fraction], Field(min_length=1)]
