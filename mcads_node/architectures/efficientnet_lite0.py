"""EfficientNet-Lite0 with one input channel: a small network that is quick on a CPU.

MobileNetV2's inverted residual blocks (Sandler et al., CVPR 2018) in the proportions of EfficientNet-B0 (Tan
and Le, ICML 2019), without squeeze-and-excitation and with ReLU6: the Lite variant. Padding is TensorFlow's
``SAME``, as the network was trained with: where a stride leaves an odd pixel, it is added below and right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mcads_node.architectures.network import Network

#: TensorFlow's own for this family; its ``batch_norm_momentum`` 0.99 is torch's 0.01
_EPSILON, _MOMENTUM = 1e-3, 0.01
_STEM, _TOP = 32, 1280


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Blocks of one kind, in a row; only the first may shrink the map or widen it."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    _Stage(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    _Stage(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    _Stage(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    _Stage(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    _Stage(blocks=4, kernel=5, stride=2, expansion=6, channels=192),
    _Stage(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)


def efficientnet_lite0(outputs: int) -> Network:
    """Build the network, with weights that mean nothing yet.

    Parameters
    ----------
    outputs
        Number of the model's outputs, at least 1.
    """
    # channels last: twice as fast on a CPU, depthwise convolutions most of all
    module = EfficientNetLite0(outputs).to(memory_format=torch.channels_last)
    return Network(module=module, features=module.features, head=module.head)


class EfficientNetLite0(nn.Module):
    """Feature map, global average pooling, linear head.

    Parameters
    ----------
    outputs
        Number of the model's outputs, at least 1.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(1, _STEM, kernel=3, stride=2)]
        channels = _STEM
        for stage in _STAGES:
            for block in range(stage.blocks):
                layers.append(_Block(stage, channels, stage.stride if block == 0 else 1))
                channels = stage.channels
        layers.append(_convolution(channels, _TOP))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(_TOP, outputs)

    def forward(self, batch: Tensor) -> Tensor:
        """Logits (N × outputs) of a batch (float32, N × 1 × S × S)."""
        feature_map: Tensor = self.features(batch)
        logits: Tensor = self.head(feature_map.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    """Widen, convolve each channel by itself, narrow; add the input where the shapes are equal."""

    def __init__(self, stage: _Stage, inputs: int, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        layers = [] if stage.expansion == 1 else [_convolution(inputs, wide)]
        layers.append(_convolution(wide, wide, kernel=stage.kernel, stride=stride, groups=wide))
        layers.append(_convolution(wide, stage.channels, activate=False))
        self.layers = nn.Sequential(*layers)
        self._adds = stride == 1 and inputs == stage.channels

    def forward(self, batch: Tensor) -> Tensor:
        result: Tensor = self.layers(batch)
        return result + batch if self._adds else result


class _SamePadding(nn.Conv2d):
    """A convolution of stride 2 whose output has half the input's size, rounded up."""

    def forward(self, batch: Tensor) -> Tensor:
        padding: list[int] = []
        for size, kernel, stride in zip(batch.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(batch, padding))


def _convolution(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, activate: bool = True
) -> nn.Sequential:
    """Convolution, BatchNorm and, where wanted, ReLU6."""
    if stride == 1:
        layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    else:
        layer = _SamePadding(inputs, outputs, kernel, stride, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs, eps=_EPSILON, momentum=_MOMENTUM)
    return nn.Sequential(layer, norm, nn.ReLU6(inplace=True)) if activate else nn.Sequential(layer, norm)
