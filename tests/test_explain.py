from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mcads_node.classifier import Classifier, Inference, load_classifier
from mcads_node.errors import ModelUnusable
from mcads_node.explain import explain, grad_cam
from mcads_node.finding import Presence
from mcads_node.infer import infer
from mcads_node.instance import InputCheck, Verdict
from tests.model_samples import (
    DEMONSTRATION,
    GEOMETRY,
    SEEDED,
    SEEDED_RESNET,
    official_network,
    seeded_store,
    shipped_store,
    small_inputs,
)

PICTURE = small_inputs(1)[0, 0]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)


@pytest.fixture(scope="module")
def inference(classifier: Classifier) -> Inference:
    return infer(classifier, small_inputs(1)[0, 0], {}, ())


def gradient_of(tensor: torch.Tensor) -> torch.Tensor:
    assert tensor.grad is not None
    return tensor.grad


def textbook(network: torch.nn.Module, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Grad-CAM by a hook on the whole network, a backward pass through all of it per output."""
    kept: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, features: torch.Tensor) -> None:
        features.retain_grad()
        kept.append(features)

    last = "layer4" if hasattr(network, "layer4") else "features"
    hook = network.get_submodule(last).register_forward_hook(keep)
    try:
        logits = network(torch.from_numpy(picture[None, None]).requires_grad_())[0]
    finally:
        hook.remove()
    maps: list[NDArray[np.float32]] = []
    for logit in logits:
        kept[0].grad = None
        logit.backward(retain_graph=True)
        weights = gradient_of(kept[0]).mean(dim=(2, 3), keepdim=True)
        cam = (weights * kept[0].detach()).sum(dim=1)[0].clamp(min=0).numpy()
        maps.append(np.asarray(cam / cam.max() if cam.max() > 0 else cam, dtype=np.float32))
    return maps


def reported_columns(classifier: Classifier) -> list[int]:
    outputs = classifier.manifest.outputs
    return [column for column, output in enumerate(outputs) if output.operating_point is not None]


#: of the inputs of seeded networks: a backward pass for each label takes its time
SIZES = {SEEDED: 224, SEEDED_RESNET: 128}


# in smooth waves the trained network sees few findings: most of its maps are zero
@pytest.mark.parametrize(("name", "not_flat"), [(SEEDED, 12), (DEMONSTRATION, 4), (SEEDED_RESNET, 6)])
def test_maps_equal_a_textbook_grad_cam(tmp_path: Path, name: str, not_flat: int) -> None:
    store = shipped_store(tmp_path) if name == DEMONSTRATION else seeded_store(tmp_path, name, SIZES[name])
    classifier = load_classifier(store, name, device="cpu", threads=1)
    module = classifier.network.module
    network = module if name == DEMONSTRATION else official_network(store, name)
    spread = []
    for picture in small_inputs(2, classifier.input_size)[:, 0]:
        inference = infer(classifier, picture, {}, ())
        heatmaps = grad_cam(classifier, inference, inference.findings, GEOMETRY)
        expected_maps = textbook(network, picture)
        # the network has outputs that were never trained
        reported = [expected_maps[column] for column in reported_columns(classifier)]
        for expected, heatmap in zip(reported, heatmaps, strict=True):
            np.testing.assert_allclose(heatmap.activation, expected, rtol=0, atol=1e-5)
            spread.append(float(expected.std()))
    assert sum(each > 0.1 for each in spread) > not_flat


def test_maps_are_normalised_and_in_order(classifier: Classifier, inference: Inference) -> None:
    backwards = inference.findings[::-1]
    heatmaps = grad_cam(classifier, inference, backwards, GEOMETRY)
    assert [h.finding for h in heatmaps] == list(backwards)
    for heatmap in heatmaps:
        assert heatmap.activation.shape == (7, 7)
        assert heatmap.activation.dtype == np.float32
        assert heatmap.method == "grad-cam"
        assert heatmap.geometry is GEOMETRY
        assert heatmap.activation.min() >= 0.0
        assert heatmap.activation.max() in (0.0, 1.0)
        assert heatmap.positive == (heatmap.finding.presence is Presence.PRESENT)


def test_all_maps_at_once_are_the_maps_one_by_one(classifier: Classifier, inference: Inference) -> None:
    together = grad_cam(classifier, inference, inference.findings, GEOMETRY)
    for finding, heatmap in zip(inference.findings, together, strict=True):
        (alone,) = grad_cam(classifier, inference, [finding], GEOMETRY)
        np.testing.assert_allclose(alone.activation, heatmap.activation, rtol=0, atol=1e-6)


def test_a_map_that_nothing_speaks_for_stays_zero(classifier: Classifier, inference: Inference) -> None:
    silent = replace(inference, feature_map=np.zeros_like(inference.feature_map))
    for heatmap in grad_cam(classifier, silent, inference.findings, GEOMETRY):
        assert not heatmap.activation.any()


def test_a_feature_map_that_is_not_finite_is_an_error(classifier: Classifier, inference: Inference) -> None:
    broken = replace(inference, feature_map=np.full_like(inference.feature_map, np.nan))
    with pytest.raises(ModelUnusable, match="finite"):
        grad_cam(classifier, broken, inference.findings, GEOMETRY)


def test_present_findings_are_explained(classifier: Classifier) -> None:
    picture = small_inputs(1)[0, 0]
    thresholds = dict.fromkeys(classifier.algorithm.labels, 1.0) | {"Mass": 0.0, "Edema": 0.0}
    inference = infer(classifier, picture, thresholds, ())
    heatmaps = explain(classifier, inference, PICTURE, GEOMETRY, ["grad-cam"], top_finding=True)
    assert [(h.finding.label, h.positive) for h in heatmaps] == [("Edema", True), ("Mass", True)]


def test_top_finding_is_shown_only_on_request_and_says_so(classifier: Classifier) -> None:
    picture = small_inputs(1)[0, 0]
    thresholds = dict.fromkeys(classifier.algorithm.labels, 1.0)
    inference = infer(classifier, picture, thresholds, ())
    assert explain(classifier, inference, PICTURE, GEOMETRY, ["grad-cam"]) == ()
    (heatmap,) = explain(classifier, inference, PICTURE, GEOMETRY, ["grad-cam"], top_finding=True)
    assert heatmap.finding.score == max(f.score for f in inference.findings)
    assert not heatmap.positive


def test_the_top_finding_is_the_one_nearest_to_its_threshold(classifier: Classifier) -> None:
    picture = small_inputs(1)[0, 0]
    scores = {f.label: f.score for f in infer(classifier, picture, {}, ()).findings}
    lowest = min(scores, key=lambda label: scores[label])
    thresholds = dict.fromkeys(scores, 1.0) | {lowest: min(1.0, scores[lowest] + 0.001)}
    inference = infer(classifier, picture, thresholds, ())
    (heatmap,) = explain(classifier, inference, PICTURE, GEOMETRY, ["grad-cam"], top_finding=True)
    assert heatmap.finding.label == lowest


def test_undetermined_findings_are_not_shown_as_positive(classifier: Classifier) -> None:
    check = InputCheck(name="view", verdict=Verdict.UNDETERMINED, reason="a lateral view")
    everything = dict.fromkeys(classifier.algorithm.labels, 0.0)
    inference = infer(classifier, small_inputs(1)[0, 0], everything, (check,))
    assert explain(classifier, inference, PICTURE, GEOMETRY, ["grad-cam"]) == ()
    (heatmap,) = explain(classifier, inference, PICTURE, GEOMETRY, ["grad-cam"], top_finding=True)
    assert not heatmap.positive
