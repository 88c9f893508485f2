"""Engines: OpenVINO gives torch's scores and maps, from what is converted once and never trusted damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcads_node.architectures import ARCHITECTURES
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.engine import EngineSettings, choice
from mcads_node.engine.acceptance import compare
from mcads_node.engine.choice import foreseen, is_converted
from mcads_node.engine.conversions import (
    Comparison,
    key_of,
    read_converted,
    read_record,
    records_of,
    write_converted,
)
from mcads_node.engine.samples import sample_inputs
from mcads_node.engine.scores import scores_of, sigmoid
from mcads_node.errors import ModelUnusable
from mcads_node.explain import grad_cam
from mcads_node.explain.pli import pli
from mcads_node.infer import infer
from mcads_node.model_store.heads import HEADS
from mcads_node.read.picture import read_picture
from mcads_node.resample import geometry_for, model_input
from tests.conversion import conversion
from tests.model_samples import DEMONSTRATION, GEOMETRY, shipped_store, small_inputs
from tests.programs import require_module
from tests.shared_data import data_dir

MADE = ("a" * 64, "1.0", "a processor")
AGREES = Comparison(precision="f32", greatest_difference=1e-6, decisions_changed=0, accepted=True)
REFUSED = Comparison(precision="bf16", greatest_difference=0.02, decisions_changed=1, accepted=False)


@pytest.fixture(scope="module")
def converted() -> Path:
    require_module("openvino")
    folder = conversion()
    assert folder is not None
    return folder


@pytest.fixture
def weights_dir(tmp_path: Path, converted: Path) -> Path:
    shutil.copytree(converted, tmp_path / DEMONSTRATION / "openvino")
    return tmp_path


@pytest.fixture(scope="module")
def by_torch() -> Classifier:
    return load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)


@pytest.fixture(scope="module")
def by_openvino(converted: Path) -> Classifier:
    return load_classifier(shipped_store(converted.parents[1]), DEMONSTRATION, threads=1, engine="openvino")


def test_the_architectures_heads_are_where_the_weights_say() -> None:
    for name, build in ARCHITECTURES.items():
        network = build(3)
        assert network.module.get_submodule(HEADS[name]) is network.head


def test_openvino_gives_torchs_scores_maps_and_identity(
    by_torch: Classifier, by_openvino: Classifier
) -> None:
    assert by_openvino.engine.described.startswith("OpenVINO")
    assert by_openvino.algorithm == by_torch.algorithm
    for picture in small_inputs(3)[:, 0]:
        here, there = (infer(each, picture, {}, ()) for each in (by_openvino, by_torch))
        scores = [[finding.score for finding in each.findings] for each in (here, there)]
        np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-5)
        assert np.std(scores) > 0.05
        mine = grad_cam(by_openvino, here, here.findings, GEOMETRY)
        theirs = grad_cam(by_torch, there, there.findings, GEOMETRY)
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one.activation, other.activation, rtol=0, atol=1e-3)


def test_pixel_level_maps_are_made_by_torch_whatever_computes(
    by_torch: Classifier, by_openvino: Classifier
) -> None:
    picture = small_inputs(1)[0, 0]
    chosen = infer(by_torch, picture, {}, ()).findings[:1]
    (one,), (other,) = (pli(each, picture, chosen, GEOMETRY) for each in (by_openvino, by_torch))
    assert np.array_equal(one.activation, other.activation)


def test_a_batch_of_one_is_a_batch_of_many_bit_by_bit(by_openvino: Classifier) -> None:
    inputs = small_inputs(3)
    features, logits = by_openvino.forward(inputs)
    for place in range(3):
        one = by_openvino.forward(inputs[place : place + 1])
        assert np.array_equal(one[0][0], features[place])
        assert np.array_equal(one[1][0], logits[place])
    # and what was given stays when the network runs again
    again = by_openvino.forward(inputs[:1])
    by_openvino.forward(inputs[1:2])
    assert np.array_equal(again[1][0], logits[0])


def test_real_radiographs_have_torchs_scores_and_no_decision_changes(
    by_torch: Classifier, by_openvino: Classifier
) -> None:
    for file in sorted((data_dir() / "nih" / "images").iterdir())[:24]:
        pixels = read_picture(file.read_bytes())
        picture = model_input(pixels, geometry_for(pixels.shape[0], pixels.shape[1], 224))
        here, there = (infer(each, picture, {}, ()).findings for each in (by_openvino, by_torch))
        assert [each.presence for each in here] == [each.presence for each in there]
        np.testing.assert_allclose(
            [each.score for each in here], [each.score for each in there], rtol=0, atol=1e-4
        )


def test_a_worker_with_openvino_never_loads_torch(weights_dir: Path) -> None:
    script = f"""
