"""``monitoring``: the port at which the node tells how it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcads_node.config.vocabulary import Port, Section


class MonitoringSection(Section):
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` are answered; plain HTTP, for this machine."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port | None = 9112
