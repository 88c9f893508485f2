"""Drift: whether a model's scores are still distributed as they were, by device and week."""

from mcads_node.drift.measuring import (
    ALL_DEVICES,
    DriftPolicy,
    LabelDrift,
    Measured,
    WeekDrift,
    measure,
)

__all__ = ["ALL_DEVICES", "DriftPolicy", "LabelDrift", "Measured", "WeekDrift", "measure"]
