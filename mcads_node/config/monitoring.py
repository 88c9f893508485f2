"""``monitoring``: the port at which the node tells how it is."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Self

from pydantic import Field, model_validator

from mcads_node.config.vocabulary import Port, Section


class MonitoringSection(Section):
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` are answered; plain HTTP, for this machine."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port | None = 9112
    #: others than this machine may ask
    open: bool = False

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if not self.open and self.port is not None and not _is_of_this_machine(self.host):
            raise ValueError(
                f"the port asks nobody who he is: expected host 127.0.0.1 or ::1, found {self.host!r};"
                " open: true lets other machines ask"
            )
        return self


def _is_of_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
