"""What a rule asks of an image: the half of ``routes.yaml`` that stands under ``when``.

Written is a mapping from what is asked of to a `Condition`, all of which must hold; ``any``, ``all`` and
``none`` take lists of such mappings, ``Time`` takes `Hours`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    StrictBool,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from mcads_node import pattern
from mcads_node.config.attributes import VIEWS, Attribute, Fact, attribute
from mcads_node.config.hours import Hours
from mcads_node.config.vocabulary import Section, all_known
from mcads_node.quantity import Kind, Limit, age_in, date_in, number_in, time_in
from mcads_node.suggestion import did_you_mean

#: how deep any, all and none may be nested
DEEPEST = 5
GROUPS = ("any", "all", "none")

WORD_SCHEMA = {"type": ["string", "number", "boolean"]}
WORDS_SCHEMA = {"anyOf": [WORD_SCHEMA, {"type": "array", "items": WORD_SCHEMA, "minItems": 1}]}


def _words(written: Any) -> tuple[str, ...]:
    values = written if isinstance(written, list | tuple) else [written]
    if not values or any(isinstance(value, dict | list) or value is None for value in values):
        raise ValueError('expected a value or a list of values ("" stands for an absent one)')
    # a number stands for itself as it was written: 0123 and 1.10 are names of stations and versions
    return tuple(_text(value) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(getattr(value, "text", value))


def _limit(written: Any, info: ValidationInfo) -> Limit:
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        raise ValueError("min and max take a number, an age, a date or a time")
    asked: Attribute | None = (info.context or {}).get("attribute")
    text = _text(written)
    kinds = (asked.kind,) if asked and asked.kind else (Kind.NUMBER, Kind.DATE, Kind.AGE, Kind.TIME)
    for kind in kinds:
        limit = _READERS[kind](text)
        if limit is not None:
            return limit
    names = " or ".join(_NAMES[kind] for kind in kinds)
    raise ValueError(f"min and max take {names} here; found {text!r}")


def _number_limit(text: str) -> Limit | None:
    number = number_in(text)
    return None if number is None else Limit(kind=Kind.NUMBER, number=number, text=text)


def _age_limit(text: str) -> Limit | None:
    age, years = age_in(text), number_in(text)
    if age is None or text.isdigit():
        return None if years is None else Limit(kind=Kind.AGE, number=years, unit="Y", text=text)
    return Limit(kind=Kind.AGE, number=age.count, unit=age.unit, text=text)


def _date_limit(text: str) -> Limit | None:
    day = date_in(text) if len(text) <= 10 else None
    return None if day is None else Limit(kind=Kind.DATE, number=day.toordinal(), text=text)


def _time_limit(text: str) -> Limit | None:
    seconds = time_in(text)
    return None if seconds is None else Limit(kind=Kind.TIME, number=seconds, text=text)


_READERS: dict[Kind, Callable[[str], Limit | None]] = {
    Kind.NUMBER: _number_limit,
    Kind.AGE: _age_limit,
    Kind.DATE: _date_limit,
    Kind.TIME: _time_limit,
}
_NAMES = {
    Kind.NUMBER: "a number",
    Kind.AGE: "an age (18 for years, or 6M, 2W, 30D)",
    Kind.DATE: "a date (2026-01-31)",
    Kind.TIME: "a time (18:00)",
}

Words = Annotated[tuple[str, ...], BeforeValidator(_words), WithJsonSchema(WORDS_SCHEMA)]
Bound = Annotated[Limit, PlainValidator(_limit), WithJsonSchema({"type": ["number", "string"]})]


class Condition(Section):
    """What a rule asks of one attribute; every part that is given must hold.

    Written short as a value or a list: one of them.
    """

    one_of: Words | None = Field(default=None, alias="is", description="equal to it, or to one of a list")
    none_of: Words | None = Field(
        default=None, alias="not", description="none of these; an absent value passes"
    )
    matches: Annotated[str | None, Field(description="regular expression (RE2), found anywhere in it")] = None
    minimum: Bound | None = Field(default=None, alias="min", description="number, age, date or time")
    maximum: Bound | None = Field(default=None, alias="max", description="number, age, date or time")
    present: Annotated[StrictBool | None, Field(description="true: it has a value; false: it has none")] = (
        None
    )

    @model_validator(mode="before")
    @classmethod
    def _long_form(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return {"is": _words(written)}
        if not any(value is not None for value in written.values()):
            raise ValueError("expected a value, a list, or is / not / matches / min / max / present")
        return written

    @field_validator("matches")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        if value is not None:
            pattern.check(value)
        return value

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Condition:
        asked: Attribute | None = (info.context or {}).get("attribute")
        if asked is not None:
            _fits_attribute(self, asked)
        return self


def _fits_attribute(condition: Condition, asked: Attribute) -> None:
    compared = condition.model_fields_set - {"present"}
    if asked.is_sequence and compared:
        raise ValueError(f"{asked.key} is a sequence: ask for present, or of an attribute within it by a dot")
    words = (*(condition.one_of or ()), *(condition.none_of or ()))
    if asked.fact in (Fact.VIEW, Fact.VIEWS_IN_STUDY):
        _only(compared, {"one_of", "none_of"}, asked)
        all_known([word.strip().upper() for word in words], VIEWS, "a view")
    if asked.fact is Fact.REQUESTOR_ADDRESS:
        _only(compared, {"one_of", "none_of"}, asked)
        for word in words:
            try:
                ipaddress.ip_network(word, strict=False)
            except ValueError:
                raise ValueError(
                    f"expected an IP address or network such as 10.20.0.0/16; found {word!r}"
                ) from None


def _only(used: set[str], allowed: set[str], asked: Attribute) -> None:
    if used - allowed:
        raise ValueError(f"{asked.key} is compared with values only: a value, a list, or not")


#: what may stand under an attribute, or under Time
_OPERATORS = [
    field.alias or name for section in (Condition, Hours) for name, field in section.model_fields.items()
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One attribute, and what is asked of it."""

    attribute: Attribute
    condition: Condition


