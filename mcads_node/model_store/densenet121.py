"""The tensors of a DenseNet-121 with one input channel: their names and shapes.

The names are those of torchxrayvision's ``DenseNet.state_dict()``, without ``num_batches_tracked``, which
only training uses.
"""

from __future__ import annotations

#: Huang et al., Densely Connected Convolutional Networks, table 1
_BLOCKS = (6, 12, 24, 16)
_GROWTH = 32
_STEM = 64
_BOTTLENECK = 4 * _GROWTH


def layout(outputs: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, in the order of the forward pass.

    Parameters
    ----------
    outputs
        Number of the model's outputs, at least 1.

    Returns
    -------
    dict
        606 tensors, all float32.
    """
    shapes: dict[str, tuple[int, ...]] = {"features.conv0.weight": (_STEM, 1, 7, 7)}
    shapes |= _norm("features.norm0", _STEM)
    channels = _STEM
    for block, layers in enumerate(_BLOCKS, start=1):
        for layer in range(1, layers + 1):
            place = f"features.denseblock{block}.denselayer{layer}"
            shapes |= _norm(f"{place}.norm1", channels)
            shapes[f"{place}.conv1.weight"] = (_BOTTLENECK, channels, 1, 1)
            shapes |= _norm(f"{place}.norm2", _BOTTLENECK)
            shapes[f"{place}.conv2.weight"] = (_GROWTH, _BOTTLENECK, 3, 3)
            channels += _GROWTH
        if block < len(_BLOCKS):
            place = f"features.transition{block}"
            shapes |= _norm(f"{place}.norm", channels)
            shapes[f"{place}.conv.weight"] = (channels // 2, channels, 1, 1)
            channels //= 2
    shapes |= _norm("features.norm5", channels)
    return shapes | {"classifier.weight": (outputs, channels), "classifier.bias": (outputs,)}


def _norm(place: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{place}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
