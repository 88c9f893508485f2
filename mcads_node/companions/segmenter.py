"""A segmentation model, loaded and verified: a radiograph becomes `Structures`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mcads_node.architectures import SEGMENTERS
from mcads_node.architectures.device import device_named
from mcads_node.architectures.filling import fill
from mcads_node.classifier import algorithm_of
from mcads_node.errors import ModelUnusable
from mcads_node.model_store.manifest import SegmentationManifest
from mcads_node.model_store.store import ModelStore
from mcads_node.resample import geometry_for, model_input
from mcads_node.structure import Structures


class Segmenter:
    """Finds structures; made by `load_segmenter`.

    Parameters
    ----------
    manifest
        Of the model.
    network
        In evaluation mode, on `device`: a batch → a logit for each pixel and structure.
    device
        Where it computes.
    weights_digest
        SHA-256 of its weights, hex.
    """

    def __init__(
        self,
        manifest: SegmentationManifest,
        network: torch.nn.Module,
        device: torch.device,
        weights_digest: str,
    ) -> None:
        self.manifest = manifest
        self.algorithm = algorithm_of(manifest, weights_digest)
        self._network = network
        self._device = device

    def find(self, pixels: NDArray[np.float32]) -> Structures:
        """Find the structures of one radiograph.

        Parameters
        ----------
        pixels
            float32, rows × columns, −1024…1024.

        Raises
        ------
        ModelUnusable
            The device failed, or the network gave values that are not finite.
        """
        rows, columns = pixels.shape
        geometry = geometry_for(rows, columns, self.manifest.input.size)
        batch = torch.from_numpy(model_input(pixels, geometry))[None, None]
        try:
            with torch.inference_mode():
                found = torch.sigmoid(self._network(batch.to(self._device)))[0].cpu().numpy()
        except RuntimeError as error:
            raise ModelUnusable(f"model {self.manifest.name}: {self._device} failed: {error}") from error
        if not np.isfinite(found).all():
            raise ModelUnusable(f"model {self.manifest.name}: expected finite outputs, found others")
        return Structures(
            algorithm=self.algorithm,
            probabilities=dict(zip(self.manifest.structures, found, strict=True)),
            threshold=self.manifest.threshold,
            geometry=geometry,
        )


def load_segmenter(store: ModelStore, name: str, device: str = "auto") -> Segmenter:
    """Load segmentation model `name`, and verify its weights.

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
        It is no segmentation model; its weights are absent, not the pinned ones, or do not fit the network;
        or there is no such device.
    ConfigError
        The manifest is not as it should be.
    """
    manifest, weights, where = store.segmentation(name), store.read(name), device_named(device)
    network = SEGMENTERS[manifest.architecture](manifest.width)
    fill(network, weights.data, name, manifest.architecture)
    return Segmenter(manifest, network.to(where), where, weights.digest)
