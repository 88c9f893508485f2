"""What a rule asks of an image: the half of ``routes.yaml`` that stands under ``when``."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator
from pydicom.datadict import tag_for_keyword

from mcads_node.config.vocabulary import Section

#: what a rule may ask for besides DICOM keywords
FACTS_OF_THE_ASSOCIATION = ("Requestor", "CalledAETitle")


class Condition(Section):
    """What a rule asks of one attribute; every part that is given must hold.

    Written short as a value or a list (one of them), or as ``{not: …, min: …, max: …}``.
    """

    one_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _long_form(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return {"one_of": _words(written)}
        unknown = [key for key in written if key not in {"not", "min", "max"}]
        if unknown or not written:
            names = ", ".join(repr(key) for key in unknown) or "nothing"
            raise ValueError(f"expected a value, a list of values, or not / min / max; found {names}")
        long = {"none_of": _words(written["not"])} if "not" in written else {}
        return long | {
            full: _number(written[short])
            for short, full in (("min", "minimum"), ("max", "maximum"))
            if short in written
        }


def _words(written: Any) -> tuple[str, ...]:
    values = written if isinstance(written, list) else [written]
    if not values or any(isinstance(value, dict | list) or value is None for value in values):
        raise ValueError('expected a value or a list of values ("" stands for an absent one)')
    # a number stands for itself as it was written: 0123 and 1.10 are names of stations and versions
    return tuple(getattr(value, "text", str(value)) for value in values)


def _number(written: Any) -> float:
    if isinstance(written, bool) or not isinstance(written, int | float):
        raise ValueError(f"min and max take a number; found {written!r}")
    return float(written)


def known_keywords(when: dict[str, Condition]) -> dict[str, Condition]:
    """Give it back; raise `ValueError` where it asks for what no image and no association has."""
    for keyword in when:
        if keyword not in FACTS_OF_THE_ASSOCIATION and tag_for_keyword(keyword) is None:
            raise ValueError(f"{keyword!r} is neither a DICOM keyword nor one of {FACTS_OF_THE_ASSOCIATION}")
    return when
