"""torch, eager: what every other engine is compared with, and the only one that has gradients."""

from __future__ import annotations

import copy
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcads_node.architectures import ARCHITECTURES, Network
from mcads_node.architectures.device import device_named
from mcads_node.architectures.filling import fill
from mcads_node.engine.acceptance import lower_or_exact
from mcads_node.engine.base import Engine, EngineSettings
from mcads_node.errors import ModelUnusable
from mcads_node.model_store.manifest import Manifest
from mcads_node.model_store.store import VerifiedWeights

#: by type of device, what is tried where a lower precision than float32 is welcome. On processors bfloat16
#: is refused by every network tried, and float16 takes four times as long as float32
LOWER: Final = {"cuda": torch.float16}
_NAMES: Final = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


class TorchEngine:
    """An `Engine` of torch.

    Parameters
    ----------
    model
        Its name, for errors.
    network
        In evaluation mode, on `device`.
    device
        Where it computes.
    dtype
        In which its feature map is computed; a lower one than float32 by autocast, channels last.
    """

    def __init__(
        self, model: str, network: Network, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.precision = _NAMES[dtype]
        self._model = model
        self._network = network
        self._device = device
        self._dtype = dtype
        self._features = network.features if dtype is torch.float32 else _lowered(network.features, dtype)

    @property
    def described(self) -> str:
        """Version, device and precision."""
        return f"torch {torch.__version__}, {self._device}, {self.precision}"

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network once, without a graph."""
        try:
            with torch.no_grad():
                feature_map = self._feature_map(torch.from_numpy(batch).to(self._device))
                # in float32 always: so small a layer gains nothing from less
                logits = self._network.head(feature_map.mean(dim=(2, 3)))
                return feature_map.cpu().numpy(), logits.cpu().numpy()
        except RuntimeError as error:
            raise ModelUnusable(f"model {self._model}: {self._device} failed: {error}") from error

    def _feature_map(self, images: Tensor) -> Tensor:
        if self._dtype is torch.float32:
            plain: Tensor = self._features(images)
            return plain
        # the layers follow the format of what they are given
        with torch.autocast(self._device.type, self._dtype):
            lower: Tensor = self._features(images.to(memory_format=torch.channels_last))
        return lower.to(torch.float32, memory_format=torch.contiguous_format)

    def network(self) -> Network:
        """Give the network in float32, whatever this engine computes in."""
        return self._network

    def lowered(self, dtype: torch.dtype) -> TorchEngine:
        """Give the same network in another precision."""
        return TorchEngine(self._model, self._network, self._device, dtype)


def open_torch(manifest: Manifest, weights: VerifiedWeights, settings: EngineSettings) -> Engine:
    """Load a network, and run it once so that its first radiograph is not slower.

    Where a lower precision is welcome and may be quicker, it is compared with float32 and one of them given.

    Raises
    ------
    ModelUnusable
        The weights do not fit the network, or there is no such device.
    """
    device = device_named(settings.device)
    engine = TorchEngine(manifest.name, load_network(manifest, weights, device, settings.threads), device)
    engine.forward(np.zeros((1, 1, manifest.input.size, manifest.input.size), dtype=np.float32))
    if settings.precision == "auto" and device.type in LOWER:
        return lower_or_exact(manifest, engine, engine.lowered(LOWER[device.type]))
    return engine


def load_network(
    manifest: Manifest, weights: VerifiedWeights, device: torch.device, threads: int | None
) -> Network:
    """Build the network of a manifest, with its weights; in evaluation mode, without gradients of weights.

    Raises
    ------
    ModelUnusable
        The weights do not fit the network.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    network = ARCHITECTURES[manifest.architecture](len(manifest.outputs))
    fill(network.module, weights.data, manifest.name, manifest.architecture)
    # torchxrayvision's own memory format: channels-last rounds otherwise, and moved heatmaps by 1e-5
    network.module.to(device)
    return network


def _lowered(features: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy layers, with the weights of convolutions as autocast would have to make them for every run.

    All else stays in float32: variances of the first normalisation are beyond float16's range.
    """
    lowered = copy.deepcopy(features)
    for each in lowered.modules():
        if isinstance(each, nn.Conv2d):
            each.to(dtype).to(memory_format=torch.channels_last)
    return lowered
