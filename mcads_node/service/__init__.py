"""The node as a whole: what a configuration stands for, how its parts start and stop, and running it."""

from mcads_node.service.configured import (
    calibration_faults,
    calibrations_of,
    caller_of,
    check_model,
    check_models,
    companions_of,
    destination_address,
    disk_guard_of,
    labels_of,
    load,
    model_store,
    models_of,
    tls_of,
)
from mcads_node.service.node import Node
from mcads_node.service.roles import ALL_ROLES, Role, holder_of
from mcads_node.service.serve import serve
from mcads_node.service.sharing import Share, compute_with, processors, tuning_of
from mcads_node.service.watch import limits_of, monitoring_port

__all__ = [
    "ALL_ROLES",
    "Node",
    "Role",
    "Share",
    "calibration_faults",
    "calibrations_of",
    "caller_of",
    "check_model",
    "check_models",
    "companions_of",
    "compute_with",
    "destination_address",
    "disk_guard_of",
    "holder_of",
    "labels_of",
    "limits_of",
    "load",
    "model_store",
    "models_of",
    "monitoring_port",
    "processors",
    "serve",
    "tls_of",
    "tuning_of",
]
