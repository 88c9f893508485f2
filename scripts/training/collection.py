"""Labelled radiographs: read, split by patient, and seen as the node will see them."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mcads_node.resample import geometry_for, model_input

#: labels of NIH ChestX-ray14, in the order that torchxrayvision's models have them
LABELS = (
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
)
PARTS = ("train", "validation", "test")
#: a patient's part is a number in 0…1, the hash of this and the patient's id: below 0.20 test, below 0.38
#: validation. Of the salts 0…199 this one spreads the patients of each label most evenly; it was chosen by
#: counting labels, before any training.
SALT, TEST, VALIDATION = "mcads-demo-84", 0.20, 0.38
#: patients with a finding, in each part, below which the model has no output for it
FEWEST_PATIENTS = 5
#: what the node makes of the darkest and the brightest pixel
LOW, HIGH = -1024.0, 1024.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Collection:
    """What there is, by image."""

    files: tuple[Path, ...]
    patients: NDArray[np.str_]
    #: 0, 1 or 2: place in `PARTS`
    parts: NDArray[np.intp]
    #: float32, images × labels
    truths: NDArray[np.float32]
    labels: tuple[str, ...]
    #: float32, images × 4: AP view, male, age, nothing found; learnt beside the labels, and not kept
    beside: NDArray[np.float32]

    def of(self, part: str) -> NDArray[np.intp]:
        """Places of the images of a part."""
        return np.flatnonzero(self.parts == PARTS.index(part))

    def patients_with(self, part: str) -> dict[str, int]:
        """Number of patients of a part who have each finding."""
        inside = self.parts == PARTS.index(part)
        return {
            label: len(set(self.patients[inside & (self.truths[:, i] == 1)]))
            for i, label in enumerate(self.labels)
        }


def read_collection(images: Path, labels: Path, fewest: int = FEWEST_PATIENTS) -> Collection:
    """Read the CSV file: file, patient, age, sex, view, a column for each label, and ``No Finding``."""
    with labels.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    patients = np.array([row["patient"] for row in rows])
    whole = Collection(
        files=tuple(images / row["file"] for row in rows),
        patients=patients,
        parts=np.array([part_of(patient) for patient in patients]),
        truths=np.array([[float(row[label]) for label in LABELS] for row in rows], dtype=np.float32),
        labels=LABELS,
        beside=np.array([_beside(row) for row in rows], dtype=np.float32),
    )
    counts = [whole.patients_with(part) for part in PARTS]
    kept = [label for label in LABELS if min(count[label] for count in counts) >= fewest]
    columns = [LABELS.index(label) for label in kept]
    return Collection(**{**vars(whole), "labels": tuple(kept), "truths": whole.truths[:, columns]})


def part_of(patient: str) -> int:
    """Part that a patient belongs to; all of a patient's images are in one."""
    number = int.from_bytes(hashlib.sha256(f"{SALT}:{patient}".encode()).digest()[:8]) / 2**64
    if number < TEST:
        return PARTS.index("test")
    return PARTS.index("validation" if number < VALIDATION else "train")


def _beside(row: dict[str, str]) -> Sequence[float]:
    age = min(max((float(row["age"]) - 20) / 60, 0.0), 1.0)
    return row["view"] == "AP", row["sex"] == "M", age, row["No Finding"] == "1"


def inputs(files: Iterable[Path], size: int) -> Tensor:
    """Crop and resize images as the node does: float32, N × 1 × size × size, −1024…1024."""
    return torch.from_numpy(np.stack([_input(file, size) for file in files]))[:, None]


def _input(file: Path, size: int) -> NDArray[np.float32]:
    with Image.open(file) as image:
        gray = np.asarray(image.convert("L"), dtype=np.float32)
    return model_input(gray / 255 * (HIGH - LOW) + LOW, geometry_for(*gray.shape, size))
