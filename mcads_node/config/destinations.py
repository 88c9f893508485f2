"""``destinations`` of ``node.yaml``: who gets results, which, and made in which way."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from mcads_node.config.vocabulary import AETitle, Section
from mcads_node.result import ObjectKind

#: SOP classes of a Structured Report, by the name that a destination calls them
SRClass = Literal["comprehensive-3d", "enhanced", "comprehensive"]


class CapturesSection(Section):
    """How a destination wants what is drawn: summary pages and heatmaps."""

    modality: Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9_ ]{0,15}$")] = "OT"
    transfer_syntax: Literal["explicit", "rle"] = "explicit"
    max_side: Annotated[int, Field(ge=256, le=65535)] | None = None
    style: Literal["filled", "contour"] = "filled"


class SeriesSection(Section):
    """Series Number and Description of one kind of object; what is left out is the node's own."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    description: str = ""

    @field_validator("description")
    @classmethod
    def _long_string(cls, value: str) -> str:
        # PS3.5 table 6.2-1: LO, 64 characters without backslash and controls
        if len(value) > 64 or "\\" in value or any(character < " " for character in value):
            raise ValueError("a description has up to 64 characters, no backslash, and is one line")
        return value.strip()


class DestinationSection(Section):
    """A peer that results are sent to, which kinds it wants, and in which way each is made."""

    ae_title: AETitle
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    objects: tuple[ObjectKind, ...] = (ObjectKind.SR, ObjectKind.SUMMARY, ObjectKind.HEATMAP)
    sr_classes: tuple[SRClass, ...] = ("comprehensive-3d", "enhanced")
    captures: CapturesSection = CapturesSection()
    series: dict[ObjectKind, SeriesSection] = Field(default_factory=dict)

    @field_validator("objects", "sr_classes")
    @classmethod
    def _something_once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = ", ".join(ObjectKind if info.field_name == "objects" else get_args(SRClass))
        if not value:
            raise ValueError(f"expected at least one of {known}")
        if len(set(value)) < len(value):
            raise ValueError(f"expected each of {known} once at most")
        return value
