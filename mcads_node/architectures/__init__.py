"""The networks a manifest may name. With classifier and companions the home of torch.

Another architecture is a module of its own, one line here, and its name in the manifest of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import nn

from mcads_node.architectures.densenet121 import densenet121
from mcads_node.architectures.efficientnet_lite0 import efficientnet_lite0
from mcads_node.architectures.network import Network
from mcads_node.architectures.pspnet import PSPNet
from mcads_node.architectures.resnet50 import resnet50
from mcads_node.architectures.resnet_ae101 import ResNetAE101

__all__ = ["ARCHITECTURES", "AUTOENCODERS", "SEGMENTERS", "Network", "layout"]

#: of classifiers, by the name in the manifest, built for a number of outputs
ARCHITECTURES: Final[Mapping[str, Callable[[int], Network]]] = MappingProxyType(
    {
        "densenet121": densenet121,
        "efficientnet-lite0": efficientnet_lite0,
        "resnet50": resnet50,
    }
)
#: of segmentation models, built for a number of structures: a batch → a logit for each pixel and structure
SEGMENTERS: Final[Mapping[str, Callable[[int], nn.Module]]] = MappingProxyType({"pspnet": PSPNet})
#: of autoencoders: a batch → a batch
AUTOENCODERS: Final[Mapping[str, Callable[[], nn.Module]]] = MappingProxyType({"resnet-ae101": ResNetAE101})


def layout(architecture: str, outputs: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a network that classifying needs; all float32.

    Parameters
    ----------
    architecture
        As the manifest names it.
    outputs
        Number of the model's outputs; an autoencoder has none.

    Raises
    ------
    KeyError
        There is no such architecture.
    """
    with torch.device("meta"):
        module = _module(architecture, outputs)
    return {
        name: tuple(tensor.shape)
        for name, tensor in module.state_dict().items()
        # only training counts batches
        if not name.endswith(".num_batches_tracked")
    }


def _module(architecture: str, outputs: int) -> nn.Module:
    if architecture in ARCHITECTURES:
        return ARCHITECTURES[architecture](outputs).module
    if architecture in SEGMENTERS:
        return SEGMENTERS[architecture](outputs)
    return AUTOENCODERS[architecture]()
