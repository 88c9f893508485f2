"""``audit``: where the messages of DICOM's audit trail go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mcads_node.config.vocabulary import Section

#: RFC 5425 section 4.1, RFC 5426 section 3.3; syslog over plain TCP has no port of its own
_PORTS = {"tls": 6514, "tcp": 514, "udp": 514}


class AuditSection(Section):
    """An audit repository, which takes syslog."""

    host: Annotated[str, Field(min_length=1, max_length=253)]
    transport: Literal["tls", "tcp", "udp"] = "tls"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    site: Annotated[str, Field(max_length=64)] = ""
    patient_id: bool = False

    @model_validator(mode="after")
    def _files_fit_the_transport(self) -> Self:
        if self.transport != "tls" and (self.ca or self.certificate or self.key):
            raise ValueError(
                f"ca, certificate and key are for transport tls; found transport {self.transport}"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; found one of them alone")
        return self

    @property
    def port_or_usual(self) -> int:
        """The port; where none is given, the usual one of the transport."""
        return self.port or _PORTS[self.transport]
