"""DenseNet-121 with one input channel: torchxrayvision's, without its downloads and its way of running."""

from __future__ import annotations

import warnings

from torch import nn

from mcads_node.architectures.network import Network

with warnings.catch_warnings():
    # importing torchxrayvision silences every warning of the process; here that ends with this block
    warnings.simplefilter("ignore")
    from torchxrayvision.models import DenseNet


def densenet121(outputs: int) -> Network:
    """Build the network, with weights that mean nothing yet.

    Parameters
    ----------
    outputs
        Number of the model's outputs, at least 1.
    """
    module = DenseNet(num_classes=outputs, weights=None)
    return Network(
        module=module, features=nn.Sequential(module.features, nn.ReLU(inplace=True)), head=module.classifier
    )
