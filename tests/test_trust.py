"""Trust in the numbers: whatever wraps a radiograph, and however it is computed, it scores the same."""

from __future__ import annotations

import copy
import hashlib
import io
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import torchxrayvision as xrv
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load

from mcads_node import phantom
from mcads_node.analyse import analyse, compose
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.config import RoutesConfig, load_triage
from mcads_node.engine.scores import scores_of
from mcads_node.finding import Finding
from mcads_node.infer import infer
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.profile import DEFAULT, OF_IMAGES
from mcads_node.result import ObjectKind, Rendition, ReportContext
from mcads_node.scoring import score
from mcads_node.shipped import shipped_folder
from mcads_node.task import Analysis, AnalysisRequest, ReportRequest
from tests.documents import ROOT
from tests.encodings import data_set, every_depth, every_lossless_encoding, part10
from tests.model_samples import DEMONSTRATION, SEEDED, seeded_store, shipped_store, small_inputs
from tests.shared_data import data_dir

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def demonstration() -> Classifier:
    return load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)


def found(data: bytes, classifier: Classifier) -> tuple[Finding, ...]:
    scored = score(data, classifier)
    assert not isinstance(scored, Declined)
    return scored.findings


#: what the design names: each is in the name of one encoding at least that was written here
NAMED = (
    *("MONOCHROME1", "MONOCHROME2", "8 bit", "10 bit", "12 bit", "16 bit", "signed", "unsigned", "rescaled"),
    *("Modality LUT", "VOI LUT", "window", "overlay", "RLE", "JPEG lossless", "JPEG-LS", "JPEG 2000"),
    *("big endian", "implicit", "deflated"),
)


def test_one_radiograph_scores_the_same_in_every_encoding(demonstration: Classifier) -> None:
    """A real one, where there are any."""
    image = pictures()[-1].copy()
    image[0, :2], image[-1, -3:] = 0, 255  # the whole range is in it
    encodings = every_lossless_encoding(image) | every_depth(image)
    plain = found(encodings["8 bit"](), demonstration)
    # labels differ by far more than encodings may: 0.04 in a drawing, more in a real one
    assert np.std([each.score for each in plain]) > 0.03
    # decided by a threshold in the widest gap as well: by the model's own, the drawing has nothing
    ranked = np.sort([each.score for each in plain])
    widest = int(np.argmax(np.diff(ranked)))
    threshold = float(ranked[widest : widest + 2].mean())
    written = []
    for name, write in encodings.items():
        try:
            data = write()
        except pytest.skip.Exception:
            continue  # an encoder that is not installed: test_read tells of it
        written.append(name)
        for expected, each in zip(plain, found(data, demonstration), strict=True):
            assert abs(each.score - expected.score) < 0.01, (name, each.label)
            assert each.presence == expected.presence, (name, each.label)
            assert (each.score >= threshold) == (expected.score >= threshold), (name, each.label)
    without = set() if shutil.which("dcmcjpeg") else {"JPEG lossless"}
    assert {word for word in NAMED if not any(word in name for name in written)} == without


def pictures() -> list[NDArray[np.uint8]]:
    """Three real radiographs, and one that is always there."""
    stored = phantom.radiograph(rows=300, columns=260).pixel_array.astype(np.float64)
    drawn = [np.rint((stored - stored.min()) * 255 / np.ptp(stored)).astype(np.uint8)]
    try:
        files = sorted((data_dir() / "nih" / "images").glob("*.jpg"))[:3]
    except pytest.skip.Exception:
        files = []
    return drawn + [np.asarray(Image.open(file).convert("L")) for file in files]


def test_scores_are_torchxrayvisions_own(tmp_path: Path) -> None:
    """Its own reading, crop, resizing, network and normalisation, with the same weights."""
    store = seeded_store(tmp_path)
    classifier = load_classifier(store, SEEDED, device="cpu", threads=1)
    theirs = xrv.models.DenseNet(
        num_classes=len(classifier.manifest.outputs),
        op_threshs=torch.tensor(classifier.manifest.operating_points),
    )
    theirs.load_state_dict(load(store.read(SEEDED).data), strict=False)
    theirs.eval()
    for picture in pictures():
        pixels = xrv.datasets.XRayCenterCrop()(xrv.datasets.normalize(picture, 255)[None])
        pixels = xrv.datasets.XRayResizer(224, engine="skimage")(pixels)
        with torch.no_grad():
            expected = theirs(torch.from_numpy(pixels[None].astype(np.float32)))[0].numpy()
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        scores = [each.score for each in found(buffer.getvalue(), classifier)]
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)
        # and as a node gets it
        received = found(part10(data_set(picture, bits_stored=8)), classifier)
        np.testing.assert_allclose([each.score for each in received], expected, rtol=0, atol=1e-4)
        assert np.std(scores) > 0.05


def test_a_batch_of_one_is_a_batch_of_many_and_both_are_the_reference(demonstration: Classifier) -> None:
    """The reference: the same network in double precision."""
    batch = small_inputs(3)
    exact = copy.deepcopy(demonstration.network)
    exact.module.double()
    with torch.no_grad():
        expected = exact.logits(torch.from_numpy(batch).double()).numpy()

    def scores(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return scores_of(logits, demonstration.operating_points)

    many = scores(demonstration.forward(batch)[1])
    ones = np.concatenate([scores(demonstration.forward(each[None])[1]) for each in batch])
    np.testing.assert_allclose(many, ones, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ones, scores(expected), rtol=0, atol=1e-4)
    assert ones.std() > 0.05
    inferred = infer(demonstration, batch[0, 0], {}, ()).findings
    assert np.array_equal([each.score for each in inferred], ones[0])


def digest_of_results() -> str:
    """Analyse one image by every method and report it in every kind, as a worker does; digest all bytes."""
    context = ReportContext(series_started=NOW, created=NOW)
    classifier = load_classifier(shipped_store(Path("nowhere")), DEMONSTRATION, device="cpu", threads=1)
    analysis = {"explain": ["grad-cam", "grad-cam-combined", "pli"], "thresholds": {"Mass": 0.0}}
    rule = {"name": "all", "when": {}, "analyse": analysis, "send_to": ["pacs"]}
    made = analyse(
        AnalysisRequest(
            data=phantom.save(phantom.radiograph(rows=200, columns=160)),
            circumstances=Circumstances(
                requestor=Requestor(ae_title="A", address="127.0.0.1", called_ae_title="B"), received_at=NOW
            ),
            rules=RoutesConfig.model_validate({"routes": [rule]}).routes,
            rules_digest="0" * 64,
            default_model=DEMONSTRATION,
            profiles={"pacs": DEFAULT},
            context=context,
            triage=load_triage(shipped_folder("config") / "triage.yaml"),
        ),
        lambda _name: classifier,
    )
    assert isinstance(made, Analysis)
    of_the_study = set(ObjectKind) - OF_IMAGES
    report = compose(
        ReportRequest(
            readings=(made.record(),),
            algorithm=made.algorithm,
            renditions=tuple(Rendition(kind=kind) for kind in ObjectKind if kind in of_the_study),
            context=context,
        )
    )
    assert {each.kind for each in report.objects} == of_the_study
    objects = [*made.objects, *report.objects]
    uids = [each.sop_instance_uid for each in objects]
    assert len(uids) == len(set(uids)) >= 8
    return hashlib.sha256(b"".join(each.data for each in objects) + made.thumbnail).hexdigest()


def test_the_same_input_gives_the_same_bytes_in_another_process() -> None:
    program = "from tests.test_trust import digest_of_results; print(digest_of_results())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest_of_results()
