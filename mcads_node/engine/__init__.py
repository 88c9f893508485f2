"""What computes a network: torch, or OpenVINO. With architectures the home of both.

::

    weights (verified) ──► torch ───────────────────────────► feature map, logits
                      └──► OpenVINO ◄── conversion, compared ──► feature map, logits

Both give the same two things, so that nothing after them knows which it was. torch is imported only where it
computes: by its own engine, by the conversion (a process of its own, once for weights and version), and by
explanations that need gradients.
"""

from __future__ import annotations

import sys

from mcads_node.engine.base import Engine, EngineName, EngineSettings, PrecisionName
from mcads_node.engine.choice import open_engine

__all__ = ["Engine", "EngineName", "EngineSettings", "PrecisionName", "open_engine"]

# OpenVINO reports every import and conversion to its maker, by way of this module where it is there: a node
# speaks only with those whom its configuration names. Only modules below this one import OpenVINO, so later.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