import sys, pathlib
from mcads_node import worker
from mcads_node.shipped import shipped_folder
from mcads_node.task import WorkerSettings
work = worker._Work(WorkerSettings(models_dir=shipped_folder("models"), model={DEMONSTRATION!r},
    weights_dir=pathlib.Path({str(weights_dir)!r}), memory_limit_mib=4096, engine="auto"))
work.load()
print([name for name in ("torch", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_openvino_reports_nothing_to_its_maker(converted: Path) -> None:
    """It would at its import, by a module that must not be there, and by a connection."""
    script = """
import socket, sys
attempts = []
class Watched(socket.socket):
    def connect(self, *address):
        attempts.append(address)
        raise OSError("no network here")
socket.socket = Watched
import mcads_node.engine
import mcads_node.engine.openvino_engine
import threading
[each.join(10) for each in threading.enumerate() if each is not threading.current_thread()]
print(attempts, sys.modules["openvino_telemetry"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] None"


def _damage(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["network.xml", "network.bin", "record.json"])
def test_a_damaged_conversion_is_not_trusted(tmp_path: Path, name: str) -> None:
    write_converted(tmp_path, b"<graph/>", b"constants", MADE, [AGREES])
    found = read_converted(tmp_path)
    assert found is not None
    assert (found.graph, found.constants) == (b"<graph/>", b"constants")
    if name == "record.json":
        (tmp_path / name).write_text("{}")
    else:
        _damage(tmp_path, name)
    assert read_converted(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"comparisons": 1}', '{"comparisons": [], "weights": "a"}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert read_record(tmp_path) is None


def test_the_lowest_precision_that_agrees_is_taken(tmp_path: Path) -> None:
    lower = replace(AGREES, precision="bf16")
    for comparisons, precision in (
        ([AGREES, lower], "bf16"),
        ([AGREES, REFUSED], "f32"),
        ([replace(AGREES, accepted=False), REFUSED], ""),
    ):
        write_converted(tmp_path / "key", b"g", b"c", MADE, comparisons)
        record = read_record(tmp_path / "key")
        assert record is not None
        assert record.precision == precision
        assert record.agrees == bool(precision)
        assert record.comparisons == tuple(comparisons)
    assert [each.weights for each in records_of(tmp_path, "a" * 64)] == ["a" * 64]
    assert records_of(tmp_path, "b" * 64) == ()
    assert record is not None
    assert "bf16: scores within 0.02 of torch, 1 decisions changed, not taken" in record.in_words()


def test_a_conversion_that_is_damaged_or_absent_is_made_anew(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the conversion itself, which takes ten seconds, and copies what is whole."""
    store = shipped_store(weights_dir)
    folder = next(each.parent for each in weights_dir.glob("*/openvino/*/record.json"))
    whole = folder.parent / "whole"
    shutil.copytree(folder, whole)
    _damage(folder, "network.bin")
    made: list[Path] = []

    def convert(_store: Any, _name: str, target: Path) -> None:
        made.append(target)
        shutil.copytree(whole, target, dirs_exist_ok=True)

    monkeypatch.setattr(choice, "_convert", convert)
    for _ in range(2):
        found = load_classifier(store, DEMONSTRATION, threads=1, engine="openvino")
        assert found.engine.described.startswith("OpenVINO")
    assert made == [folder]


def test_what_does_not_agree_with_torch_is_refused_or_passed_over(
    weights_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = shipped_store(weights_dir)
    (record,) = weights_dir.glob("*/openvino/*/record.json")
    told = json.loads(record.read_text())
    for each in told["comparisons"]:
        each |= {"accepted": False, "greatest_difference": 0.25}
    record.write_text(json.dumps(told | {"precision": ""}))
    with pytest.raises(ModelUnusable, match=r"does not agree with torch here .*within 0\.2"):
        load_classifier(store, DEMONSTRATION, threads=1, engine="openvino")
    fallen_back = load_classifier(store, DEMONSTRATION, device="cpu", threads=1, engine="auto")
    assert fallen_back.engine.described.startswith("torch")
    # wherever another test has sent the log
    assert "engine.refused" in "".join(capfd.readouterr())
    assert "not taken" in foreseen(store, DEMONSTRATION, EngineSettings(name="auto"))


def test_without_openvino_auto_is_torch_and_openvino_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_installed", lambda: False)
    store = shipped_store(tmp_path)
    assert foreseen(store, DEMONSTRATION, EngineSettings(name="auto")) == "torch"
    assert "pip install 'mcads-node[openvino]'" in foreseen(
        store, DEMONSTRATION, EngineSettings(name="openvino")
    )
    assert not is_converted(store, DEMONSTRATION)
    found = load_classifier(store, DEMONSTRATION, device="cpu", threads=1, engine="auto")
    assert found.engine.described.startswith("torch")
    with pytest.raises(ModelUnusable, match="OpenVINO is not installed"):
        load_classifier(store, DEMONSTRATION, engine="openvino")


def test_a_conversion_that_fails_says_why(tmp_path: Path) -> None:
    require_module("openvino")
    with pytest.raises(ModelUnusable, match="for OpenVINO: there is no model 'none'"):
        choice._convert(shipped_store(tmp_path), "none", tmp_path / "key")


def test_a_lower_precision_is_another_version_of_the_algorithm(by_torch: Classifier) -> None:
    class Lower:
        described, precision = "", "bf16"
        forward, network = by_torch.engine.forward, by_torch.engine.network

    lower = Classifier(by_torch.manifest, Lower(), shipped_store(Path("nowhere")).read(DEMONSTRATION))
    assert lower.algorithm.version == f"{by_torch.algorithm.version}.bf16"
    assert lower.algorithm.device_uid != by_torch.algorithm.device_uid


def test_a_comparison_counts_decisions_and_what_is_not_finite(by_torch: Classifier) -> None:
    manifest = by_torch.manifest
    scores = np.full((2, len(manifest.labels)), 0.4, np.float32)
    assert compare(manifest, "f32", scores, scores + np.float32(9e-4)).accepted
    assert not compare(manifest, "bf16", scores, scores + np.float32(9e-4)).accepted
    assert not compare(manifest, "f32", scores, scores + np.float32(2e-3)).accepted
    near = np.full_like(scores, 0.4999)
    changed = compare(manifest, "f32", near, near + np.float32(2e-4))
    assert (changed.decisions_changed, changed.accepted) == (near.size, False)
    assert compare(manifest, "f32", scores, scores * np.float32(np.nan)).greatest_difference == 1.0


def test_samples_are_of_the_models_range_and_differ(by_torch: Classifier) -> None:
    inputs = sample_inputs(by_torch.manifest)
    assert inputs.shape == (8, 1, 224, 224)
    assert inputs.dtype == np.float32
    assert -1024 <= inputs.min() < inputs.max() <= 1024
    assert len({each.tobytes() for each in inputs}) == 8


def test_scores_of_extreme_logits_are_finite() -> None:
    logits = np.array([[-1e4, -50.0, 0.0, 50.0, 1e4]], np.float32)
    assert sigmoid(logits).tolist() == [[0.0, pytest.approx(0, abs=1e-20), 0.5, 1.0, 1.0]]
    points = np.array([0.5, 0.5, 0.25, 0.5, np.nan], np.float32)
    assert scores_of(logits, points)[0, 4] == 0.5


def test_keys_tell_their_parts_apart() -> None:
    assert key_of("a", "b") == key_of("a", "b") != key_of("ab", "")
