"""ResNet-50 for one grey channel, in torch alone (He et al., Deep Residual Learning, CVPR 2016).

Its modules are named as those of torchvision's network within torchxrayvision's, whose weights it takes, and
compute the same numbers bit by bit.
"""

from __future__ import annotations

from torch import nn

from mcads_node.architectures.bottleneck import EXPANSION, layer
from mcads_node.architectures.network import Network

_STEM = 64
#: blocks and channels of each layer, table 1 of the paper
_LAYERS = ((3, 64), (4, 128), (6, 256), (3, 512))


def resnet50(outputs: int) -> Network:
    """Build the network, with weights that mean nothing yet.

    Parameters
    ----------
    outputs
        Number of the model's outputs, at least 1.
    """
    module = ResNet50(outputs)
    stem = (module.conv1, module.bn1, nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1))
    layers = (module.get_submodule(f"layer{number}") for number in range(1, len(_LAYERS) + 1))
    return Network(module=module, features=nn.Sequential(*stem, *layers), head=module.fc)


class ResNet50(nn.Module):
    """Holds the layers, `layer1` to `layer4` between its stem and the linear `fc`.

    Parameters
    ----------
    outputs
        How many labels it has a logit for.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _STEM, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        inputs = _STEM
        for number, (blocks, channels) in enumerate(_LAYERS, start=1):
            self.add_module(f"layer{number}", layer(inputs, channels, blocks, stride=1 if number == 1 else 2))
            inputs = channels * EXPANSION
        self.fc = nn.Linear(inputs, outputs)
