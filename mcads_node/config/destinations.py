"""``destinations`` of ``node.yaml``: who gets results, which, and made in which way."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mcads_node.config.tls import NODE_HAS_TLS
from mcads_node.config.vocabulary import AETitle, Section
from mcads_node.result import HEATMAP_SIDE, ObjectKind

#: SOP classes of a Structured Report, by the name that a destination calls them
SRClass = Literal["comprehensive-3d", "enhanced", "comprehensive"]


class CapturesSection(Section):
    """How a destination wants what is drawn: summary pages and heatmaps."""

    modality: Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9_ ]{0,15}$")] = "OT"
    transfer_syntax: Literal["explicit", "rle"] = "explicit"
    max_side: Annotated[int, Field(ge=256, le=65535)] | None = HEATMAP_SIDE
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


class TlsPeerSection(Section):
    """A peer that the node calls, and how it proves who it is."""

    ae_title: AETitle
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: bool = False
    verify_host: bool = True
    certificate_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")] | None = None

    @field_validator("tls")
    @classmethod
    def _node_has_certificate(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not (info.context or {}).get(NODE_HAS_TLS, True):
            raise ValueError("needs node.tls: the node's certificate, its key, and the CA")
        return value

    @model_validator(mode="after")
    def _names_are_for_tls(self) -> Self:
        if not self.tls and (self.certificate_name or not self.verify_host):
            raise ValueError("verify_host and certificate_name are for tls: true")
        if self.certificate_name and not self.verify_host:
            raise ValueError("certificate_name is not looked at where verify_host is false")
        return self


class DestinationSection(TlsPeerSection):
    """A peer that results are sent to, which kinds it wants, and in which way each is made."""

    objects: tuple[ObjectKind, ...] = (ObjectKind.SR, ObjectKind.SUMMARY, ObjectKind.HEATMAP)
    sr_classes: tuple[SRClass, ...] = ("comprehensive-3d", "enhanced")
    captures: CapturesSection = CapturesSection()
    series: dict[ObjectKind, SeriesSection] = Field(default_factory=dict)
    associations: Annotated[int, Field(ge=1, le=8)] = 1
    max_age_hours: Annotated[float, Field(gt=0, le=8760)] = 168.0
    storage_commitment: bool = False
    commitment_timeout_minutes: Annotated[float, Field(gt=0, le=10080)] = 60.0

    @field_validator("objects", "sr_classes")
    @classmethod
    def _something_once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = ", ".join(ObjectKind if info.field_name == "objects" else get_args(SRClass))
        if not value:
            raise ValueError(f"expected at least one of {known}")
        if len(set(value)) < len(value):
            raise ValueError(f"expected each of {known} once at most")
        return value
