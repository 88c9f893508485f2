"""The tensors of a DenseNet-121 with one input channel: their names and shapes, and values drawn from a seed.

The names are those of torchxrayvision's ``DenseNet.state_dict()``, without ``num_batches_tracked``, which
only training uses. Pure numpy, so that weights can be made and checked where torch is not wanted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Huang et al., Densely Connected Convolutional Networks, table 1
_BLOCKS = (6, 12, 24, 16)
_GROWTH = 32
_STEM = 64
_BOTTLENECK = 4 * _GROWTH

#: standard deviation of the first convolution's output for inputs of −1024…1024, a power of two; the seeded
#: network's first BatchNorm divides by it, so that what follows works on numbers near 1
_STEM_SPREAD = 1024.0
#: a seeded head's weights are this much larger than He's rule: its logits then differ visibly between images
_HEAD_GAIN = 4.0


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


def seeded(seed: int, outputs: int) -> dict[str, NDArray[np.float32]]:
    """Draw the tensors of an untrained network; the same seed gives the same bits everywhere.

    Parameters
    ----------
    seed
        0…2³²−1.
    outputs
        Number of the model's outputs, at least 1.

    Returns
    -------
    dict
        The tensors of `layout`, float32.

    Notes
    -----
    Bits are reproducible across processors and versions: the stream of ``RandomState`` is frozen by numpy's
    compatibility policy (NEP 19), and what follows uses only operations that IEEE 754 rounds correctly
    (multiplication, square root, conversion). torch's generators promise no such thing.
    """
    stream = np.random.RandomState(seed)
    return {name: _draw(stream, name, shape) for name, shape in layout(outputs).items()}


def _norm(place: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{place}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def _draw(stream: np.random.RandomState, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    part = name.rpartition(".")[2]
    if len(shape) == 1:
        value = 1.0 if part in ("weight", "running_var") else 0.0
        if name == "features.norm0.running_var":
            value = _STEM_SPREAD**2
        return np.full(shape, value, dtype=np.float32)
    # He et al. 2015 for a uniform distribution: variance 2 / fan-in
    bound = math.sqrt(6.0 / math.prod(shape[1:]))
    if name == "classifier.weight":
        bound *= _HEAD_GAIN
    uniform = stream.random_sample(shape) * 2.0 - 1.0
    return (uniform * bound).astype(np.float32)
