"""The networks a manifest may name, each built for a number of outputs. With classifier the home of torch.

Another architecture is a module of its own, one line here, and its name in `Manifest.architecture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from mcads_node.architectures.densenet121 import densenet121
from mcads_node.architectures.efficientnet_lite0 import efficientnet_lite0
from mcads_node.architectures.network import Network

__all__ = ["ARCHITECTURES", "Network"]

#: by the name in the manifest
ARCHITECTURES: Final[Mapping[str, Callable[[int], Network]]] = MappingProxyType(
    {
        "densenet121": densenet121,
        "efficientnet-lite0": efficientnet_lite0,
    }
)
