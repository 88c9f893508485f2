"""Models beside the classifier: equal to torchxrayvision's, and their part in the path of a radiograph."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mcads_node import analyse as steps
from mcads_node import worker
from mcads_node.accompanying import anatomy_of, made_anew
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.companions import Companions, load_companions
from mcads_node.companions.reconstructor import Reconstructor, load_reconstructor
from mcads_node.companions.segmenter import Segmenter, load_segmenter
from mcads_node.config import CHECKS, NodeConfig, NodeSection, ReconstructionSection
from mcads_node.errors import ModelUnusable
from mcads_node.gate import failed_checks
from mcads_node.instance import InputCheck, Radiograph, Verdict, View
from mcads_node.model_store.store import ModelStore
from mcads_node.profile import Profile
from mcads_node.report.sentences import sentence
from mcads_node.report.translation import translator
from mcads_node.resample import geometry_for, model_input
from mcads_node.result import ObjectKind, Rendition
from mcads_node.service import check_model, companions_of
from mcads_node.structure import Mask, Structures
from mcads_node.task import Analysis
from mcads_node.verbs.study_table import _measured
from tests.anatomy_samples import SEGMENTATION, masks, structures
from tests.model_samples import (
    DEMONSTRATION,
    SEEDED_AUTOENCODER,
    SEEDED_PSPNET,
    official_network,
    seeded_store,
    shipped_store,
    small_inputs,
)
from tests.report_samples import UNFIT, full
from tests.test_analyse_acting import request
from tests.test_analyse_acting import settings as worker_settings

#: not square, and larger than what the networks see
PIXELS = small_inputs(1, 120)[0, 0, :, :100]
#: of a PSPNet's input: with weights that mean nothing, any size will do that its pyramid divides
SIDE = 96


def image(view: View = View.PA, checks: tuple[InputCheck, ...] = ()) -> Radiograph:
    return Radiograph(header=full(), pixels=np.zeros((90, 70), np.float32), view=view, checks=checks)


# --------------------------------------------------------------------------------------------- segmentation


@pytest.fixture(scope="module")
def pspnet(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return seeded_store(tmp_path_factory.mktemp("pspnet"), SEEDED_PSPNET, SIDE)


def test_structures_are_torchxrayvisions(pspnet: ModelStore) -> None:
    segmenter = load_segmenter(pspnet, SEEDED_PSPNET, device="cpu")
    found = segmenter.find(PIXELS)
    square = model_input(PIXELS, geometry_for(120, 100, SIDE))
    with torch.no_grad():
        expected = torch.sigmoid(
            official_network(pspnet, SEEDED_PSPNET)(torch.from_numpy(square)[None, None])
        )
    assert tuple(found.probabilities) == pspnet.segmentation(SEEDED_PSPNET).structures
    for name, theirs in zip(found.probabilities, expected[0].numpy(), strict=True):
        np.testing.assert_allclose(found.probabilities[name], theirs, rtol=0, atol=1e-5)
        assert theirs.std() > 1e-3  # the comparison is of numbers that differ
    assert (found.geometry.side, found.geometry.size, found.threshold) == (100, SIDE, 0.5)
    assert found.algorithm.name == SEEDED_PSPNET
    assert found.algorithm.weights_digest == pspnet.verify(SEEDED_PSPNET)


def test_a_network_that_gives_no_numbers_is_told(pspnet: ModelStore) -> None:
    manifest = pspnet.segmentation(SEEDED_PSPNET)

    class Broken(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.full((1, 14, *batch.shape[2:]), torch.nan)

    class Full(torch.nn.Module):
        def forward(self, _batch: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no memory left")

    for network, complaint in ((Broken(), "finite"), (Full(), "no memory left")):
        with pytest.raises(ModelUnusable, match=complaint):
            Segmenter(manifest, network, torch.device("cpu"), "0" * 64).find(PIXELS)


# ------------------------------------------------------------------------------------------- reconstruction


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return seeded_store(tmp_path_factory.mktemp("autoencoder"), SEEDED_AUTOENCODER)


def test_the_error_is_that_of_torchxrayvisions_autoencoder(autoencoder: ModelStore) -> None:
    section = ReconstructionSection(model=SEEDED_AUTOENCODER, limit=0.2)
    companions = load_companions(autoencoder, None, section)
    assert companions.segmenter is None and companions.limit == 0.2
    assert companions.reconstructor is not None
    batch = torch.from_numpy(model_input(PIXELS, geometry_for(120, 100, 224)))[None, None]
    with torch.no_grad():
        theirs = official_network(autoencoder, SEEDED_AUTOENCODER)(batch)["out"]
    expected = float((theirs - batch).abs().mean()) / 2048
    assert companions.reconstructor.error_of(PIXELS) == pytest.approx(expected, rel=1e-6)
    assert expected > 0.01


def reconstructor(error: float) -> Reconstructor:
    """Make one that is off by so much of the range, everywhere."""

    class Off(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch + error * 2048

    return Reconstructor(shipped_store(Path("nowhere")).autoencoder("resnet-ae101-elastic"), Off(), CPU)


CPU = torch.device("cpu")


@pytest.mark.parametrize(("error", "limit", "fails"), [(0.05, 0.04, True), (0.05, 0.06, False)])
def test_the_sites_limit_decides_the_check(error: float, limit: float, fails: bool) -> None:
    anew = made_anew(image(), Companions(reconstructor=reconstructor(error), limit=limit), CHECKS)
    assert anew is not None and anew.error == pytest.approx(error, abs=1e-6)
    square = small_inputs(1)[0, 0]
    radiograph = Radiograph(header=full(), pixels=square, view=View.LATERAL)
    quiet = {**dict.fromkeys(CHECKS, Verdict.PASS), "reconstruction": Verdict.UNDETERMINED}
    failed = failed_checks(radiograph, square, quiet, anew)
    assert [(each.name, each.verdict) for each in failed] == [("reconstruction", Verdict.UNDETERMINED)][
        : int(fails)
    ]
    for each in failed:
        assert "error of 0.0500, above the site's limit of 0.04:" in each.reason
        assert sentence(each.reason, translator("lt")) != each.reason


def test_the_check_is_made_only_where_it_is_configured_and_wanted() -> None:
    assert made_anew(image(), Companions(), CHECKS) is None
    quiet = {**CHECKS, "reconstruction": Verdict.PASS}
    assert made_anew(image(), Companions(reconstructor=reconstructor(0.5)), quiet) is None
    assert CHECKS["reconstruction"] is Verdict.WARN


def test_a_check_that_cannot_be_made_is_not_passed() -> None:
    with pytest.raises(ModelUnusable, match="finite"):
        made_anew(image(), Companions(reconstructor=reconstructor(float("nan"))), CHECKS)


@pytest.mark.parametrize(
    ("load", "name"), [(load_segmenter, DEMONSTRATION), (load_reconstructor, DEMONSTRATION)]
)
def test_a_classifier_is_no_companion(load: Any, name: str) -> None:
    with pytest.raises(ModelUnusable, match="found classifier"):
        load(shipped_store(Path("nowhere")), name)


# ---------------------------------------------------------------------------- on the way of one radiograph


class Drawn:
    """Takes the place of a segmentation model: finds what was drawn by hand."""

    algorithm = SEGMENTATION

    def __init__(self, drawn: Mapping[str, Mask]) -> None:
        self.drawn, self.asked = drawn, 0

    def find(self, pixels: NDArray[np.float32]) -> Structures:
        self.asked += 1
        return structures(self.drawn, *pixels.shape)


class Fails(Drawn):
    def find(self, _pixels: NDArray[np.float32]) -> Structures:
        raise ModelUnusable("model pspnet-chestx-det: cpu failed: no memory left")


def beside(segmenter: Drawn) -> Companions:
    return Companions(segmenter=cast(Segmenter, segmenter))


@pytest.mark.parametrize(
    ("view", "asked"), [(View.PA, 1), (View.AP, 1), (View.LATERAL, 0), (View.OTHER, 0), (View.UNKNOWN, 0)]
)
def test_only_frontal_images_are_measured(view: View, asked: int) -> None:
    segmenter = Drawn(masks())
    anatomy = anatomy_of(image(view), beside(segmenter))
    assert segmenter.asked == asked
    assert (anatomy.reading is not None) == (anatomy.structures is not None) == bool(asked)


def test_what_is_not_fit_for_a_model_is_not_measured() -> None:
    segmenter = Drawn(masks())
    anatomy = anatomy_of(image(checks=(UNFIT,)), beside(segmenter))
    assert segmenter.asked == 0
    assert anatomy.structures is None
    assert anatomy.reading is not None
    assert anatomy.reading.refusals == ("The input is not fit for a model.",)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, "cpu", threads=1)


def analysed(classifier: Classifier, segmenter: Drawn | None, **more: Any) -> Analysis:
    profile = Profile(renditions=tuple(Rendition(kind=kind) for kind in (ObjectKind.SR, ObjectKind.SEG)))
    # the phantom is too small for its checks to mean anything
    checks = dict.fromkeys(CHECKS, "pass")
    asked = replace(request({"explain": [], "checks": checks}, **more), profiles={"pacs": profile})
    companions = Companions() if segmenter is None else beside(segmenter)
    outcome = steps.analyse(asked, lambda _name: classifier, companions)
    assert isinstance(outcome, Analysis)
    return outcome


def test_plausible_structures_are_measured_and_drawn(classifier: Classifier) -> None:
    analysis = analysed(classifier, Drawn(masks()))
    assert analysis.anatomy is not None
    assert analysis.anatomy.cardiothoracic_ratio == pytest.approx(0.5, abs=0.02)
    assert analysis.record().anatomy is analysis.anatomy
    (drawn,) = analysis.objects
    # it belongs to the analysis, and so to the model whose findings it stands beside
    assert (drawn.kind, drawn.device_uid) == (ObjectKind.SEG, classifier.algorithm.device_uid)
    assert analysis.omitted == ()


def test_implausible_structures_are_told_and_not_drawn(classifier: Classifier) -> None:
    drawn = masks()
    drawn["Heart"] = np.zeros_like(drawn["Heart"])
    analysis = analysed(classifier, Drawn(drawn))
    assert analysis.objects == ()
    assert analysis.anatomy is not None and analysis.anatomy.cardiothoracic_ratio is None


def test_a_segmentation_that_fails_costs_no_findings(classifier: Classifier) -> None:
    plain, failed = analysed(classifier, None), analysed(classifier, Fails({}))
    assert failed.findings == plain.findings
    assert (plain.anatomy, failed.anatomy) == (None, None)
    assert failed.omitted == ("anatomy: model pspnet-chestx-det: cpu failed: no memory left",)


def test_a_shadow_measures_nothing(classifier: Classifier) -> None:
    segmenter = Drawn(masks())
    assert analysed(classifier, segmenter, rule="new model", shadow=True).anatomy is None
    assert segmenter.asked == 0


def test_a_limit_is_the_sites_to_set() -> None:
    with pytest.raises(ValueError, match="limit"):
        ReconstructionSection.model_validate({"model": "resnet-ae101-elastic"})


# ------------------------------------------------------------------------------------------- as configured


def configured(**analysis: Any) -> NodeConfig:
    return NodeConfig.model_validate({"analysis": {"model": DEMONSTRATION, **analysis}})


@pytest.mark.parametrize(
    ("analysis", "complaint"),
    [
        ({"anatomy": DEMONSTRATION}, "expected kind: segmentation, found classifier"),
        (
            {"anatomy": "pspnet-chestx-det"},
            "absent; run: mcads-node models fetch pspnet-chestx-det",
        ),
        ({"reconstruction": {"limit": 0.1}}, "run: mcads-node models fetch resnet-ae101-elastic"),
        ({"reconstruction": {"model": "pspnet-chestx-det", "limit": 0.1}}, "expected kind: autoencoder"),
    ],
)
def test_companions_are_made_sure_of_at_the_start(
    tmp_path: Path, analysis: dict[str, Any], complaint: str
) -> None:
    node = configured(**analysis, allow_demonstration_models=True)
    node = node.model_copy(update={"node": NodeSection(data_dir=tmp_path)})
    (name,) = companions_of(node)
    with pytest.raises(ModelUnusable, match=complaint):
        check_model(node, name)


def test_without_companions_no_weights_of_one_are_needed() -> None:
    assert companions_of(configured()) == ()
    nothing = load_companions(shipped_store(Path("nowhere")), None, None)
    assert (nothing.segmenter, nothing.reconstructor) == (None, None)


def test_a_worker_loads_its_companions_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded: list[tuple[object, ...]] = []

    def load(_store: ModelStore, *asked: object) -> Companions:
        loaded.append(asked)
        return Companions()

    monkeypatch.setattr(worker, "load_companions", load)
    section = ReconstructionSection(limit=0.1)
    work = worker._Work(worker_settings(tmp_path, anatomy="pspnet-chestx-det", reconstruction=section))
    assert work._accompanying() is work._accompanying()
    assert loaded == [("pspnet-chestx-det", section)]


def test_show_tells_the_ratio_or_the_reasons() -> None:
    ratio = {"model": "pspnet-chestx-det", "cardiothoracic_ratio": 0.5234, "refusals": []}
    assert _measured(ratio) == "cardiothoracic ratio 0.52 (pspnet-chestx-det, not verified)"
    refused = {"model": "pspnet-chestx-det", "cardiothoracic_ratio": None, "refusals": ["One.", "Two."]}
    assert _measured(refused) == "no cardiothoracic ratio (pspnet-chestx-det): One. Two."
