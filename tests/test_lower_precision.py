"""torch in a lower precision: taken only where its scores were measured to be those of float32.

On a processor in bfloat16 what is done on a GPU in float16: only the names of device and type are others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from structlog.testing import capture_logs
from torch import nn

from mcads_node import worker
from mcads_node.architectures.device import device_named
from mcads_node.classifier import Classifier
from mcads_node.config import Configuration, NodeConfig, RuleBook
from mcads_node.engine import EngineSettings, PrecisionName, choice, torch_engine
from mcads_node.engine.acceptance import LIMIT, lower_or_exact
from mcads_node.engine.choice import foreseen
from mcads_node.engine.samples import sample_inputs
from mcads_node.engine.torch_engine import TorchEngine, load_network, open_torch
from mcads_node.errors import ModelUnusable
from mcads_node.explain import grad_cam
from mcads_node.explain.pli import pli
from mcads_node.infer import infer
from mcads_node.model_store.heads import HEADS
from mcads_node.model_store.store import VerifiedWeights
from mcads_node.service.sharing import Share, worker_settings
from tests.model_samples import DEMONSTRATION, GEOMETRY, shipped_store, small_inputs

STORE = shipped_store(Path("nowhere"))
MANIFEST = STORE.manifest(DEMONSTRATION)
SAMPLES = sample_inputs(MANIFEST)
#: by how much the demonstration model's head is made less, or more, sensitive to what its layers round
DULL, AS_TRAINED, KEEN = 0.002, 1.0, 10.0


def weights_of(sensitivity: float) -> VerifiedWeights:
    weights = STORE.read(DEMONSTRATION)
    tensors = load(weights.data)
    tensors[f"{HEADS[MANIFEST.architecture]}.weight"] *= sensitivity
    return replace(weights, data=save(tensors))


def exact_engine(sensitivity: float) -> TorchEngine:
    network = load_network(MANIFEST, weights_of(sensitivity), device_named("cpu"), threads=1)
    return TorchEngine(DEMONSTRATION, network, torch.device("cpu"))


@pytest.fixture
def welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor is what a GPU is."""
    monkeypatch.setattr(torch_engine, "LOWER", torch_engine.LOWER | {"cpu": torch.bfloat16})


def opened(sensitivity: float, precision: PrecisionName) -> tuple[Classifier, list[str]]:
    """The classifier, and what the log tells of the comparison."""
    weights = weights_of(sensitivity)
    with capture_logs() as logs:
        engine = open_torch(MANIFEST, weights, EngineSettings(device="cpu", threads=1, precision=precision))
    told = [each["outcome"] for each in logs if each["event"] == "precision.compared"]
    return Classifier(MANIFEST, engine, weights), told


def by_hand(engine: TorchEngine) -> NDArray[np.float64]:
    """Scores of the samples, N × labels, reckoned apart from the engine's own way."""
    outputs = MANIFEST.outputs
    points = np.array([each.operating_point or np.nan for each in outputs])
    logits = np.concatenate([engine.forward(image[None])[1] for image in SAMPLES])
    raw = 1 / (1 + np.exp(-logits.astype(np.float64)))
    scores = np.where(raw < points, raw / (2 * points), 1 - (1 - raw) / (2 * (1 - points)))
    return np.asarray(scores[:, np.isfinite(points)])


@pytest.mark.parametrize(("sensitivity", "precision"), [(DULL, "bf16"), (AS_TRAINED, "f32"), (KEEN, "f32")])
def test_what_is_used_is_what_the_measured_difference_allows(
    welcome: None, sensitivity: float, precision: str
) -> None:
    classifier, told = opened(sensitivity, "auto")
    exact = exact_engine(sensitivity)
    expected, found = by_hand(exact), by_hand(exact.lowered(torch.bfloat16))
    thresholds = np.array(list(MANIFEST.thresholds.values()))
    difference = np.abs(found - expected).max()
    changed = int(((found >= thresholds) != (expected >= thresholds)).sum())
    # it was really computed otherwise
    assert difference > 1e-7
    assert (difference <= LIMIT / 2 and not changed) == (precision == "bf16")
    assert classifier.engine.precision == precision
    taken = "taken" if precision == "bf16" else "not taken"
    said = f"bf16: scores within {difference:.2g} of torch, {changed} decisions changed, {taken}"
    assert told == [said]
    # and reports, tables and the log say which it was
    assert classifier.engine.described.endswith(f", cpu, {precision}")
    assert classifier.algorithm.version.endswith(".bf16") == (precision == "bf16")


