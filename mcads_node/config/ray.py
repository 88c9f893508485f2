"""``ray``: the cluster that analyses, where ``analysis.compute`` says so."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from mcads_node.config.vocabulary import AbsoluteFile, Section


class RaySection(Section):
    """Where the cluster is, and how much of it is used."""

    address: str
    workers: Annotated[int, Field(ge=1, le=1000)] = 1
    num_cpus: Annotated[float, Field(ge=0, le=64)] = 1.0
    num_gpus: Annotated[float, Field(ge=0, le=8)] = 0.0
    #: None: two for each worker
    max_in_flight: Annotated[int, Field(ge=1, le=4000)] | None = None
    #: on the cluster's machines; None: the data folder's
    weights: AbsoluteFile | None = None

    @field_validator("address")
    @classmethod
    def _of_a_head(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        # not ray://…, nor "auto": the one is another protocol, the other takes whichever cluster there is
        if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"expected host:port of the head, such as 10.20.0.9:6379; found {value!r}")
        return value

    @property
    def in_flight(self) -> int:
        """How many pieces of work may be with the cluster at the same time."""
        return self.max_in_flight or 2 * self.workers
