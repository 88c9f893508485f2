"""Models and inputs the tests of the model store, the classifier, infer and explain share."""

import hashlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import yaml
from numpy.typing import NDArray
from safetensors import numpy as safetensors
from safetensors.torch import load
from torchxrayvision.autoencoders import ResNetAE101
from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet
from torchxrayvision.models import DenseNet

from mcads_node.architectures import layout
from mcads_node.instance import ModelGeometry
from mcads_node.model_store.store import ModelStore

OFFICIAL = "densenet121-res224-all"
#: small, quick, and shipped with its weights: for every test that only needs a model
DEMONSTRATION = "mcads-demo"
#: the official model's network and manifest, with weights that mean nothing; see `seeded_store`
SEEDED = "seeded-densenet121"
#: … of other architectures
SEEDED_RESNET, SEEDED_PSPNET, SEEDED_AUTOENCODER = "seeded-resnet50", "seeded-pspnet", "seeded-autoencoder"
_SEEDED = {
    SEEDED: OFFICIAL,
    SEEDED_RESNET: "resnet50-res512-all",
    SEEDED_PSPNET: "pspnet-chestx-det",
    SEEDED_AUTOENCODER: "resnet-ae101-elastic",
}
MODELS = Path(__file__).resolve().parents[1] / "models"
GEOMETRY = ModelGeometry(rows=500, columns=448, top=26, left=0, side=448, size=224)


def shipped_store(weights_dir: Path) -> ModelStore:
    return ModelStore(models_dir=MODELS, weights_dir=weights_dir)


def seeded(seed: int, outputs: int, architecture: str = "densenet121") -> dict[str, NDArray[np.float32]]:
    """Tensors of a network, drawn so that its logits differ visibly between images."""
    stream = np.random.default_rng(seed)
    return {name: _draw(stream, name, shape) for name, shape in layout(architecture, outputs).items()}


def _draw(stream: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if len(shape) == 1:
        value = 1.0 if name.endswith(("weight", "running_var")) else 0.0
        if name.endswith(("bn3.weight", "cb3.cb_unit.1.weight")):
            value = 0.25  # or each residual block of many would double the numbers
        # the input's range is ±1024; what follows works on numbers near 1
        first = name in ("features.norm0.running_var", "bn1.running_var")
        return np.full(shape, 1024.0**2 if first else value, np.float32)
    bound = math.sqrt(6 / math.prod(shape[1:])) * (4 if name in ("classifier.weight", "fc.weight") else 1)
    return stream.uniform(-bound, bound, shape).astype(np.float32)


def seeded_store(folder: Path, name: str = SEEDED, size: int | None = None) -> ModelStore:
    """Make a store, below `folder`, whose only model is one of `_SEEDED`, `name`; its input, of any size."""
    document = yaml.safe_load((MODELS / _SEEDED[name] / "manifest.yaml").read_text(encoding="utf-8"))
    weights = safetensors.save(seeded(4, _width(document), document["architecture"]))
    document |= {"name": name, "source": {"kind": "shipped"}}
    document["input"]["size"] = size or document["input"]["size"]
    document["weights"] = {"digest": hashlib.sha256(weights).hexdigest()}
    model = folder / "models" / name
    model.mkdir(parents=True)
    (model / "manifest.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (model / "weights.safetensors").write_bytes(weights)
    return ModelStore(models_dir=folder / "models", weights_dir=folder / "weights")


def _width(document: dict[str, Any]) -> int:
    return len(document.get("outputs") or document.get("structures") or "1")


def official_network(store: ModelStore, name: str = SEEDED) -> torch.nn.Module:
    """torchxrayvision's own network with the same weights, run in torchxrayvision's own way."""
    manifest = store.describe(name)
    network = _OFFICIAL[manifest.architecture](manifest.width)
    weights = load(store.read(name).data)
    # what only training uses is in no file of ours
    trained = {key: value for key, value in network.state_dict().items() if key not in weights}
    network.load_state_dict(weights | trained)
    # no test wants gradients of weights, which take most of the time of a backward pass
    return network.requires_grad_(False).eval()


def _resnet50(outputs: int) -> torch.nn.Module:
    """As ``torchxrayvision.models.ResNet`` makes it, which cannot be made without the official weights."""
    network: torch.nn.Module = torchvision.models.resnet50(num_classes=outputs, weights=None)
    network.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


class _PSPNet(pspnet):  # type: ignore[misc]
    """What ``torchxrayvision.baseline_models.chestx_det.PSPNet`` does, without the official weights."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        normalise = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls a function that torch has given another name
            result: torch.Tensor = super().forward(normalise((batch.repeat(1, 3, 1, 1) + 1024) / 2048))
        return result


def _autoencoder(_outputs: int) -> torch.nn.Module:
    network: torch.nn.Module = ResNetAE101()
    return network


_OFFICIAL: dict[str, Callable[[int], torch.nn.Module]] = {
    "densenet121": lambda outputs: DenseNet(num_classes=outputs),
    "resnet50": _resnet50,
    "pspnet": _PSPNet,
    "resnet-ae101": _autoencoder,
}


def small_inputs(count: int, size: int = 224) -> NDArray[np.float32]:
    """Smooth pictures of the whole range, each another: float32, count × 1 × size × size."""
    stream = np.random.default_rng(11)
    y, x = np.mgrid[0:size, 0:size] / size
    waves = [
        np.cos(2 * np.pi * (stream.uniform(0, 4) * x + stream.uniform(0, 4) * y + stream.uniform()))
        * stream.uniform(0.3, 1.0)
        + stream.uniform(-0.3, 0.3)
        for _ in range(count)
    ]
    pictures: NDArray[np.float32] = (np.clip(np.stack(waves), -1, 1) * 1024).astype(np.float32)
    return pictures[:, None]
