"""The node's configuration: what ``node.yaml`` and ``routes.yaml`` may say."""

from mcads_node.config.alerts import AlertsSection, EmailSection, WebhookSection
from mcads_node.config.audit import AuditSection
from mcads_node.config.backup import BackupSection
from mcads_node.config.checks import CHECKS
from mcads_node.config.completion import CompleteWhen
from mcads_node.config.conditions import FACTS_OF_THE_ASSOCIATION, Condition
from mcads_node.config.destinations import (
    CapturesSection,
    DestinationSection,
    SeriesSection,
    SRClass,
    TlsPeerSection,
)
from mcads_node.config.disk import DiskSection
from mcads_node.config.drift import DriftSection
from mcads_node.config.loading import Configuration, load_configuration, load_rules
from mcads_node.config.monitoring import MonitoringSection
from mcads_node.config.network import NetworkSection
from mcads_node.config.node import AnalysisSection, NodeConfig, NodeSection, ReportSection, RequestorSection
from mcads_node.config.receive import ReceiveSection
from mcads_node.config.retention import RetentionSection
from mcads_node.config.rules import AnalyseSection, RoutesConfig, Rule
from mcads_node.config.sources import PullSection, SourceSection
from mcads_node.config.tending import TendingSection
from mcads_node.config.tls import TlsSection

__all__ = [
    "CHECKS",
    "FACTS_OF_THE_ASSOCIATION",
    "AlertsSection",
    "AnalyseSection",
    "AnalysisSection",
    "AuditSection",
    "BackupSection",
    "CapturesSection",
    "CompleteWhen",
    "Condition",
    "Configuration",
    "DestinationSection",
    "DiskSection",
    "DriftSection",
    "EmailSection",
    "MonitoringSection",
    "NetworkSection",
    "NodeConfig",
    "NodeSection",
    "PullSection",
    "ReceiveSection",
    "ReportSection",
    "RequestorSection",
    "RetentionSection",
    "RoutesConfig",
    "Rule",
    "SRClass",
    "SeriesSection",
    "SourceSection",
    "TendingSection",
    "TlsPeerSection",
    "TlsSection",
    "WebhookSection",
    "load_configuration",
    "load_rules",
]
