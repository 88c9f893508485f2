"""The node's configuration: what ``node.yaml`` and ``routes.yaml`` may say."""

from mcads_node.config.acting import AnalyseSection, hours_of, schedule_of
from mcads_node.config.alerts import AlertsSection, EmailSection, WebhookSection
from mcads_node.config.attributes import Attribute, Fact
from mcads_node.config.audit import AuditSection
from mcads_node.config.backup import BackupSection
from mcads_node.config.checks import CHECKS
from mcads_node.config.completion import CompleteWhen
from mcads_node.config.conditions import Asked, Condition, Group, When
from mcads_node.config.crossing import Known
from mcads_node.config.destinations import (
    CapturesSection,
    DestinationSection,
    SeriesSection,
    SRClass,
    TlsPeerSection,
)
from mcads_node.config.disk import DiskSection
from mcads_node.config.drift import DriftSection
from mcads_node.config.hours import Hours
from mcads_node.config.loading import (
    Configuration,
    RuleBook,
    known_to,
    load_configuration,
    load_rules,
    parse_rules,
)
from mcads_node.config.monitoring import MonitoringSection
from mcads_node.config.network import NetworkSection
from mcads_node.config.node import (
    AnalysisSection,
    NodeConfig,
    NodeSection,
    ReconstructionSection,
    ReportSection,
    RequestorSection,
)
from mcads_node.config.ray import RaySection
from mcads_node.config.receive import ReceiveSection
from mcads_node.config.retention import RetentionSection
from mcads_node.config.rules import RoutesConfig, Rule
from mcads_node.config.sources import PullSection, SourceSection
from mcads_node.config.tending import TendingSection
from mcads_node.config.thresholds import ThresholdSet
from mcads_node.config.tls import TlsSection
from mcads_node.config.triage import TriageCondition, TriageRule, TriageRules, load_triage
from mcads_node.config.tuning import TUNING, Tuning

__all__ = [
    "CHECKS",
    "TUNING",
    "AlertsSection",
    "AnalyseSection",
    "AnalysisSection",
    "Asked",
    "Attribute",
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
    "Fact",
    "Group",
    "Hours",
    "Known",
    "MonitoringSection",
    "NetworkSection",
    "NodeConfig",
    "NodeSection",
    "PullSection",
    "RaySection",
    "ReceiveSection",
    "ReconstructionSection",
    "ReportSection",
    "RequestorSection",
    "RetentionSection",
    "RoutesConfig",
    "Rule",
    "RuleBook",
    "SRClass",
    "SeriesSection",
    "SourceSection",
    "TendingSection",
    "ThresholdSet",
    "TlsPeerSection",
    "TlsSection",
    "TriageCondition",
    "TriageRule",
    "TriageRules",
    "Tuning",
    "WebhookSection",
    "When",
    "hours_of",
    "known_to",
    "load_configuration",
    "load_rules",
    "load_triage",
    "parse_rules",
    "schedule_of",
]
