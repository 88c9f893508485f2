"""The model's folder: weights, manifest, model card."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from mcads_node.estimate import Estimate
from mcads_node.evaluation.sample import REPLICATES
from training.collection import FEWEST_PATIENTS, LABELS, PARTS, Collection
from training.measures import shown

CAUTION = "DEMONSTRATION MODEL — NOT FOR CLINICAL USE"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How one label does on the test part."""

    label: str
    area: Estimate
    #: at the operating point
    sensitivity: float
    specificity: float


def write_weights(network: nn.Module, labels: int, folder: Path) -> str:
    """Write the tensors that serving needs; gives their SHA-256.

    Matrices of the convolutions are kept as float16, which halves the file; what is rounded once is what is
    measured. The first convolution, whose numbers are small, and all vectors stay float32.
    """
    tensors = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        kept = tensor[:labels] if name.startswith("head.") else tensor
        small = kept.dim() > 1 and name != "features.0.0.weight"
        tensors[name] = (kept.half() if small else kept).contiguous().clone()
    data = save(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_manifest(folder: Path, labels: Sequence[str], points: Sequence[float], size: int) -> None:
    """Write manifest.yaml with the digest of the weights that lie beside it."""
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    outputs = "\n".join(
        f"  - {{label: {label}, operating_point: {point:.6g}, threshold: 0.5}}"
        for label, point in zip(labels, points, strict=True)
    )
    (folder / "manifest.yaml").write_text(
        _template("manifest").format(
            name=folder.name, digest=digest, outputs=outputs, size=size, caution=CAUTION, labels=len(labels)
        ),
        encoding="utf-8",
    )


def write_card(
    folder: Path, collection: Collection, measured: Sequence[Measured], mean: Estimate, epochs: int
) -> None:
    """Write MODEL_CARD.md: what the model is, what it is not, and how well it does."""
    counts = {part: collection.patients_with(part) for part in PARTS}
    rows = [
        f"| {each.label} | {' / '.join(str(counts[part][each.label]) for part in PARTS)} "
        f"| {shown(each.area)} | {each.sensitivity:.2f} | {each.specificity:.2f} |"
        for each in measured
    ]
    left_out = [label for label in LABELS if label not in collection.labels]
    places = {part: collection.of(part) for part in PARTS}
    split = [
        f"| {part} | {len(places[part])} | {len(set(collection.patients[places[part]]))} |" for part in PARTS
    ]
    (folder / "MODEL_CARD.md").write_text(
        _template("card").format(
            name=folder.name,
            caution=CAUTION,
            split="\n".join(split),
            rows="\n".join(rows),
            mean=shown(mean),
            doubtful=", ".join(each.label for each in measured if each.area.low <= 0.5) or "none",
            labels=len(measured),
            left_out=", ".join(left_out) or "none",
            fewest=FEWEST_PATIENTS,
            resamples=f"{REPLICATES:,}",
            images=len(collection.files),
            patients=len(set(collection.patients)),
            size=(folder / "weights.safetensors").stat().st_size / 1e6,
            epochs=epochs,
            torch=torch.__version__.partition("+")[0],
        ),
        encoding="utf-8",
    )


def _template(name: str) -> str:
    return (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
