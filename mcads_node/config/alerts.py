"""``alerts``: when an administrator is told without asking, and by which ways."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from mcads_node.config.vocabulary import Section

_Address = Annotated[str, Field(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]
_Seconds = Annotated[float, Field(gt=0, le=60)]


class WebhookSection(Section):
    """An HTTP server that is POSTed JSON."""

    url: str
    #: sent as ``Authorization: Bearer``; a file, so that the secret is not in node.yaml
    token_file: Path | None = None
    #: PEM of the CA that the server's certificate is held against; None: those of the system
    ca: Path | None = None
    timeout_seconds: _Seconds = 10.0

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.strip("/") or "@" in rest:
            raise ValueError("expected https://HOST/PATH, and no password within it (see token_file)")
        return value


class EmailSection(Section):
    """A mail server that takes messages for others."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    sender: _Address
    to: Annotated[tuple[_Address, ...], Field(min_length=1)]
    #: false: in plain text, only to a server on this machine or network
    starttls: bool = True
    user: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    timeout_seconds: _Seconds = 10.0

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together: expected both or neither")
        if self.user is not None and not self.starttls:
            raise ValueError("a password is not sent in plain text: expected starttls: true")
        return self


class AlertsSection(Section):
    """When and how an administrator is told."""

    webhook: WebhookSection | None = None
    email: EmailSection | None = None
    queue_age_minutes: Annotated[float, Field(gt=0)] = 30.0
    destination_minutes: Annotated[float, Field(gt=0)] = 60.0
    delivery_minutes: Annotated[float, Field(gt=0)] = 60.0
    commitment_hours: Annotated[float, Field(gt=0)] = 24.0
    certificate_days: Annotated[float, Field(ge=0)] = 30.0
    repeat_hours: Annotated[float, Field(gt=0)] = 24.0
