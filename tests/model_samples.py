"""Models and inputs the tests of the model store, the classifier, infer and explain share."""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors import numpy as safetensors
from safetensors.torch import load
from torchxrayvision.models import DenseNet

from mcads_node.instance import ModelGeometry
from mcads_node.model_store import densenet121
from mcads_node.model_store.store import ModelStore

OFFICIAL = "densenet121-res224-all"
#: small, quick, and shipped with its weights: for every test that only needs a model
DEMONSTRATION = "mcads-demo"
#: the official model's network and manifest, with weights that mean nothing; see `seeded_store`
SEEDED = "seeded-densenet121"
MODELS = Path(__file__).resolve().parents[1] / "models"
GEOMETRY = ModelGeometry(rows=500, columns=448, top=26, left=0, side=448, size=224)


def shipped_store(weights_dir: Path) -> ModelStore:
    return ModelStore(models_dir=MODELS, weights_dir=weights_dir)


def seeded(seed: int, outputs: int) -> dict[str, NDArray[np.float32]]:
    """Tensors of a DenseNet-121, drawn so that its logits differ visibly between images."""
    stream = np.random.default_rng(seed)
    return {name: _draw(stream, name, shape) for name, shape in densenet121.layout(outputs).items()}


def _draw(stream: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if len(shape) == 1:
        value = 1.0 if name.endswith(("weight", "running_var")) else 0.0
        # the input's range is ±1024; what follows works on numbers near 1
        return np.full(shape, 1024.0**2 if name == "features.norm0.running_var" else value, np.float32)
    bound = math.sqrt(6 / math.prod(shape[1:])) * (4 if name == "classifier.weight" else 1)
    return stream.uniform(-bound, bound, shape).astype(np.float32)


def seeded_store(folder: Path) -> ModelStore:
    """Make a store, below `folder`, whose only model is `SEEDED`."""
    document = yaml.safe_load((MODELS / OFFICIAL / "manifest.yaml").read_text(encoding="utf-8"))
    weights = safetensors.save(seeded(4, len(document["outputs"])))
    document |= {"name": SEEDED, "source": {"kind": "shipped"}}
    document["weights"] = {"digest": hashlib.sha256(weights).hexdigest()}
    model = folder / "models" / SEEDED
    model.mkdir(parents=True)
    (model / "manifest.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (model / "weights.safetensors").write_bytes(weights)
    return ModelStore(models_dir=folder / "models", weights_dir=folder / "weights")


def official_network(store: ModelStore, name: str = SEEDED) -> torch.nn.Module:
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
