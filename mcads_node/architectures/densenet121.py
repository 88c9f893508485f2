"""DenseNet-121 for one grey channel, in torch alone (Huang et al., Densely Connected Convolutional Networks).

Its modules are named as torchxrayvision's, whose weights it takes, and compute the same numbers bit by bit.
To import torchxrayvision for these few lines would bring torchvision, torch's compiler and pandas into every
worker: three of the seven seconds, and a quarter of the memory, that one needs to start (measured).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn

from mcads_node.architectures.network import Network

#: layers of each block, table 1 of the paper
_BLOCKS: Final = (6, 12, 24, 16)
_GROWTH: Final = 32
_STEM: Final = 64
_BOTTLENECK: Final = 4 * _GROWTH


def densenet121(outputs: int) -> Network:
    """Build the network, with weights that mean nothing yet.

    Parameters
    ----------
    outputs
        Number of the model's outputs, at least 1.
    """
    module = DenseNet(outputs)
    return Network(
        module=module, features=nn.Sequential(module.features, nn.ReLU(inplace=True)), head=module.classifier
    )


class DenseNet(nn.Module):
    """The network: `features` up to the last convolutional map before its ReLU, and the linear `classifier`.

    Parameters
    ----------
    outputs
        How many labels it has a logit for.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        stem = [
            ("conv0", nn.Conv2d(1, _STEM, kernel_size=7, stride=2, padding=3, bias=False)),
            ("norm0", nn.BatchNorm2d(_STEM)),
            ("relu0", nn.ReLU(inplace=True)),
            ("pool0", nn.MaxPool2d(kernel_size=3, stride=2, padding=1)),
        ]
        self.features = nn.Sequential(OrderedDict[str, nn.Module](stem))
        channels = _STEM
        for number, layers in enumerate(_BLOCKS, start=1):
            self.features.add_module(f"denseblock{number}", _block(channels, layers))
            channels += layers * _GROWTH
            if number < len(_BLOCKS):
                self.features.add_module(f"transition{number}", _transition(channels))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, outputs)


class _DenseLayer(nn.Sequential):
    """Adds maps to those it is given."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            OrderedDict[str, nn.Module](
                norm1=nn.BatchNorm2d(channels),
                relu1=nn.ReLU(inplace=True),
                conv1=nn.Conv2d(channels, _BOTTLENECK, kernel_size=1, bias=False),
                norm2=nn.BatchNorm2d(_BOTTLENECK),
                relu2=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(_BOTTLENECK, _GROWTH, kernel_size=3, padding=1, bias=False),
            )
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Give the maps, and behind them the new ones."""
        added: Tensor = super().forward(maps)  # type: ignore[no-untyped-call]
        return torch.cat([maps, added], 1)


def _block(channels: int, layers: int) -> nn.Sequential:
    made = {f"denselayer{n + 1}": _DenseLayer(channels + n * _GROWTH) for n in range(layers)}
    return nn.Sequential(OrderedDict[str, nn.Module](made))


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(channels, channels // 2, kernel_size=1, bias=False),
            pool=nn.AvgPool2d(kernel_size=2, stride=2),
        )
    )
