"""``node.yaml`` as a whole, and its sections that are too small for a module of their own."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, field_validator

from mcads_node.config.alerts import AlertsSection
from mcads_node.config.audit import AuditSection
from mcads_node.config.backup import BackupSection
from mcads_node.config.destinations import DestinationSection
from mcads_node.config.disk import DiskSection
from mcads_node.config.drift import DriftSection
from mcads_node.config.monitoring import MonitoringSection
from mcads_node.config.network import NetworkSection
from mcads_node.config.ray import RaySection
from mcads_node.config.receive import ReceiveSection
from mcads_node.config.retention import RetentionSection
from mcads_node.config.sources import PullSection, SourceSection
from mcads_node.config.tending import TendingSection
from mcads_node.config.tls import TlsSection
from mcads_node.config.vocabulary import AbsoluteFile, AETitle, Name, Port, Section


class NodeSection(Section):
    """Who the node is on the network, and where its state lives."""

    ae_title: AETitle = "MCADS"
    host: str = "0.0.0.0"  # noqa: S104 - a node is there to be reached; who may send is the requestors' list
    port: Port = 11112
    data_dir: Path = Path("/var/lib/mcads-node")
    #: of this machine among those that share the database; None: its host name
    name: Name | None = None
    database: str | None = None
    database_busy_seconds: Annotated[float, Field(ge=1, le=300)] = 15.0
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 25
    max_associations_per_requestor: Annotated[int, Field(ge=1, le=1000)] = 10
    tls: TlsSection | None = None

    @property
    def machine(self) -> str:
        """Say how this machine is called among those that share the database."""
        return self.name or socket.gethostname()

    @field_validator("database")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("postgresql+psycopg://"):
            raise ValueError("expected null (SQLite in data_dir) or postgresql+psycopg://…")
        return value


_ONE_OR_SEVERAL = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_NONE_OR_SOME = {"anyOf": [*_ONE_OR_SEVERAL["anyOf"], {"type": "null"}]}


class RequestorSection(Section):
    """A peer that may send: calling AE title and source address, both must fit."""

    ae_title: AETitle
    address: str
    called_ae_title: Annotated[tuple[AETitle, ...], WithJsonSchema(_ONE_OR_SEVERAL)] = ()

    @field_validator("called_ae_title", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("address")
    @classmethod
    def _network(cls, value: str) -> str:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(
                f"expected an IP address or network such as 10.20.0.0/16; found {value!r}"
            ) from None
        return value


class ReportSection(Section):
    """What all reports have in common."""

    language: Literal["en", "lt"] = "en"


class ReconstructionSection(Section):
    """An autoencoder that input is checked with; which error is too large is the site's to say."""

    model: Name = "resnet-ae101-elastic"
    limit: Annotated[float, Field(gt=0, lt=1)]


class AnalysisSection(Section):
    """Which model reads, and with how much of the machine."""

    model: Name = "densenet121-res224-all"
    calibration: Annotated[tuple[AbsoluteFile, ...], WithJsonSchema(_NONE_OR_SOME)] = ()
    anatomy: Name | None = None
    reconstruction: ReconstructionSection | None = None
    compute: Literal["local", "ray"] = "local"
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "float32"] = "auto"
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    memory_limit_mib: Annotated[int, Field(ge=1024)] = 4096
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    lease_seconds: Annotated[float, Field(ge=3, le=3600)] = 60.0
    allow_demonstration_models: bool = False

    @field_validator("calibration", mode="before")
    @classmethod
    def _none_or_some(cls, value: object) -> object:
        if value is None:
            return ()
        return (value,) if isinstance(value, str | Path) else value


class NodeConfig(Section):
    """The whole of ``node.yaml``."""

    node: NodeSection = NodeSection()
    requestors: tuple[RequestorSection, ...] = ()
    destinations: dict[Name, DestinationSection] = Field(default_factory=dict)
    sources: dict[Name, SourceSection] = Field(default_factory=dict)
    pull: dict[Name, PullSection] = Field(default_factory=dict)
    analysis: AnalysisSection = AnalysisSection()
    ray: RaySection | None = None
    report: ReportSection = ReportSection()
    network: NetworkSection = NetworkSection()
    receive: ReceiveSection = ReceiveSection()
    disk: DiskSection = DiskSection()
    retention: RetentionSection = RetentionSection()
    backup: BackupSection = BackupSection()
    tending: TendingSection = TendingSection()
    monitoring: MonitoringSection = MonitoringSection()
    alerts: AlertsSection = AlertsSection()
    drift: DriftSection = DriftSection()
    audit: AuditSection | None = None
    routes: Path = Path("routes.yaml")
    triage: Path | None = None
