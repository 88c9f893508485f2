"""The pixel-level map against a plain implementation, and what it leaves behind: nothing."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from mcads_node.architectures import Network
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.errors import ModelUnusable
from mcads_node.explain import combined, explain, grad_cam
from mcads_node.explain.guided import GuidedBackpropagation
from mcads_node.explain.pli import NOISE, PERCENTILE, SAMPLES, noisy_copies, pli
from mcads_node.finding import Presence
from mcads_node.infer import infer
from tests.model_samples import (
    DEMONSTRATION,
    GEOMETRY,
    SEEDED,
    SEEDED_RESNET,
    seeded_store,
    shipped_store,
    small_inputs,
)

PICTURE = small_inputs(1)[0, 0]
Map = NDArray[np.float32]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)


class Hooked:
    """A copy of a classifier's network with a hook on every rectifier, as in any tutorial."""

    def __init__(self, classifier: Classifier) -> None:
        network = copy.deepcopy(classifier.network)
        self.features, self.head, self.rectifiers = network.features, network.head, 0
        for module in self.features.modules():
            if isinstance(module, nn.ReLU | nn.ReLU6):
                module.inplace = False
                module.register_full_backward_hook(self._pass)
                self.rectifiers += 1

    @staticmethod
    def _pass(
        _module: nn.Module,
        to_input: tuple[torch.Tensor, ...] | torch.Tensor,
        _to_output: tuple[torch.Tensor, ...] | torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        return (to_input[0].clamp(min=0),)

    def map(self, copies: Map, column: int) -> Map:
        total = np.zeros(copies.shape[1:])
        for picture in copies:
            inputs = torch.from_numpy(picture[None, None]).requires_grad_()
            self.head(self.features(inputs).mean(dim=(2, 3)))[0, column].backward()
            assert inputs.grad is not None
            total += inputs.grad[0, 0].numpy()
        magnitude = np.abs(total / len(copies))
        return np.asarray((magnitude / np.percentile(magnitude, PERCENTILE)).clip(0, 1), dtype=np.float32)


@pytest.mark.parametrize(("name", "rectifiers"), [(SEEDED, 121), (DEMONSTRATION, 33), (SEEDED_RESNET, 17)])
def test_maps_equal_a_plain_implementation(tmp_path: Path, name: str, rectifiers: int) -> None:
    size = 128 if name == SEEDED_RESNET else None
    store = shipped_store(tmp_path) if name == DEMONSTRATION else seeded_store(tmp_path, name, size)
    classifier = load_classifier(store, name, device="cpu", threads=1)
    plain = Hooked(classifier)
    assert plain.rectifiers == rectifiers
    picture = small_inputs(1, classifier.input_size)[0, 0]
    findings = infer(classifier, picture, {}, ()).findings
    chosen = [findings[1], findings[7]]
    made = pli(classifier, picture, chosen, GEOMETRY)
    copies = noisy_copies(picture)
    for finding, heatmap in zip(chosen, made, strict=True):
        expected = plain.map(copies, classifier.algorithm.labels.index(finding.label))
        np.testing.assert_allclose(heatmap.activation, expected, rtol=0, atol=1e-4)
        assert heatmap.activation.std() > 0.1
    # guided maps of findings resemble one another, in a network that learnt nothing most of all
    assert np.abs(made[0].activation - made[1].activation).max() > 0.01


def test_a_map_has_the_inputs_resolution_and_says_what_it_is(classifier: Classifier) -> None:
    finding = infer(classifier, PICTURE, {"Mass": 0.0}, ()).findings[-1]
    (heatmap,) = pli(classifier, PICTURE, [finding], GEOMETRY)
    assert heatmap.finding is finding
    assert heatmap.finding.presence is Presence.PRESENT
    assert heatmap.positive
    assert heatmap.method == "pli"
    assert not heatmap.has_areas
    assert heatmap.geometry is GEOMETRY
    assert heatmap.activation.shape == PICTURE.shape
    assert heatmap.activation.dtype == np.float32
    assert 0.0 <= heatmap.activation.min() < 0.01
    # a hundredth of the pixels is at or above the percentile
    assert np.isclose((heatmap.activation == 1).mean(), 1 - PERCENTILE / 100, atol=1e-3)


def test_noise_follows_from_the_image_alone() -> None:
    copies = noisy_copies(PICTURE)
    assert copies.shape == (SAMPLES, *PICTURE.shape)
    assert copies.dtype == np.float32
    noise = (copies - PICTURE) / np.ptp(PICTURE)
    assert np.isclose(noise.std(), NOISE, rtol=0.01)
    assert abs(float(noise.mean())) < 1e-3
    assert np.array_equal(noisy_copies(PICTURE.copy()), copies)
    assert len({each.tobytes() for each in copies}) == SAMPLES
    other = PICTURE.copy()
    other[0, 0] += 1
    assert np.abs(noisy_copies(other) - copies).max() > 1


def test_a_blank_image_has_an_empty_map_or_a_finite_one(classifier: Classifier) -> None:
    blank = np.zeros_like(PICTURE)
    assert np.array_equal(noisy_copies(blank), np.zeros((SAMPLES, *blank.shape), np.float32))
    (heatmap,) = pli(classifier, blank, infer(classifier, blank, {}, ()).findings[:1], GEOMETRY)
    assert np.isfinite(heatmap.activation).all()


def test_an_exception_leaves_the_network_and_torch_as_they_were(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = infer(classifier, PICTURE, {}, ())
    network = classifier.network.module
    before = {name: (type(each), dict(vars(each))) for name, each in network.named_modules()}
    weights = {name: each.clone() for name, each in network.state_dict().items()}

    def fail(*_arguments: object) -> torch.Tensor:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(classifier.network.head, "forward", fail)
    with pytest.raises(ModelUnusable, match="no memory left"):
        pli(classifier, PICTURE, inference.findings[:1], GEOMETRY)
    monkeypatch.undo()
    assert {name: (type(each), dict(vars(each))) for name, each in network.named_modules()} == before
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
    assert all(torch.equal(each, weights[name]) for name, each in network.state_dict().items())
    assert all(each.grad is None for each in network.parameters())
    assert _active_modes() == 0
    again = infer(classifier, PICTURE, {}, ())
    assert [each.score for each in again.findings] == [each.score for each in inference.findings]


def _active_modes() -> int:
    return int(torch._C._len_torch_function_stack())


def test_gradients_that_are_not_finite_are_an_error(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = infer(classifier, PICTURE, {}, ()).findings[0]

    def broken(_self: Network, batch: torch.Tensor) -> torch.Tensor:
        return batch.mean(dim=(2, 3)).repeat(1, 13) * float("nan")

    monkeypatch.setattr(Network, "logits", broken)
    with pytest.raises(ModelUnusable, match="finite"):
        pli(classifier, PICTURE, [finding], GEOMETRY)


@pytest.mark.parametrize(
    ("rectifier", "limit"),
    [
        (nn.ReLU(inplace=True), float("inf")),
        (nn.ReLU6(inplace=True), 6.0),
        (nn.ReLU(), float("inf")),
        (torch.relu, float("inf")),
        (torch.Tensor.relu, float("inf")),
        (nn.functional.relu6, 6.0),
    ],
)
def test_a_gradient_passes_where_signal_and_gradient_are_positive(rectifier: object, limit: float) -> None:
    assert callable(rectifier)
    signal = torch.tensor([-1.0, 2.0, 3.0, 8.0], requires_grad=True)
    with GuidedBackpropagation():
        result = rectifier(signal * 1)
    assert torch.equal(result, signal.detach().clamp(0, limit))
    (gradient,) = torch.autograd.grad(result, signal, torch.tensor([1.0, -1.0, 5.0, 7.0]))
    assert gradient.tolist() == [0.0, 0.0, 5.0, 7.0 if limit > 8 else 0.0]


def test_other_functions_stay_as_they_are() -> None:
    signal = torch.tensor([-2.0, 0.5], requires_grad=True)
    with GuidedBackpropagation():
        result = nn.functional.hardtanh(signal)
    (gradient,) = torch.autograd.grad(result, signal, torch.tensor([1.0, -1.0]))
    assert (result.tolist(), gradient.tolist()) == ([-1.0, 0.5], [0.0, -1.0])
    assert issubclass(GuidedBackpropagation, TorchFunctionMode)


# --- combined, and several methods


def test_a_combined_map_is_the_sum_by_score(classifier: Classifier) -> None:
    thresholds = dict.fromkeys(classifier.algorithm.labels, 1.0) | {"Mass": 0.0, "Edema": 0.0}
    inference = infer(classifier, PICTURE, thresholds, ())
    maps = np.random.default_rng(3).uniform(0, 1, (len(inference.findings), 7, 7)).astype(np.float32)
    single = [
        replace(heatmap, activation=activation)
        for heatmap, activation in zip(
            grad_cam(classifier, inference, inference.findings, GEOMETRY), maps, strict=True
        )
    ]
    shown = {each.finding.label: each for each in single if each.finding.label in ("Mass", "Edema")}
    (made,) = combined(single)
    total = np.sum([each.activation * each.finding.score for each in shown.values()], axis=0)
    np.testing.assert_allclose(made.activation, total / total.max(), rtol=0, atol=1e-6)
    assert made.activation.dtype == np.float32
    assert made.method == "grad-cam-combined"
    assert made.positive
    by_score = sorted(shown, key=lambda label: -shown[label].finding.score)
    assert [each.label for each in made.findings] == by_score
    assert made.finding == made.combined[0]
    silent = [replace(each, activation=np.zeros((7, 7), np.float32)) for each in single]
    assert not combined(silent)[0].activation.any()
    assert combined([replace(each, positive=False) for each in single]) == ()


def test_each_method_makes_its_own_maps(classifier: Classifier) -> None:
    thresholds = dict.fromkeys(classifier.algorithm.labels, 1.0)
    nothing = infer(classifier, PICTURE, thresholds, ())
    found = infer(classifier, PICTURE, thresholds | {"Mass": 0.0, "Edema": 0.0}, ())
    every = ["pli", "grad-cam", "grad-cam-combined"]

    def made(inference: object, methods: list[str], *, top: bool = False) -> list[tuple[str, int, bool]]:
        heatmaps = explain(classifier, inference, PICTURE, GEOMETRY, methods, top_finding=top)  # type: ignore[arg-type]
        return [(each.method, len(each.findings), each.positive) for each in heatmaps]

    assert made(found, []) == []
    assert made(found, every) == [
        ("pli", 1, True),
        ("pli", 1, True),
        ("grad-cam", 1, True),
        ("grad-cam", 1, True),
        ("grad-cam-combined", 2, True),
    ]
    assert made(found, ["grad-cam-combined"]) == [("grad-cam-combined", 2, True)]
    assert made(nothing, every) == []
    # of what is not present there is no map of all findings
    assert made(nothing, every, top=True) == [("pli", 1, False), ("grad-cam", 1, False)]
