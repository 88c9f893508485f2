"""torchxrayvision's autoencoder, 101-elastic: a residual network and its mirror (Cohen et al., MIDL 2021).

Its modules are named as those of ``torchxrayvision.autoencoders.ResNetAE101``, whose weights it takes, and
compute the same numbers bit by bit. Sizes within are those of an input of 224 × 224.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from mcads_node.architectures.bottleneck import EXPANSION, layer

_STEM: Final = 64
#: blocks, channels and stride of each layer on the way in
_DOWN: Final = ((3, 64, 1), (4, 128, 2), (23, 256, 2), (2, 128, 6))
#: … and on the way out
_UP: Final = ((2, 128, 6), (23, 64, 2), (4, 32, 2), (3, 16, 2))
#: channels a block of the way out gives, for each that it computes with: in between, and last in its layer
_WIDE, _NARROW = 4, 2


class ResNetAE101(nn.Module):
    """Encodes a radiograph to 512 × 3 × 3 numbers, and decodes them to a radiograph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _STEM, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = _STEM
        for number, (blocks, middle, stride) in enumerate(_DOWN, start=1):
            self.add_module(f"layer{number}", layer(channels, middle, blocks, stride, rectified=True))
            channels = middle * EXPANSION
        for number, (blocks, middle, stride) in enumerate(_UP, start=1):
            self.add_module(f"uplayer{number}", _up_layer(channels, middle, blocks, stride))
            channels = middle * _NARROW
        self.uplayer_top = _UpBlock(channels, _STEM, 1, stride=2)
        self.conv1_1 = nn.ConvTranspose2d(_STEM, 1, kernel_size=1, bias=False)

    def forward(self, batch: Tensor) -> Tensor:
        """Give what is left of a batch (float32, N × 1 × 224 × 224, −1024…1024) after its way through."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(batch))))
        for way in ("layer", "uplayer"):
            for number in range(1, 5):
                maps = self.get_submodule(f"{way}{number}")(maps)
        restored: Tensor = self.conv1_1(self.uplayer_top(maps), output_size=batch.shape)
        return restored


class _UpBlock(nn.Module):
    """A bottleneck that may enlarge its maps by a transposed convolution."""

    def __init__(self, inputs: int, channels: int, expansion: int, stride: int = 1) -> None:
        super().__init__()
        outputs = channels * expansion
        self.conv1 = nn.Conv2d(inputs, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.upsample = _enlarge(inputs, outputs, stride) if stride > 1 or inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        result = self.relu(self.bn1(self.conv1(maps)))
        result = self.relu(self.bn2(self.conv2(result)))
        result = self.relu(self.bn3(self.conv3(result)))
        result += maps if self.upsample is None else self.upsample(maps)
        rectified: Tensor = self.relu(result)
        return rectified


def _up_layer(inputs: int, channels: int, blocks: int, stride: int) -> nn.Module:
    made = [_UpBlock(inputs, channels, _WIDE) for _ in range(blocks - 1)]
    return nn.Sequential(*made, _UpBlock(inputs, channels, _NARROW, stride))


def _convolution(channels: int, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
    return nn.ConvTranspose2d(
        channels, channels, kernel_size=3, stride=stride, padding=1, output_padding=1, bias=False
    )


def _enlarge(inputs: int, outputs: int, stride: int) -> nn.Module:
    larger = nn.ConvTranspose2d(inputs, outputs, kernel_size=1, stride=stride, output_padding=1, bias=False)
    return nn.Sequential(larger, nn.BatchNorm2d(outputs))
