from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchxrayvision import models as torchxrayvision

from mcads_node.classifier import Classifier, load_classifier
from mcads_node.engine.scores import op_norm
from mcads_node.errors import ConfigError, InstanceUnreadable, ModelUnusable
from mcads_node.finding import Presence
from mcads_node.infer import infer
from mcads_node.instance import InputCheck, Verdict
from mcads_node.model_store.manifest import Output
from tests.model_samples import (
    DEMONSTRATION,
    SEEDED,
    official_network,
    seeded_store,
    shipped_store,
    small_inputs,
)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)


def test_scores_equal_torchxrayvisions(tmp_path: Path) -> None:
    store = seeded_store(tmp_path)
    classifier = load_classifier(store, SEEDED, device="cpu", threads=1)
    network = official_network(store)
    network.op_threshs = torch.tensor(store.manifest(SEEDED).operating_points)
    inputs = small_inputs(3)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).numpy()
    for picture, scores in zip(inputs, expected, strict=True):
        findings = infer(classifier, picture[0], {}, ()).findings
        assert [f.label for f in findings] == list(classifier.algorithm.labels)
        np.testing.assert_allclose([f.score for f in findings], scores, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1, width=32),
            st.one_of(st.just(float("nan")), st.floats(2**-20, 1 - 2**-20, width=32)),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_op_norm_is_torchxrayvisions_bit_for_bit(pairs: list[tuple[float, float]]) -> None:
    outputs = torch.tensor([[output for output, _ in pairs]], dtype=torch.float32)
    points = torch.tensor([point for _, point in pairs], dtype=torch.float32)
    expected = torchxrayvision.op_norm(outputs, points)
    scores = op_norm(outputs.numpy(), points.numpy())
    assert np.array_equal(scores, expected.numpy())
    assert float(scores.min()) >= 0.0
    assert float(scores.max()) <= 1.0


def test_op_norm_meets_the_operating_point_at_one_half() -> None:
    points = np.full(4, 0.25, np.float32)
    scores = op_norm(np.array([[0.0, 0.125, 0.25, 1.0]], np.float32), points)
    assert scores.tolist() == [[0.0, 0.25, 0.5, 1.0]]


def test_thresholds_of_the_route_decide(classifier: Classifier) -> None:
    picture = small_inputs(1)[0, 0]
    plain = infer(classifier, picture, {}, ()).findings
    assert all(f.threshold == 0.5 for f in plain)
    label, score = plain[5].label, plain[5].score
    above = infer(classifier, picture, {label: min(1.0, score + 0.01)}, ()).findings
    below = infer(classifier, picture, {label: score - 0.01}, ()).findings
    assert (above[5].presence, below[5].presence) == (Presence.ABSENT, Presence.PRESENT)
    assert [f for f in above if f.label != label] == [f for f in plain if f.label != label]


def test_an_unfit_input_claims_nothing(classifier: Classifier) -> None:
    check = InputCheck(name="polarity", verdict=Verdict.UNDETERMINED, reason="the polarity is in doubt")
    findings = infer(classifier, small_inputs(1)[0, 0], {}, (check,)).findings
    assert {f.presence for f in findings} == {Presence.UNDETERMINED}
    warned = infer(classifier, small_inputs(1)[0, 0], {}, (replace(check, verdict=Verdict.WARN),)).findings
    assert Presence.UNDETERMINED not in {f.presence for f in warned}


def test_bad_thresholds_are_all_named(classifier: Classifier) -> None:
    thresholds = {"Pneumotorax": 0.5, "Mass": 1.5, "Nodule": float("nan"), "Edema": 0.2}
    with pytest.raises(ConfigError) as caught:
        infer(classifier, small_inputs(1)[0, 0], thresholds, ())
    assert [problem.key for problem in caught.value.problems] == [
        "analyse.thresholds.Pneumotorax",
        "analyse.thresholds.Mass",
        "analyse.thresholds.Nodule",
    ]
    assert "Pneumothorax" in str(caught.value)


def test_an_output_without_operating_point_is_no_finding(classifier: Classifier) -> None:
    outputs = list(classifier.manifest.outputs)
    outputs[2] = outputs[2].model_copy(update={"operating_point": None})
    outputs[3] = Output(label="", operating_point=None)
    manifest = classifier.manifest.model_copy(update={"outputs": tuple(outputs)})
    fewer = Classifier(manifest, classifier.engine, shipped_store(Path("nowhere")).read(DEMONSTRATION))
    picture = small_inputs(1)[0, 0]
    expected = infer(classifier, picture, {}, ()).findings
    assert infer(fewer, picture, {}, ()).findings == expected[:2] + expected[4:]
    assert fewer.algorithm.labels == classifier.algorithm.labels[:2] + classifier.algorithm.labels[4:]
    with pytest.raises(ConfigError, match="Infiltration"):
        infer(fewer, picture, {"Infiltration": 0.5}, ())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1100.0, 3000.0])
def test_values_out_of_range_are_refused(classifier: Classifier, value: float) -> None:
    picture = small_inputs(1)[0, 0]
    picture[100, 100] = value
    with pytest.raises(InstanceUnreadable, match="-1024…1024"):
        infer(classifier, picture, {}, ())


def test_rounding_at_the_ends_of_the_range_is_not_refused(classifier: Classifier) -> None:
    infer(classifier, np.full((224, 224), 1024.001, dtype=np.float32), {}, ())


@pytest.mark.parametrize(
    "picture", [np.zeros((224, 223), np.float32), np.zeros((1, 224, 224), np.float32), np.zeros((224, 224))]
)
def test_another_shape_or_type_is_refused(classifier: Classifier, picture: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="expected float32 224 × 224"):
        infer(classifier, picture, {}, ())


def test_outputs_that_are_not_finite_are_an_error() -> None:
    broken = load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)
    with torch.no_grad():
        broken.network.head.get_parameter("bias")[4] = float("nan")
    with pytest.raises(ModelUnusable, match=f"1 of {len(broken.manifest.outputs)}"):
        infer(broken, small_inputs(1)[0, 0], {}, ())