def test_where_float32_is_asked_for_or_nothing_is_gained_nothing_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # on a processor, as shipped
    assert opened(DULL, "auto")[1] == []
    monkeypatch.setattr(torch_engine, "LOWER", {"cpu": torch.bfloat16})
    classifier, told = opened(DULL, "float32")
    assert (classifier.engine.precision, told) == ("f32", [])


def test_a_device_that_cannot_compute_so_keeps_float32_and_says_why() -> None:
    class Unable(TorchEngine):
        def forward(self, _: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            raise ModelUnusable("no such instruction")

    exact = exact_engine(DULL)
    unable = Unable(DEMONSTRATION, exact.network(), torch.device("cpu"), torch.bfloat16)
    with capture_logs() as logs:
        assert lower_or_exact(MANIFEST, exact, unable) is exact
    assert [(each["event"], each["outcome"]) for each in logs] == [
        ("precision.compared", "bf16: no such instruction")
    ]


def test_the_layers_are_channels_last_and_of_the_lower_type_and_the_head_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[torch.dtype, torch.dtype, bool]] = []
    plain = nn.Conv2d.forward

    def watched(layer: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
        made = plain(layer, maps)
        last = maps.stride(1) == made.stride(1) == 1
        seen.append((layer.weight.dtype, made.dtype, last))
        return made

    lower = exact_engine(AS_TRAINED).lowered(torch.bfloat16)
    monkeypatch.setattr(nn.Conv2d, "forward", watched)
    feature_map, logits = lower.forward(small_inputs(1))
    assert len(seen) > 20
    assert set(seen) == {(torch.bfloat16, torch.bfloat16, True)}
    assert feature_map.dtype == logits.dtype == np.float32
    # from the map that is given, not from a rounded one
    head = lower.network().head
    with torch.no_grad():
        expected = head(torch.from_numpy(feature_map).mean(dim=(2, 3))).numpy()
    np.testing.assert_array_equal(logits, expected)


def test_maps_of_pixels_stay_in_float32_and_those_of_cells_are_of_what_was_computed() -> None:
    weights, engine = weights_of(DULL), exact_engine(DULL)
    lower, exact = (Classifier(MANIFEST, each, weights) for each in (engine.lowered(torch.bfloat16), engine))
    picture = small_inputs(1)[0, 0]
    here, there = (infer(each, picture, {}, ()) for each in (lower, exact))
    scores = [[finding.score for finding in each.findings] for each in (here, there)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=LIMIT)
    chosen = there.findings[:1]
    (one,), (other,) = (pli(each, picture, chosen, GEOMETRY) for each in (lower, exact))
    assert np.array_equal(one.activation, other.activation)
    assert not np.array_equal(here.feature_map, there.feature_map)
    (mine,) = grad_cam(lower, here, here.findings[:1], GEOMETRY)
    assert mine.activation.max() in (0.0, 1.0)


@pytest.mark.parametrize(("precision", "comparisons"), [("auto", 1), ("float32", 0)])
def test_what_is_configured_reaches_the_worker(
    welcome: None, tmp_path: Path, precision: str, comparisons: int
) -> None:
    node = {"node": {"data_dir": tmp_path}, "analysis": {"model": DEMONSTRATION, "precision": precision}}
    configuration = Configuration(node=NodeConfig.model_validate(node), book=RuleBook())
    settings = worker_settings(configuration, Share(workers=1, threads=1, engine="torch"))
    with capture_logs() as logs:
        worker._Work(replace(settings, allow_demonstration=True)).load()
    assert [each["event"] for each in logs] == ["precision.compared"] * comparisons + ["model.loaded"]
    # as trained, the model does not agree in bfloat16
    assert logs[-1]["engine"].endswith(", f32")


def test_float32_is_not_tf32_on_any_device() -> None:
    torch.backends.cudnn.allow_tf32 = True
    device_named("cpu")
    assert not torch.backends.cudnn.allow_tf32


def test_a_gpu_that_is_hidden_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidiactl"
    driver.touch()
    monkeypatch.setattr(choice, "_CUDA_DEVICES", (str(driver),))
    monkeypatch.setattr(choice, "_installed", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    wanted = EngineSettings(name="auto", precision="auto")
    assert "in float16 where" in foreseen(STORE, DEMONSTRATION, wanted)
    assert foreseen(STORE, DEMONSTRATION, replace(wanted, precision="float32")) == "torch"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert foreseen(STORE, DEMONSTRATION, wanted).startswith("OpenVINO")
