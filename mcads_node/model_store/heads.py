"""Where a weights file holds its network's linear head: what Grad-CAM needs, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from mcads_node.errors import ModelUnusable
from mcads_node.model_store.manifest import Manifest
from mcads_node.model_store.store import VerifiedWeights

#: name of the head's module, by the architecture's
HEADS: Final[Mapping[str, str]] = MappingProxyType(
    {"densenet121": "classifier", "efficientnet-lite0": "head", "resnet50": "fc"}
)


def head_weights(manifest: Manifest, weights: VerifiedWeights) -> NDArray[np.float32]:
    """Read the weights of the linear head.

    Returns
    -------
    ndarray of float32, outputs × K
        K channels of the feature map.

    Raises
    ------
    ModelUnusable
        They are not there, or not of as many outputs as the manifest's.
    """
    name = f"{HEADS[manifest.architecture]}.weight"
    try:
        head = load(weights.data)[name].astype(np.float32)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelUnusable(_misfit(manifest, f"no {name}")) from error
    if head.ndim != 2 or len(head) != len(manifest.outputs):
        raise ModelUnusable(_misfit(manifest, f"{name} of {' × '.join(map(str, head.shape))}"))
    return head


def _misfit(manifest: Manifest, found: str) -> str:
    return (
        f"model {manifest.name}: its weights do not fit the architecture {manifest.architecture} with "
        f"{len(manifest.outputs)} outputs: {found}"
    )
