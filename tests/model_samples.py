"""Models and inputs the tests of the model store, the classifier, infer and explain share."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torchxrayvision.models import DenseNet

from mcads_node.instance import ModelGeometry
from mcads_node.model_store.store import ModelStore

OFFICIAL = "densenet121-res224-all"
UNTRAINED = "untrained-densenet121"
MODELS = Path(__file__).resolve().parents[1] / "models"
GEOMETRY = ModelGeometry(rows=500, columns=448, top=26, left=0, side=448, size=224)


def shipped_store(weights_dir: Path) -> ModelStore:
    return ModelStore(models_dir=MODELS, weights_dir=weights_dir)


def official_network(store: ModelStore, name: str = UNTRAINED) -> torch.nn.Module:
    """torchxrayvision's own network with the same weights, run in torchxrayvision's own way."""
    network: torch.nn.Module = DenseNet(num_classes=len(store.manifest(name).outputs))
    network.load_state_dict(load(store.read(name).data))
    return network.eval()


def small_inputs(count: int) -> NDArray[np.float32]:
    """Smooth pictures of the whole range, each another: float32, count × 1 × 224 × 224."""
    stream = np.random.default_rng(11)
    y, x = np.mgrid[0:224, 0:224] / 224
    waves = [
        np.cos(2 * np.pi * (stream.uniform(0, 4) * x + stream.uniform(0, 4) * y + stream.uniform()))
        * stream.uniform(0.3, 1.0)
        + stream.uniform(-0.3, 0.3)
        for _ in range(count)
    ]
    pictures: NDArray[np.float32] = (np.clip(np.stack(waves), -1, 1) * 1024).astype(np.float32)
    return pictures[:, None]