@dataclass(frozen=True, kw_only=True)
class Group:
    """Sets of conditions, of which any, all or none must hold as a whole."""

    how: str
    branches: tuple[When, ...]


#: the schema's own definition is added where it is written as a whole
WHEN_SCHEMA = {"title": "When"}

#: all of which must hold
When = tuple[Asked | Group | Hours, ...]


def read_when(written: Any, info: ValidationInfo) -> When:
    """Read what stands under ``when``.

    Raises
    ------
    ValidationError
        With every problem, each at its place.
    """
    faults = _Faults()
    when = _mapping(written, info, (), faults)
    faults.raise_any()
    return when


class _Faults:
    """Problems as they are found, each with its place below ``when``."""

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []

    def add(self, at: tuple[str | int, ...], said: str, found: Any) -> None:
        kind = PydanticCustomError("value_error", "{said}", {"said": said})
        self._found.append(InitErrorDetails(type=kind, loc=at, input=found))

    def take(self, at: tuple[str | int, ...], error: ValidationError) -> None:
        for each in error.errors(include_url=False):
            place = (*at, *each["loc"])
            if each["type"] == "extra_forbidden":
                near = did_you_mean(str(each["loc"][-1]), _OPERATORS)
                self.add(place, f"is not a key this node knows{near}", each["input"])
            else:
                self.add(place, each["msg"].removeprefix("Value error, "), each["input"])

    def raise_any(self) -> None:
        if self._found:
            raise ValidationError.from_exception_data("when", self._found)


def _mapping(written: Any, info: ValidationInfo, at: tuple[str | int, ...], faults: _Faults) -> When:
    if not isinstance(written, dict):
        faults.add(at, "expected conditions, such as Modality: [CR, DX]", written)
        return ()
    found = (_one(key, asked, info, (*at, key), faults) for key, asked in written.items())
    return tuple(each for each in found if each is not None)


def _one(
    key: str, written: Any, info: ValidationInfo, at: tuple[str | int, ...], faults: _Faults
) -> Asked | Group | Hours | None:
    if key in GROUPS:
        return _group(key, written, info, at, faults)
    try:
        if key == "Time":
            return Hours.model_validate(written)
        asked = attribute(key)
        context = {**(info.context or {}), "attribute": asked}
        return Asked(attribute=asked, condition=Condition.model_validate(written, context=context))
    except ValidationError as error:
        faults.take(at, error)
    except ValueError as error:
        faults.add(at, str(error), written)
    return None


def _group(
    how: str, written: Any, info: ValidationInfo, at: tuple[str | int, ...], faults: _Faults
) -> Group | None:
    if not isinstance(written, list) or not written or any(each == {} for each in written):
        faults.add(at, "expected a list of conditions, such as [{Modality: CR}, {Modality: DX}]", written)
        return None
    if sum(part in GROUPS for part in at) > DEEPEST:
        faults.add(at, f"any, all and none are nested deeper than {DEEPEST}", written)
        return None
    branches = [_mapping(each, info, (*at, number), faults) for number, each in enumerate(written)]
    return Group(how=how, branches=tuple(branches))
