"""An autoencoder, loaded and verified: how well it makes a radiograph anew."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mcads_node.architectures import AUTOENCODERS
from mcads_node.architectures.device import device_named
from mcads_node.architectures.filling import fill
from mcads_node.errors import ModelUnusable
from mcads_node.model_store.manifest import AutoencoderManifest
from mcads_node.model_store.store import ModelStore
from mcads_node.resample import geometry_for, model_input


class Reconstructor:
    """Makes images anew; made by `load_reconstructor`.

    Parameters
    ----------
    manifest
        Of the model.
    network
        In evaluation mode, on `device`: a batch → a batch.
    device
        Where it computes.
    """

    def __init__(self, manifest: AutoencoderManifest, network: torch.nn.Module, device: torch.device) -> None:
        self.manifest = manifest
        self._network = network
        self._device = device

    def error_of(self, pixels: NDArray[np.float32]) -> float:
        """Give the mean absolute difference between a radiograph and what is made of it.

        Parameters
        ----------
        pixels
            float32, rows × columns, −1024…1024.

        Returns
        -------
        float
            A share of the whole range of values: 0 is none.

        Raises
        ------
        ModelUnusable
            The device failed, or the network gave values that are not finite.
        """
        seen = self.manifest.input
        rows, columns = pixels.shape
        batch = torch.from_numpy(model_input(pixels, geometry_for(rows, columns, seen.size)))[None, None]
        try:
            with torch.inference_mode():
                anew = self._network(batch.to(self._device)).cpu()
        except RuntimeError as error:
            raise ModelUnusable(f"model {self.manifest.name}: {self._device} failed: {error}") from error
        difference = float((anew - batch).abs().mean()) / (seen.high - seen.low)
        if not np.isfinite(difference):
            raise ModelUnusable(f"model {self.manifest.name}: expected finite outputs, found others")
        return difference


def load_reconstructor(store: ModelStore, name: str, device: str = "auto") -> Reconstructor:
    """Load autoencoder `name`, and verify its weights.

    Parameters
    ----------
    store
        Where the models are.
    name
        Name of the model.
    device
        ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    ModelUnusable
        It is no autoencoder; its weights are absent, not the pinned ones, or do not fit the network; or there
        is no such device.
    ConfigError
        The manifest is not as it should be.
    """
    manifest, weights, where = store.autoencoder(name), store.read(name), device_named(device)
    network = AUTOENCODERS[manifest.architecture]()
    fill(network, weights.data, name, manifest.architecture)
    return Reconstructor(manifest, network.to(where), where)
