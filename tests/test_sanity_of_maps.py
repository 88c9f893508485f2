"""The test of heatmaps runs anywhere, and can tell a good map from a bad one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mcads_node.classifier import Classifier, load_classifier
from mcads_node.explain import grad_cam
from mcads_node.infer import infer
from mcads_node.resample import geometry_for, model_input
from tests.documents import ROOT
from tests.gate_cases import chest
from tests.model_samples import DEMONSTRATION, shipped_store

sys.path.insert(0, str(ROOT / "scripts"))
from map_tests import GRID, at_random, by_map, deletion, displaced, likeness, shuffled, square

Array = NDArray[np.float32]
PLACE = (5, 8)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)


def test_deletion_knows_where_a_score_comes_from(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model that sees one patch alone, the map of that patch deletes best."""
    row, column = (16 * place for place in PLACE)

    def forward(_self: Classifier, batch: Array) -> tuple[Array, Array]:
        brightness = batch[:, 0, row : row + 16, column : column + 16].mean(axis=(1, 2)) / 256
        return batch, np.repeat(brightness[:, None], 13, axis=1)

    monkeypatch.setattr(Classifier, "forward", forward)
    picture = np.full((224, 224), -1000, np.float32)
    picture[row : row + 16, column : column + 16] = 1000
    good = np.zeros((GRID, GRID), np.float32)
    good[PLACE] = 1
    order = by_map(good, 224)
    assert order[0] == PLACE[0] * GRID + PLACE[1]
    best = deletion(classifier, picture, order, ["Mass"])
    worst = deletion(classifier, picture, order[::-1], ["Mass"])
    rivals = [deletion(classifier, picture, each, ["Mass"]) for each in at_random(8, 0)]
    moved = displaced(order, 8, 0)
    assert best < 0.2
    assert worst > 0.8
    assert best < np.mean(rivals) < worst
    assert best < np.mean([deletion(classifier, picture, each, ["Mass"]) for each in moved])
    for each in (order, *moved, *at_random(2, 1)):
        assert sorted(each) == list(range(GRID * GRID))


def test_likeness_is_one_of_the_same_map_and_none_of_a_flat_one() -> None:
    one = np.random.default_rng(0).uniform(0, 1, (7, 7)).astype(np.float32)
    same = likeness(one, one)
    assert same is not None
    assert same == pytest.approx((1, 1))
    assert likeness(one, np.zeros_like(one)) is None
    correlation, similarity = likeness(one, 1 - one) or (1, 1)
    assert correlation == pytest.approx(-1)
    assert similarity < 0.5


def test_maps_change_when_weights_are_shuffled(classifier: Classifier, tmp_path: Path) -> None:
    other = shuffled(shipped_store(tmp_path), DEMONSTRATION, 0.0)
    kept = classifier.network.module.state_dict()
    changed = [name for name, each in other.network.module.state_dict().items() if not each.equal(kept[name])]
    assert changed == ["head.weight"]
    pixels = chest()
    picture = model_input(pixels, geometry_for(pixels.shape[0], pixels.shape[1], 224))
    alike = []
    inference, again = infer(classifier, picture, {}, ()), infer(other, picture, {}, ())
    for before, after in zip(
        grad_cam(classifier, inference, inference.findings, square(224)),
        grad_cam(other, again, again.findings, square(224)),
        strict=True,
    ):
        alike.append(likeness(before.activation, after.activation))
    ranks = [each[0] for each in alike if each is not None]
    assert len(ranks) >= 3
    assert np.mean(ranks) < 0.5


def test_the_script_measures_every_method(tmp_path: Path) -> None:
    shown = np.rint((chest() + 1024) * 255 / 2048).astype(np.uint8)
    Image.fromarray(shown).save(tmp_path / "chest.png")
    command = [str(ROOT / "scripts" / "sanity_of_maps"), str(tmp_path), "--json"]
    few = ["--shuffle", "0", "--orders", "1"]
    done = subprocess.run(
        [sys.executable, *command, *few], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["images"]) == (DEMONSTRATION, 1)
    assert set(told["methods"]) == {"grad-cam", "grad-cam-combined", "pli"}
    for figures in told["methods"].values():
        assert figures["deletion"]["area"] > 0
        assert figures["deletion"]["random"]["better"] in (0, 1)
        assert figures["shuffled"]["all"]["images"] == 0
