"""The node's configuration: what ``node.yaml`` and ``routes.yaml`` may say."""

from mcads_node.config.acting import AnalyseSection, ScheduleSection, WindowSection, hours_of
from mcads_node.config.alerts import AlertsSection, EmailSection, WebhookSection
from mcads_node.config.audit import AuditSection
from mcads_node.config.backup import BackupSection
from mcads_node.config.conditions import FACTS_OF_THE_ASSOCIATION, Condition
from mcads_node.config.crossing import Known
from mcads_node.config.destinations import CapturesSection, DestinationSection, SeriesSection, SRClass
from mcads_node.config.disk import DiskSection
from mcads_node.config.loading import Configuration, LoadedRules, known_to, load_configuration, load_rules
from mcads_node.config.monitoring import MonitoringSection
from mcads_node.config.network import NetworkSection
from mcads_node.config.node import AnalysisSection, NodeConfig, NodeSection, ReportSection, RequestorSection
from mcads_node.config.receive import ReceiveSection
from mcads_node.config.retention import RetentionSection
from mcads_node.config.rules import CompleteWhen, RoutesConfig, Rule
from mcads_node.config.tending import TendingSection
from mcads_node.config.thresholds import ThresholdSet
from mcads_node.config.tls import TlsSection

__all__ = [
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
    "EmailSection",
    "Known",
    "LoadedRules",
    "MonitoringSection",
    "NetworkSection",
    "NodeConfig",
    "NodeSection",
    "ReceiveSection",
    "ReportSection",
    "RequestorSection",
    "RetentionSection",
    "RoutesConfig",
    "Rule",
    "SRClass",
    "ScheduleSection",
    "SeriesSection",
    "TendingSection",
    "ThresholdSet",
    "TlsSection",
    "WebhookSection",
    "WindowSection",
    "hours_of",
    "known_to",
    "load_configuration",
    "load_rules",
]
