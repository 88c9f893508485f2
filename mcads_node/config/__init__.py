"""The node's configuration: what ``node.yaml`` and ``routes.yaml`` may say."""

from mcads_node.config.destinations import CapturesSection, DestinationSection, SeriesSection, SRClass
from mcads_node.config.loading import Configuration, load_configuration, load_rules
from mcads_node.config.node import AnalysisSection, NodeConfig, NodeSection, ReportSection, RequestorSection
from mcads_node.config.rules import (
    FACTS_OF_THE_ASSOCIATION,
    AnalyseSection,
    CompleteWhen,
    Condition,
    RoutesConfig,
    Rule,
)

__all__ = [
    "FACTS_OF_THE_ASSOCIATION",
    "AnalyseSection",
    "AnalysisSection",
    "CapturesSection",
    "CompleteWhen",
    "Condition",
    "Configuration",
    "DestinationSection",
    "NodeConfig",
    "NodeSection",
    "ReportSection",
    "RequestorSection",
    "RoutesConfig",
    "Rule",
    "SRClass",
    "SeriesSection",
    "load_configuration",
    "load_rules",
]
