"""A model's folder becomes a warm, verified classifier. With architectures the home of torch.

The network comes from `architectures`, by the name in the manifest; its weights from the `ModelStore`,
verified.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass

import torch
from torch import Tensor

from mcads_node import __version__
from mcads_node.architectures import ARCHITECTURES, Network
from mcads_node.architectures.device import device_named
from mcads_node.architectures.filling import fill
from mcads_node.calibration import Calibration
from mcads_node.errors import ModelUnusable
from mcads_node.finding import Algorithm, Finding
from mcads_node.model_store.manifest import Manifest, ModelManifest
from mcads_node.model_store.store import ModelStore

#: names the Device UIDs of models; never changed, or the same model would be another device
_NAMESPACE = uuid.UUID("6f1d9a52-7c0e-5b7e-9a53-2d3c5ad0a1f4")


@dataclass(frozen=True, kw_only=True, eq=False)
class Inference:
    """What one run of the network on one radiograph gave: infer makes it, explain uses it."""

    #: one per label of the model, in its order
    findings: tuple[Finding, ...]
    #: float32, 1 × K × h × w, on the classifier's device: kept so that explaining needs no second run
    feature_map: Tensor


class Classifier:
    """One model, loaded and ready; made by `load_classifier`.

    Parameters
    ----------
    manifest
        Of the model.
    network
        In evaluation mode, on `device`.
    device
        Where it computes.
    weights_digest
        SHA-256 of its weights, hex.
    """

    def __init__(
        self,
        manifest: Manifest,
        network: Network,
        device: torch.device,
        weights_digest: str,
    ) -> None:
        self.manifest = manifest
        self.device = device
        #: of a site; None: scores stay scores
        self.calibration: Calibration | None = None
        self.algorithm = algorithm_of(manifest, weights_digest)
        self._network = network
        #: one per output, NaN where the output is not used
        self.operating_points = torch.tensor(manifest.operating_points, dtype=torch.float32, device=device)

    def speaking_through(self, calibration: Calibration | None) -> Classifier:
        """Give the same network with a site's calibration; with None, itself.

        Raises
        ------
        ModelUnusable
            The calibration is for another model.
        """
        if calibration is None:
            return self
        refusal = calibration.refusal(self.manifest, self.algorithm.weights_digest)
        if refusal:
            raise ModelUnusable(f"calibration of {calibration.site}: {refusal}")
        spoken = copy.copy(self)
        spoken.calibration = calibration
        spoken.algorithm = calibration.speak_through(self.algorithm)
        return spoken

    @property
    def input_size(self) -> int:
        """Side of the square the network sees, in pixels."""
        return self.manifest.input.size

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network once, without a graph.

        Parameters
        ----------
        batch
            float32, N × 1 × S × S, in the manifest's range (−1024…1024).

        Returns
        -------
        feature_map : torch.Tensor
            float32, N × K × h × w, ≥ 0: the last convolutional map after its ReLU or ReLU6, just what `head`
            reads.
        logits : torch.Tensor
            float32, N × outputs, before the sigmoid.

        Raises
        ------
        ModelUnusable
            The device failed, or has not enough memory.
        """
        try:
            with torch.no_grad():
                feature_map = self._network.features(batch.to(self.device))
                return feature_map, self.head(feature_map)
        except RuntimeError as error:
            raise ModelUnusable(f"model {self.manifest.name}: {self.device} failed: {error}") from error

    def logits(self, batch: Tensor) -> Tensor:
        """Logits of a batch, with a graph back to it where it asks for one; the weights never have one.

        Parameters
        ----------
        batch
            float32, N × 1 × S × S, on `device`.

        Returns
        -------
        torch.Tensor
            float32, N × outputs.
        """
        return self.head(self._network.features(batch))

    def head(self, feature_map: Tensor) -> Tensor:
        """Logits of a feature map: global average pooling and the linear layer; differentiable.

        Parameters
        ----------
        feature_map
            float32, N × K × h × w, as `forward` gives it.

        Returns
        -------
        torch.Tensor
            float32, N × outputs.
        """
        logits: Tensor = self._network.head(feature_map.mean(dim=(2, 3)))
        return logits


def load_classifier(
    store: ModelStore,
    name: str,
    device: str = "auto",
    threads: int | None = None,
    calibration: Calibration | None = None,
) -> Classifier:
    """Load model `name`, verify its weights, and run it once so that its first radiograph is not slower.

    Parameters
    ----------
    store
        Where the models are.
    name
        Name of the model.
    device
        ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    threads
        Threads of one run on the CPU, for the whole process; None: torch's own choice.
    calibration
        Of the site; None: scores stay scores.

    Raises
    ------
    ModelUnusable
        The weights are absent, not the pinned ones, or do not fit the network; there is no such device; or
        the calibration is for another model.
    ConfigError
        The manifest is not as it should be.
    """
    manifest = store.manifest(name)
    weights = store.read(name)
    where = device_named(device)
    if threads is not None:
        torch.set_num_threads(threads)
    network = ARCHITECTURES[manifest.architecture](len(manifest.outputs))
    fill(network.module, weights.data, name, manifest.architecture)
    # torchxrayvision's own memory format: channels-last rounds otherwise, and moved heatmaps by 1e-5
    network.module.to(where)
    classifier = Classifier(manifest, network, where, weights.digest)
    classifier.forward(torch.zeros(1, 1, classifier.input_size, classifier.input_size))
    return classifier.speaking_through(calibration)


def algorithm_of(manifest: ModelManifest, weights_digest: str) -> Algorithm:
    """Name a model in this version, with these weights."""
    version = f"{__version__}+{manifest.version}"
    device = uuid.uuid5(_NAMESPACE, f"{manifest.name}\n{version}\n{weights_digest}")
    return Algorithm(
        name=manifest.name,
        version=version,
        weights_digest=weights_digest,
        # PS3.5 B.2: a UUID as a decimal number under 2.25
        device_uid=f"2.25.{device.int}",
        labels=manifest.labels,
        caution=manifest.caution,
    )
