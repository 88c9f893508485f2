"""A model's folder becomes a warm, verified classifier.

The manifest and the weights come from the `ModelStore`, verified; an `Engine` computes. Nothing here knows
torch: where OpenVINO computes, a worker runs without it.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcads_node import __version__
from mcads_node.calibration import Calibration
from mcads_node.engine import Engine, EngineName, EngineSettings, PrecisionName, open_engine
from mcads_node.errors import ModelUnusable
from mcads_node.finding import Algorithm, Finding
from mcads_node.model_store.heads import head_weights
from mcads_node.model_store.manifest import Manifest, ModelManifest
from mcads_node.model_store.store import ModelStore, VerifiedWeights

if TYPE_CHECKING:
    from mcads_node.architectures import Network

#: names the Device UIDs of models; never changed, or the same model would be another device
_NAMESPACE = uuid.UUID("6f1d9a52-7c0e-5b7e-9a53-2d3c5ad0a1f4")


@dataclass(frozen=True, kw_only=True, eq=False)
class Inference:
    """What one run of the network on one radiograph gave: infer makes it, explain uses it."""

    #: one per label of the model, in its order
    findings: tuple[Finding, ...]
    #: float32, 1 × K × h × w: kept so that explaining needs no second run
    feature_map: NDArray[np.float32]


class Classifier:
    """One model, loaded and ready; made by `load_classifier`.

    Parameters
    ----------
    manifest
        Of the model.
    engine
        Computes its network.
    weights
        Of the model.
    """

    def __init__(self, manifest: Manifest, engine: Engine, weights: VerifiedWeights) -> None:
        self.manifest = manifest
        self.engine = engine
        #: of a site; None: scores stay scores
        self.calibration: Calibration | None = None
        self.algorithm = algorithm_of(manifest, weights.digest, engine.precision)
        #: float32, outputs × K: of the linear head
        self.head_weights = head_weights(manifest, weights)
        #: float32, one per output, NaN where the output is not used
        self.operating_points = np.array(manifest.operating_points, dtype=np.float32)

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

    @property
    def network(self) -> Network:
        """The network in torch, for gradients; where another engine computes, loaded when first asked for."""
        return self.engine.network()

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network once, without a graph.

        Parameters
        ----------
        batch
            float32, N × 1 × S × S, in the manifest's range (−1024…1024).

        Returns
        -------
        feature_map : ndarray of float32, N × K × h × w
            ≥ 0: the last convolutional map after its ReLU or ReLU6, just what the head reads.
        logits : ndarray of float32, N × outputs
            Before the sigmoid.

        Raises
        ------
        ModelUnusable
            The device failed, or has not enough memory.
        """
        return self.engine.forward(batch)


def load_classifier(
    store: ModelStore,
    name: str,
    device: str = "auto",
    threads: int | None = None,
    engine: EngineName = "torch",
    precision: PrecisionName = "float32",
) -> Classifier:
    """Load model `name`, verify its weights, and make it ready.

    Parameters
    ----------
    store
        Where the models are.
    name
        Name of the model.
    device
        Of torch: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    threads
        Threads of one run on the CPU, for the whole process; None: the engine's own choice.
    engine
        ``torch``; ``openvino``, in float32; or ``auto``, the quickest whose scores are torch's.
    precision
        ``float32``; or ``auto``, a lower one where its scores are those of float32.

    Raises
    ------
    ModelUnusable
        The weights are absent, not the pinned ones, or do not fit the network; or there is no such device or
        engine.
    ConfigError
        The manifest is not as it should be.
    """
    manifest = store.manifest(name)
    weights = store.read(name)
    settings = EngineSettings(name=engine, device=device, precision=precision, threads=threads)
    return Classifier(manifest, open_engine(store, manifest, weights, settings), weights)


def algorithm_of(manifest: ModelManifest, weights_digest: str, precision: str = "f32") -> Algorithm:
    """Name a model in this version, with these weights; a lower precision is another version.

    Its scores differ visibly, and so it has UIDs of its own.
    """
    version = f"{__version__}+{manifest.version}"
    if precision != "f32":
        version += f".{precision}"
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
