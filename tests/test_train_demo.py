"""The demonstration model can be made again, and is as good as its card says."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mcads_node.classifier import load_classifier
from mcads_node.model_store.store import ModelStore
from tests.documents import ROOT
from tests.model_samples import DEMONSTRATION, MODELS
from tests.report_samples import CAUTION
from tests.shared_data import data_dir

SCRIPT = ROOT / "scripts" / "train_demo"
FINDINGS = (
    "Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax Consolidation Edema "
    "Emphysema Fibrosis Pleural_Thickening Hernia"
).split()


def run(*arguments: str | Path) -> str:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def areas(text: str) -> dict[str, list[float]]:
    """AUC and both ends of its interval by finding, of what the script prints or the card says."""
    found = re.findall(r"^\W*(\w+)\b.*?(\d\.\d{3}) \((\d\.\d{3})–(\d\.\d{3})\)", text, re.MULTILINE)
    return {name: [float(number) for number in numbers] for name, *numbers in found}


@pytest.fixture
def radiographs(tmp_path: Path) -> tuple[Path, Path]:
    """Make a folder of tiny pictures, not square, and their labels: two of each patient."""
    stream = np.random.default_rng(3)
    folder = tmp_path / "images"
    folder.mkdir()
    rows = []
    for number in range(60):
        truths = stream.integers(0, 2, len(FINDINGS))
        picture = stream.integers(0, 120, (40, 44)) + 100 * truths[2]
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{number}.png")
        about = [f"{number}.png", number // 2, 50, "MF"[number % 2], ("PA", "AP")[number % 2]]
        rows.append([*about, *truths, int(not truths.any())])
    labels = tmp_path / "labels.csv"
    header = ["file", "patient", "age", "sex", "view", *FINDINGS, "No Finding"]
    with labels.open("w", encoding="utf-8", newline="") as written:
        csv.writer(written).writerows([header, *rows])
    return folder, labels


def test_the_script_makes_the_same_model_twice_and_the_node_loads_it(
    tmp_path: Path, radiographs: tuple[Path, Path]
) -> None:
    small = ("--epochs", "1", "--size", "32", "--fewest", "1", "--threads", "1", "--random")
    folders = [tmp_path / name / "tiny" for name in ("once", "again")]
    said = [run(*radiographs, "--out", folder, *small) for folder in folders]
    files = [{file.name: file.read_bytes() for file in sorted(folder.iterdir())} for folder in folders]
    assert files[0].keys() == {"MODEL_CARD.md", "manifest.yaml", "weights.safetensors"}
    assert files[0] == files[1]
    classifier = load_classifier(ModelStore(tmp_path / "once", tmp_path), "tiny", device="cpu", threads=1)
    assert set(classifier.algorithm.labels) == set(FINDINGS)
    assert classifier.manifest.demonstration
    assert classifier.algorithm.caution == CAUTION
    card = files[0]["MODEL_CARD.md"].decode()
    assert CAUTION in card
    assert areas(card) == areas(said[0])
    assert areas(card).keys() == {*FINDINGS, "mean"}


def test_the_shipped_model_is_as_good_as_its_card_says() -> None:
    data = data_dir() / "nih"
    card = areas((MODELS / DEMONSTRATION / "MODEL_CARD.md").read_text(encoding="utf-8"))
    measured = areas(run(data / "images", data / "labels.csv", "--out", MODELS / DEMONSTRATION, "--measure"))
    assert measured.keys() == card.keys() == {*classifier_labels(), "mean"}
    for finding, numbers in measured.items():
        # another processor rounds otherwise, which may swap neighbours in the order of scores
        assert numbers == pytest.approx(card[finding], abs=0.01), finding
    assert measured["mean"][0] > 0.68


def classifier_labels() -> tuple[str, ...]:
    return ModelStore(MODELS, Path("nowhere")).manifest(DEMONSTRATION).labels
