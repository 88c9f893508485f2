"""A site's calibration: from a model's scores to probabilities that hold for the site's own images."""

from mcads_node.calibration.calibration import (
    CalibratedModel,
    Calibration,
    Interval,
    LabelCalibration,
    Method,
    Provenance,
    Unsealed,
    calibration_for,
)
from mcads_node.calibration.curve import Curve, IsotonicCurve, LogisticCurve, raw_output
from mcads_node.calibration.file import read_calibration, write_calibration

__all__ = [
    "CalibratedModel",
    "Calibration",
    "Curve",
    "Interval",
    "IsotonicCurve",
    "LabelCalibration",
    "LogisticCurve",
    "Method",
    "Provenance",
    "Unsealed",
    "calibration_for",
    "raw_output",
    "read_calibration",
    "write_calibration",
]
