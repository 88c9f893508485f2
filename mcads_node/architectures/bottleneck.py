"""The bottleneck block of deep residual networks (He et al., CVPR 2016), with the stride in its middle."""

from __future__ import annotations

from torch import Tensor, nn

#: channels that a block gives, for each that it computes with
EXPANSION = 4


class Bottleneck(nn.Module):
    """Narrow, convolve, widen, and add the input; its modules are named as torchvision's.

    Parameters
    ----------
    inputs
        Channels it is given.
    channels
        Channels it computes with; it gives `EXPANSION` times as many.
    stride
        Of its 3 × 3 convolution.
    rectified
        Whether what is added to the input has been through a ReLU of its own, as in torchxrayvision's
        autoencoder.
    """

    def __init__(self, inputs: int, channels: int, stride: int = 1, *, rectified: bool = False) -> None:
        super().__init__()
        outputs = channels * EXPANSION
        self.conv1 = nn.Conv2d(inputs, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride) if stride > 1 or inputs != outputs else None
        self._rectified = rectified

    def forward(self, batch: Tensor) -> Tensor:
        """Give maps of a batch's maps."""
        result = self.relu(self.bn1(self.conv1(batch)))
        result = self.relu(self.bn2(self.conv2(result)))
        result = self.bn3(self.conv3(result))
        if self._rectified:
            result = self.relu(result)
        result += batch if self.downsample is None else self.downsample(batch)
        rectified: Tensor = self.relu(result)
        return rectified


def layer(inputs: int, channels: int, blocks: int, stride: int = 1, *, rectified: bool = False) -> nn.Module:
    """Put blocks in a row; the first has the stride."""
    outputs = channels * EXPANSION
    made = [Bottleneck(inputs, channels, stride, rectified=rectified)]
    made += [Bottleneck(outputs, channels, rectified=rectified) for _ in range(blocks - 1)]
    return nn.Sequential(*made)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
