import hashlib
import math
import uuid
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors import numpy as safetensors
from torchxrayvision.models import DenseNet, model_urls

import mcads_node
from mcads_node.architectures import ARCHITECTURES, layout
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.errors import ModelUnusable
from mcads_node.infer import infer
from mcads_node.model_store.manifest import Manifest
from mcads_node.model_store.store import ModelStore
from tests.model_samples import (
    DEMONSTRATION,
    OFFICIAL,
    SEEDED,
    SEEDED_RESNET,
    official_network,
    seeded,
    seeded_store,
    shipped_store,
    small_inputs,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return shipped_store(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def classifier(store: ModelStore) -> Classifier:
    return load_classifier(store, DEMONSTRATION, device="cpu", threads=1)


def test_layout_is_that_of_torchxrayvision() -> None:
    theirs = DenseNet(num_classes=7).state_dict()
    expected = {k: tuple(v.shape) for k, v in theirs.items() if not k.endswith("num_batches_tracked")}
    assert layout("densenet121", 7) == expected


def test_the_manifest_knows_the_architectures_that_are_built() -> None:
    assert set(get_args(Manifest.model_fields["architecture"].annotation)) == set(ARCHITECTURES)


def test_logits_equal_torchxrayvisions(tmp_path: Path) -> None:
    store = seeded_store(tmp_path)
    network, classifier = official_network(store), load_classifier(store, SEEDED, device="cpu", threads=1)
    batch = small_inputs(3)
    with torch.no_grad():
        expected = network(torch.from_numpy(batch))
    feature_map, logits = classifier.forward(batch)
    assert feature_map.shape == (3, 1024, 7, 7)
    assert float(feature_map.min()) >= 0.0
    assert logits.shape == (3, 18)
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-5)
    assert float(expected.std()) > 0.1  # the comparison is of numbers that differ


@pytest.mark.parametrize(("size", "cells"), [(32, 1), (65, 3), (224, 7)])
def test_a_stride_of_two_halves_and_rounds_up(size: int, cells: int) -> None:
    network = ARCHITECTURES["efficientnet-lite0"](2)
    network.module.eval()
    with torch.no_grad():
        feature_map = network.features(torch.zeros(1, 1, size, size))
    assert feature_map.shape == (1, 1280, cells, cells)
    assert network.head(feature_map.mean(dim=(2, 3))).shape == (1, 2)


@pytest.mark.parametrize(("size", "first"), [(8, 0), (9, 1)])
def test_padding_is_tensorflows(size: int, first: int) -> None:
    """An odd pixel is added below and right: windows of 3 begin at the edge where the size is even."""
    stem = ARCHITECTURES["efficientnet-lite0"](2).features.get_submodule("0.0")
    picture = torch.arange(float(size * size)).reshape(1, 1, size, size)
    kernel = torch.zeros(32, 1, 3, 3)
    kernel[:, :, first, first] = 1
    with torch.no_grad():
        stem.get_parameter("weight").copy_(kernel)
        assert torch.equal(stem(picture)[:, :1], picture[:, :, ::2, ::2])


@pytest.mark.parametrize(("name", "size"), [(SEEDED, 224), (SEEDED_RESNET, 512)])
def test_the_network_is_torchxrayvisions_bit_for_bit(tmp_path: Path, name: str, size: int) -> None:
    store = seeded_store(tmp_path, name)
    theirs = official_network(store, name)
    classifier = load_classifier(store, name, device="cpu", threads=1)
    assert classifier.input_size == size
    assert list(classifier.network.module.state_dict()) == list(theirs.state_dict())
    batch = small_inputs(1, size)
    feature_map, logits = classifier.forward(batch)
    assert feature_map.shape[2:] == (size // 32, size // 32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(batch)).numpy()
    assert np.array_equal(logits, expected)
    assert float(expected.std()) > 0.1  # the comparison is of numbers that differ


def test_what_a_network_was_not_trained_for_is_not_reported(tmp_path: Path) -> None:
    """The published operating points of two outputs are not there: no score could be made of them."""
    store = seeded_store(tmp_path, SEEDED_RESNET)
    classifier = load_classifier(store, SEEDED_RESNET, device="cpu", threads=1)
    findings = infer(classifier, small_inputs(1, 512)[0, 0], {}, ()).findings
    labels = [finding.label for finding in findings]
    assert labels == list(classifier.algorithm.labels)
    assert len(labels) == 16
    assert {"Lung Lesion", "Enlarged Cardiomediastinum"}.isdisjoint(labels)


@pytest.mark.parametrize("name", ["pspnet-chestx-det", "resnet-ae101-elastic"])
def test_a_model_of_another_kind_does_not_classify(store: ModelStore, name: str) -> None:
    with pytest.raises(ModelUnusable, match=f"{name}: expected kind: classifier, found"):
        load_classifier(store, name)


def test_feature_map_is_what_the_head_reads(classifier: Classifier) -> None:
    feature_map, logits = classifier.forward(small_inputs(2))
    assert feature_map.shape == (2, 1280, 7, 7)
    assert 0.0 <= float(feature_map.min()) < float(feature_map.max()) <= 6.0  # after ReLU6
    pooled = feature_map.mean(axis=(2, 3))
    bias = classifier.network.head.get_parameter("bias").numpy()
    np.testing.assert_allclose(pooled @ classifier.head_weights.T + bias, logits, rtol=0, atol=1e-5)


def test_batch_of_one_equals_batch_of_many(classifier: Classifier) -> None:
    inputs = small_inputs(4)
    _, many = classifier.forward(inputs)
    for i in range(4):
        _, one = classifier.forward(inputs[i : i + 1])
        np.testing.assert_allclose(one[0], many[i], rtol=0, atol=1e-5)


def test_nothing_is_written_to_standard_output(store: ModelStore, capfd: pytest.CaptureFixture[str]) -> None:
    classifier = load_classifier(store, DEMONSTRATION)
    classifier.forward(np.zeros((1, 1, 224, 224), np.float32))
    assert capfd.readouterr() == ("", "")


def test_algorithm_names_the_model_in_this_version(classifier: Classifier, store: ModelStore) -> None:
    algorithm = classifier.algorithm
    assert algorithm.name == DEMONSTRATION
    assert algorithm.version == f"{mcads_node.__version__}+{store.manifest(DEMONSTRATION).version}"
    assert algorithm.weights_digest == store.manifest(DEMONSTRATION).weights.digest
    assert algorithm.caution == "DEMONSTRATION MODEL — NOT FOR CLINICAL USE"
    assert algorithm.calibration is None
    # the labels of torchxrayvision that its data has, in torchxrayvision's order
    official = model_urls[OFFICIAL]["labels"]
    assert list(algorithm.labels) == [label for label in official if label in algorithm.labels]
    root, _, number = algorithm.device_uid.rpartition(".")
    assert root == "2.25"
    assert uuid.UUID(int=int(number)).version == 5
    assert load_classifier(store, DEMONSTRATION).algorithm == algorithm


def test_another_digest_is_another_device(classifier: Classifier, store: ModelStore) -> None:
    weights = replace(store.read(DEMONSTRATION), digest="0" * 64)
    other = Classifier(classifier.manifest, classifier.engine, weights)
    assert other.algorithm.device_uid != classifier.algorithm.device_uid


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:63"])
def test_unknown_device_is_refused(store: ModelStore, device: str) -> None:
    with pytest.raises(ModelUnusable, match="device"):
        load_classifier(store, DEMONSTRATION, device=device)


def test_threads_are_set(store: ModelStore) -> None:
    before = torch.get_num_threads()
    try:
        load_classifier(store, DEMONSTRATION, device="cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    store = shipped_store(tmp_path)
    folder = tmp_path / OFFICIAL
    folder.mkdir()
    data = safetensors.save(seeded(1, 3))
    (folder / "weights.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (folder / "weights.lock").write_text(f'{{"digest": "{digest}"}}')
    with pytest.raises(ModelUnusable, match="do not fit the architecture densenet121"):
        load_classifier(store, OFFICIAL)


def test_manifest_of_the_official_model_is_torchxrayvisions_table(store: ModelStore) -> None:
    table, manifest = model_urls[OFFICIAL], store.manifest(OFFICIAL)
    assert manifest.source.kind == "download"
    assert manifest.source.torchxrayvision == OFFICIAL
    assert manifest.source.url == table["weights_url"]
    assert list(manifest.operating_points) == table["op_threshs"]
    assert [output.label for output in manifest.outputs] == table["labels"]
    assert manifest.input.size == table["input_resolution"]
    assert not any(math.isnan(point) for point in manifest.operating_points)
