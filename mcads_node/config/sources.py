"""``sources`` and ``pull`` of ``node.yaml``: archives, and what is fetched from them by the clock."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import time
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from mcads_node.config.backup import time_of_day
from mcads_node.config.destinations import TlsPeerSection
from mcads_node.config.vocabulary import Section

#: key of the context of validation: names of the sources of the document
SOURCES = "sources"
_CodeString = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9_ ]{0,15}$")]
#: keys that a job may ask for; a Patient ID does not belong into a file that others read
QueryKey = Literal["StudyDate", "AccessionNumber", "StudyDescription", "ModalitiesInStudy"]
#: what ``StudyDate`` may say besides dates
_DAYS = re.compile(r"today|yesterday|last [1-9]\d{0,2} days|\d{8}|\d{8}-(\d{8})?|-\d{8}")


class SourceSection(TlsPeerSection):
    """An archive that is asked by C-FIND, and that studies are fetched from by C-MOVE or C-GET."""

    method: Literal["move", "get"] = "move"
    modalities: Annotated[tuple[_CodeString, ...], Field(min_length=1)] = ("CR", "DX")
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0


class PullSection(Section):
    """What is fetched by the clock: all that matches and is not here."""

    source: str
    query: dict[QueryKey, str]
    every_minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    at: Annotated[time, BeforeValidator(time_of_day)] | None = None

    @field_validator("source")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        known: Iterable[str] | None = (info.context or {}).get(SOURCES)
        if known is not None and value not in known:
            raise ValueError(f"{value!r} is not one of the sources ({', '.join(sorted(known)) or 'none'})")
        return value

    @field_validator("query")
    @classmethod
    def _narrow(cls, value: dict[str, str]) -> dict[str, str]:
        if not value:
            raise ValueError("expected at least one key: without one, everything there is would be fetched")
        for keyword, words in value.items():
            if not words.strip(" *?") or "\\" in words or len(words) > 64:
                raise ValueError(f"{keyword}: expected up to 64 characters, of which one is no wildcard")
        days = value.get("StudyDate")
        if days is not None and not _DAYS.fullmatch(days):
            expected = "today, yesterday, last N days, 20260131 or 20260101-20260131"
            raise ValueError(f"StudyDate: expected {expected}; found {days!r}")
        return value

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.every_minutes is None) == (self.at is None):
            raise ValueError("expected either every_minutes or at")
        return self
