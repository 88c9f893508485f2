"""PSPNet on a dilated ResNet-101: a logit for each pixel and structure (Zhao et al., CVPR 2017).

Its modules are named as those of torchxrayvision's ``baseline_models.chestx_det.PSPNet``, whose weights it
takes. What that network has for training alone, an auxiliary head and dropout, is left out.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

#: of the three channels that a grey one is repeated into: the network began with ImageNet's weights
_MEAN: Final = (0.485, 0.456, 0.406)
_SPREAD: Final = (0.229, 0.224, 0.225)
#: cells along one side of each level of the pyramid
_PYRAMID: Final = (6, 3, 2, 1)


class PSPNet(nn.Module):
    """Segments a square of side S, of which S / 8 is at least 6.

    Parameters
    ----------
    structures
        How many structures it has a logit for, which may overlap.
    """

    def __init__(self, structures: int) -> None:
        super().__init__()
        self.convbnrelu1_1 = _Rectified(3, 64, kernel=3, stride=2)
        self.convbnrelu1_2 = _Rectified(64, 64, kernel=3)
        self.convbnrelu1_3 = _Rectified(64, 128, kernel=3)
        self.res_block2 = _Residual(3, (128, 64, 256))
        self.res_block3 = _Residual(4, (256, 128, 512), stride=2)
        self.res_block4 = _Residual(23, (512, 256, 1024), dilation=2)
        self.res_block5 = _Residual(3, (1024, 512, 2048), dilation=4)
        self.pyramid_pooling = _PyramidPooling(2048)
        self.cbr_final = _Rectified(4096, 512, kernel=3)
        self.classification = nn.Conv2d(512, structures, kernel_size=1)
        self.register_buffer("_mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("_spread", torch.tensor(_SPREAD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, batch: Tensor) -> Tensor:
        """Logits (N × structures × S × S) of a batch (float32, N × 1 × S × S, −1024…1024)."""
        size = batch.shape[2:]
        maps = (batch.repeat(1, 3, 1, 1) + 1024) / 2048
        maps = (maps - self.get_buffer("_mean")) / self.get_buffer("_spread")
        maps = self.convbnrelu1_3(self.convbnrelu1_2(self.convbnrelu1_1(maps)))
        maps = functional.max_pool2d(maps, 3, 2, 1)
        maps = self.res_block3(self.res_block2(maps))
        maps = self.res_block5(self.res_block4(maps))
        maps = self.classification(self.cbr_final(self.pyramid_pooling(maps)))
        return functional.interpolate(maps, size=size, mode="bilinear")


class _Rectified(nn.Module):
    """Convolution, BatchNorm and ReLU; only a stride changes the size of the maps."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
        self.cbr_unit = nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.cbr_unit(maps)
        return result


class _Plain(nn.Module):
    """Convolution of single pixels, and BatchNorm."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
        self.cb_unit = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.cb_unit(maps)
        return result


class _Block(nn.Module):
    """A bottleneck whose middle convolution may be dilated, and whose input may be convolved too."""

    def __init__(
        self, channels: tuple[int, int, int], *, stride: int = 1, dilation: int = 1, convolves: bool = False
    ) -> None:
        super().__init__()
        inputs, middle, outputs = channels
        self.cbr1 = _Rectified(inputs, middle)
        self.cbr2 = _Rectified(middle, middle, kernel=3, stride=stride, dilation=dilation)
        self.cb3 = _Plain(middle, outputs)
        self.cb4 = _Plain(inputs, outputs, stride=stride) if convolves else None

    def forward(self, maps: Tensor) -> Tensor:
        result = self.cb3(self.cbr2(self.cbr1(maps)))
        return functional.relu(result + (maps if self.cb4 is None else self.cb4(maps)), inplace=True)


class _Residual(nn.Module):
    """Blocks in a row; the first changes the channels."""

    def __init__(
        self, blocks: int, channels: tuple[int, int, int], *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        _, middle, outputs = channels
        made = [_Block(channels, stride=stride, dilation=dilation, convolves=True)]
        made += [_Block((outputs, middle, outputs), dilation=dilation) for _ in range(blocks - 1)]
        self.layers = nn.Sequential(*made)

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.layers(maps)
        return result


class _PyramidPooling(nn.Module):
    """Adds to the maps their means over ever larger cells (section 3.2 of the paper)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        units = [_Rectified(channels, channels // len(_PYRAMID)) for _ in _PYRAMID]
        self.path_module_list = nn.ModuleList(units)

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        levels = [maps]
        for cells, unit in zip(_PYRAMID, self.path_module_list, strict=True):
            means = unit(functional.avg_pool2d(maps, (height // cells, width // cells)))
            levels.append(functional.interpolate(means, size=(height, width), mode="bilinear"))
        return torch.cat(levels, dim=1)
