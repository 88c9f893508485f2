"""torch, eager: what every other engine is compared with, and the only one that has gradients."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mcads_node.architectures import ARCHITECTURES, Network
from mcads_node.architectures.device import device_named
from mcads_node.architectures.filling import fill
from mcads_node.engine.base import EngineSettings
from mcads_node.errors import ModelUnusable
from mcads_node.model_store.manifest import Manifest
from mcads_node.model_store.store import VerifiedWeights


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
    """

    precision = "f32"

    def __init__(self, model: str, network: Network, device: torch.device) -> None:
        self._model = model
        self._network = network
        self._device = device

    @property
    def described(self) -> str:
        """Version and device."""
        return f"torch {torch.__version__}, {self._device}"

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network once, without a graph."""
        try:
            with torch.no_grad():
                feature_map = self._network.features(torch.from_numpy(batch).to(self._device))
                logits = self._network.head(feature_map.mean(dim=(2, 3)))
                return feature_map.cpu().numpy(), logits.cpu().numpy()
        except RuntimeError as error:
            raise ModelUnusable(f"model {self._model}: {self._device} failed: {error}") from error

    def network(self) -> Network:
        """Give the network that computes."""
        return self._network


def open_torch(manifest: Manifest, weights: VerifiedWeights, settings: EngineSettings) -> TorchEngine:
    """Load a network, and run it once so that its first radiograph is not slower.

    Raises
    ------
    ModelUnusable
        The weights do not fit the network, or there is no such device.
    """
    device = device_named(settings.device)
    engine = TorchEngine(manifest.name, load_network(manifest, weights, device, settings.threads), device)
    engine.forward(np.zeros((1, 1, manifest.input.size, manifest.input.size), dtype=np.float32))
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
