"""The verbs ``models evaluate``, ``calibrate`` and ``thresholds``: one run of a model, and its answers."""

from __future__ import annotations

import io
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from mcads_node.calibration import Unsealed, calibration_for, read_calibration
from mcads_node.classifier import Classifier, load_classifier
from mcads_node.cli import app
from mcads_node.config import Configuration, NodeConfig, Rule, RuleBook
from mcads_node.config.node import AnalysisSection, NodeSection
from mcads_node.errors import ConfigError, InstanceUnreadable, ModelUnusable, PermanentError
from mcads_node.evaluation.thresholds import read_thresholds
from mcads_node.infer import infer
from mcads_node.read.picture import is_picture, read_picture
from mcads_node.scoring import score
from mcads_node.service import check_model, check_models
from mcads_node.task import Scored
from mcads_node.verbs import scored as scored_module
from mcads_node.verbs.evaluation import calibrate, evaluate
from mcads_node.verbs.scored import Inputs, ScoredSet, score_images
from tests.documents import commands
from tests.encodings import data_set, part10, picture
from tests.model_samples import DEMONSTRATION, shipped_store, small_inputs
from tests.test_analyse_acting import analysed, request
from tests.test_calibration import parts

COUNT = 50
RUNNER = CliRunner()


def png(pixels: np.ndarray[Any, Any], mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(buffer, "PNG")
    return buffer.getvalue()


def pictures() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return ((small_inputs(COUNT)[:, 0, ::2, ::2] + 1024) * (255 / 2048)).astype(np.uint8)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("audit")
    images = folder / "images"
    images.mkdir()
    lines = ["file,patient,Effusion,Mass,Fibrosis"]
    for number, drawn in enumerate(pictures()):
        name = f"{number:03}.png"
        (images / name).write_bytes(png(drawn))
        lines.append(f"{name},P{number // 2},{number % 2},{int(number < 5)},")
    (images / "colour.png").write_bytes(png(np.dstack([pictures()[0], *2 * [pictures()[1]]])))
    (images / "broken.png").write_bytes(png(pictures()[0])[:300])
    (images / "text.dcm").write_bytes(b"no DICOM object")
    (images / "chest.dcm").write_bytes(part10(data_set(picture(), bits_stored=8)))
    lateral = data_set(picture(), bits_stored=8)
    lateral.PresentationIntentType = "FOR PROCESSING"
    (images / "processing.dcm").write_bytes(part10(lateral))
    others = ("colour.png", "broken.png", "text.dcm", "chest.dcm", "processing.dcm", "gone.png")
    lines += [f"{name},X{place},0,0,0" for place, name in enumerate(others)]
    labels = folder / "labels.csv"
    labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Inputs(model=DEMONSTRATION, images=images, labels=labels, data_dir=folder / "data")


@pytest.fixture(scope="module")
def read(inputs: Inputs) -> ScoredSet:
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        # each worker takes seconds to start
        patch.setattr(scored_module, "_MOST_WORKERS", 1)
        found = score_images(inputs, lambda done, total: seen.append((done, total)))
    assert seen == [(done, COUNT + 6) for done in range(COUNT + 7)]
    return found


@pytest.fixture(scope="module")
def scored(read: ScoredSet) -> ScoredSet:
    """The same, as if the model knew something of Effusion: its truth leans on the score."""
    stream = np.random.default_rng(1)
    of_label = np.array([found[7].score for found in read.findings])
    assert read.findings[0][7].label == "Effusion"
    leaning = of_label + stream.normal(0, of_label.std(), len(of_label)) > np.median(of_label)
    images = tuple(
        replace(image, truths={**image.truths, "Effusion": bool(truth)})
        for image, truth in zip(read.images, leaning, strict=True)
    )
    return replace(read, images=images)


@pytest.fixture(scope="module")
def classifier(inputs: Inputs, read: ScoredSet) -> Classifier:
    return load_classifier(shipped_store(inputs.data_dir / "models"), DEMONSTRATION, device="cpu")


# --- reading images


def test_images_that_say_nothing_are_named_with_their_reasons(read: ScoredSet) -> None:
    assert len(read.images) == COUNT + 1
    assert read.images[-1].name == "chest.dcm"
    reasons = {each.image: each.reason for each in read.left_out}
    assert set(reasons) == {"colour.png", "broken.png", "text.dcm", "processing.dcm", "gone.png"}
    assert "colour" in reasons["colour.png"]
    assert "damaged" in reasons["broken.png"]
    assert "FOR PROCESSING" in reasons["processing.dcm"]
    assert "No such file" in reasons["gone.png"]
    assert (read.patients, read.has_patients) == (COUNT // 2 + 1, True)
    assert read.labels == ("Fibrosis", "Effusion", "Mass")


def test_a_picture_is_scored_as_the_same_values_are(read: ScoredSet, classifier: Classifier) -> None:
    values = pictures()[3].astype(np.float32) * (2048 / 255) - 1024
    again = score(png(pictures()[3]), classifier)
    assert isinstance(again, Scored)
    assert [f.score for f in again.findings] == pytest.approx([f.score for f in read.findings[3]], abs=1e-6)
    assert np.abs(read_picture(png(pictures()[3])) - values).max() < 1e-3


def test_a_dicom_object_and_its_picture_score_alike(read: ScoredSet, classifier: Classifier) -> None:
    ds = data_set(picture(), bits_stored=8)
    alike = score(png(ds.pixel_array.astype(np.uint8)), classifier)
    assert isinstance(alike, Scored)
    assert ds.BitsStored == 8
    assert [f.score for f in alike.findings] == pytest.approx([f.score for f in read.findings[-1]], abs=1e-5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_in_other_channels_is_grey(mode: str) -> None:
    assert np.array_equal(read_picture(png(pictures()[0], mode)), read_picture(png(pictures()[0])))


@pytest.mark.parametrize("mode", ["1", "P", "I;16"])
def test_pictures_that_are_not_8_bit_grey_are_refused(mode: str) -> None:
    picture = png(pictures()[0].astype(np.uint16) * 257) if mode == "I;16" else png(pictures()[0], mode)
    assert is_picture(picture)
    with pytest.raises(InstanceUnreadable, match="8 bit grey"):
        read_picture(picture)


def test_the_digest_of_the_data_is_of_images_and_labels(read: ScoredSet, scored: ScoredSet) -> None:
    assert len(read.data_digest) == 64
    assert read.data_digest == scored.data_digest  # made when it was read


def test_nothing_to_read_is_an_error(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # nothing is submitted, so no worker need start
    monkeypatch.setattr(scored_module, "offline_compute", lambda *_arguments: nullcontext())
    labels = tmp_path / "labels.csv"
    labels.write_text("file,Mass\ngone.png,1\n")
    with pytest.raises(PermanentError, match="none of the 1 images could be read: the file cannot be read"):
        score_images(replace(inputs, labels=labels), lambda _done, _total: None)


# --- the verbs


@pytest.fixture
def cli(scored: ScoredSet, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    """The verbs, of a model that has read already."""
    monkeypatch.setattr(scored_module, "score_images", lambda _inputs, _progress: scored)
    monkeypatch.setenv("COLUMNS", "80")
    yield RUNNER


VERBS = ("evaluate", "calibrate", "thresholds")
AUDITS = [each for each in commands() if each[0] == "models" and each[1] in VERBS]


@pytest.mark.parametrize("arguments", AUDITS, ids=" ".join)
def test_a_documented_audit_runs(arguments: tuple[str, ...], cli: CliRunner, tmp_path: Path) -> None:
    given = list(arguments)
    if "--out" in given:
        place = given.index("--out") + 1
        given[place] = str(tmp_path / Path(given[place]).name)
    done = cli.invoke(app, given)
    assert done.exit_code == 0, done.output


def test_every_verb_of_an_audit_is_documented() -> None:
    assert {each[1] for each in AUDITS} == set(VERBS)


def test_evaluate_writes_what_it_says(scored: ScoredSet, cli: CliRunner, tmp_path: Path) -> None:
    line = f"models evaluate {DEMONSTRATION} --images i --labels l.csv --json --out {tmp_path}"
    done = cli.invoke(app, shlex.split(line))
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "reliability.png", "roc.png"]
    fibrosis, effusion, mass = told["labels"]
    assert effusion["auc"]["low"] < effusion["auc"]["value"] < effusion["auc"]["high"]
    assert (mass["positives"], mass["auc"]) == (5, None)
    # known of one image only
    assert (fibrosis["images"], fibrosis["positives"]) == (1, 0)
    assert {each["image"] for each in told["left_out"]} == {each.image for each in scored.left_out}
    assert told["caution"] == "DEMONSTRATION MODEL — NOT FOR CLINICAL USE"
    # no name of a patient
    assert "P1" not in done.stdout


def test_without_matplotlib_it_says_what_to_install(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    line = f"models evaluate {DEMONSTRATION} --images i --labels l.csv --out {tmp_path / 'new'}"
    done = cli.invoke(app, shlex.split(line))
    assert isinstance(done.exception, PermanentError)
    assert "mcads-node[audit]" in str(done.exception)
    assert not (tmp_path / "new").exists()


def test_a_calibration_is_made_and_used(
    scored: ScoredSet, cli: CliRunner, classifier: Classifier, tmp_path: Path, inputs: Inputs
) -> None:
    file = tmp_path / "north.yaml"
    line = f"models calibrate {DEMONSTRATION} --images i --labels l.csv --site 'North Clinic' --out {file}"
    done = cli.invoke(app, shlex.split(line))
    assert done.exit_code == 0, done.output
    made = read_calibration(file)
    assert made.digest in done.stdout
    assert list(made.labels) == ["Effusion"]
    assert made.left_out["Mass"] == "5 positive image(s), at least 20 are needed"
    assert made.left_out["Edema"] == "it is not in the file of labels"
    assert made.provenance.patients == scored.patients
    assert made.model.weights_digest == classifier.algorithm.weights_digest
    store = shipped_store(inputs.data_dir / "models")
    calibrated = load_classifier(store, DEMONSTRATION, device="cpu").speaking_through(made)
    assert calibrated.algorithm.calibration == made.mark
    assert calibrated.algorithm.device_uid != classifier.algorithm.device_uid
    picture = small_inputs(1)[0, 0]
    before, after = (infer(each, picture, {}, ()).findings for each in (classifier, calibrated))
    assert [(f.score, f.presence) for f in after] == [(f.score, f.presence) for f in before]
    assert [f.label for f in after if f.probability is not None] == ["Effusion"]
    # the file is not written over
    again = cli.invoke(app, shlex.split(line))
    assert isinstance(again.exception, PermanentError)


def test_thresholds_that_were_found_can_be_judged_on_other_patients(
    scored: ScoredSet, cli: CliRunner, tmp_path: Path
) -> None:
    """What ``models thresholds`` prints is what ``models evaluate`` reads."""
    line = f"models thresholds {DEMONSTRATION} --images i --labels l.csv --target sensitivity=0.9"
    file = tmp_path / "found.yaml"
    file.write_text(cli.invoke(app, shlex.split(line)).stdout, encoding="utf-8")
    found = read_thresholds(file, scored.manifest)
    assert set(found) == {"Effusion"}
    done: list[tuple[int, int]] = []
    own = evaluate(replace(scored, thresholds=found), None, lambda *each: done.append(each))
    assert done[-1] == (1000, 1000)
    before = evaluate(scored, None)
    assert own["own_thresholds"] == found
    assert before["own_thresholds"] == {}
    for told, threshold in ((own, found["Effusion"]), (before, scored.manifest.thresholds["Effusion"])):
        effusion = next(each for each in told["labels"] if each["label"] == "Effusion")
        assert effusion["threshold"] == threshold
    assert next(each for each in own["labels"] if each["label"] == "Effusion")["sensitivity"]["value"] >= 0.9


def test_thresholds_of_another_model_are_refused(scored: ScoredSet, tmp_path: Path) -> None:
    file = tmp_path / "found.yaml"
    file.write_text("analyse:\n  thresholds:\n    Effusion: 0.4\n    Hernia: 0.5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"found.yaml:4: analyse.thresholds.Hernia: .* has no such label"):
        read_thresholds(file, scored.manifest)


def test_what_a_calibration_says_can_be_evaluated(scored: ScoredSet, tmp_path: Path) -> None:
    made = calibrate(scored, "North", "platt", tmp_path / "n.yaml")
    points = {o.label: o.operating_point for o in scored.manifest.outputs if o.operating_point}
    findings = tuple(made.apply(found, points) for found in scored.findings)
    spoken = replace(scored, findings=findings, algorithm=made.speak_through(scored.algorithm))
    before, after = evaluate(scored, None), evaluate(spoken, None)
    assert after["calibration"] == {"site": "North", "digest": made.digest}
    assert before["calibration"] is None
    ours, theirs = (
        next(each for each in told["labels"] if each["label"] == "Effusion") for told in (after, before)
    )
    assert ours["auc"] == theirs["auc"]
    assert ours["sensitivity"] == theirs["sensitivity"]
    assert ours["ece"]["value"] < theirs["ece"]["value"]


def test_nothing_to_calibrate_is_an_error(scored: ScoredSet, tmp_path: Path) -> None:
    few = replace(scored, labels=("Mass",))
    with pytest.raises(PermanentError, match=r"no label can be calibrated: .*Mass: 5 positive"):
        calibrate(few, "North", "platt", tmp_path / "n.yaml")
    assert not (tmp_path / "n.yaml").exists()


def test_thresholds_are_printed_as_yaml(cli: CliRunner) -> None:
    line = f"models thresholds {DEMONSTRATION} --images i --labels l.csv --target sensitivity=0.9"
    done = cli.invoke(app, shlex.split(line))
    assert done.exit_code == 0, done.output
    said = yaml.safe_load(done.stdout)
    assert list(said["analyse"]["thresholds"]) == ["Effusion"]
    assert "# Mass: 5 positive image(s)" in done.stdout
    wrong = cli.invoke(app, shlex.split(line.replace("sensitivity=0.9", "auc=1")))
    assert isinstance(wrong.exception, PermanentError)


# --- the node's own configuration


def configured(inputs: Inputs, *files: Path) -> Configuration:
    analysis = AnalysisSection(model=DEMONSTRATION, allow_demonstration_models=True, calibration=files)
    node = NodeConfig(node=NodeSection(data_dir=inputs.data_dir), analysis=analysis)
    return Configuration(node=node, book=RuleBook())


def test_a_node_refuses_a_calibration_of_another_model(
    inputs: Inputs, scored: ScoredSet, tmp_path: Path
) -> None:
    right = tmp_path / "right.yaml"
    calibrate(scored, "North", "platt", right)
    assert check_model(configured(inputs, right).node, DEMONSTRATION) == scored.algorithm.weights_digest
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(Unsealed.model_validate(parts()).seal().model_dump(mode="json")))
    with pytest.raises(ModelUnusable, match=r"wrong\.yaml: it is for model densenet121-res224-all"):
        check_models(configured(inputs, right, wrong).node, ())
    other = tmp_path / "other.yaml"
    plain = read_calibration(right).model_dump(mode="json", exclude={"digest"})
    plain["model"]["version"] += 1
    other.write_text(yaml.safe_dump(Unsealed.model_validate(plain).seal().model_dump(mode="json")))
    with pytest.raises(ModelUnusable, match=r"other\.yaml: it is for model mcads-demo, version 2"):
        check_model(configured(inputs, other).node, DEMONSTRATION)
    with pytest.raises(ModelUnusable, match=r"is for model mcads-demo at North too"):
        check_models(configured(inputs, right, Path(shutil.copy(right, tmp_path / "again.yaml"))).node, ())
    with pytest.raises(ConfigError, match="cannot be read"):
        check_model(configured(inputs, tmp_path / "none.yaml").node, DEMONSTRATION)


def test_each_site_has_a_calibration_of_its_own(
    inputs: Inputs, scored: ScoredSet, classifier: Classifier, tmp_path: Path
) -> None:
    files = [tmp_path / f"{site}.yaml" for site in ("North", "South")]
    made = [calibrate(scored, file.stem, "platt", file) for file in files]
    assert calibration_for(made, DEMONSTRATION, "South") is made[1]
    # of several none is taken that nobody asked for; of another model none is
    assert calibration_for(made, DEMONSTRATION) is None
    assert calibration_for(made[:1], DEMONSTRATION) is made[0]
    assert calibration_for(made[:1], DEMONSTRATION, "South") is None
    assert calibration_for(made[:1], "other", "North") is None
    spoken = {classifier.speaking_through(each).algorithm.device_uid for each in (*made, None)}
    assert len(spoken) == 3 and classifier.calibration is None
    rule = {"explain": [], "calibration": "South"}
    asked, _ = analysed(classifier, request(rule, calibrations=tuple(made)))
    assert asked.algorithm.calibration == made[1].mark
    assert [f.label for f in asked.findings if f.probability is not None] == ["Effusion"]
    wanted = [
        Rule.model_validate({"name": site, "when": {}, "analyse": {"calibration": site}, "send_to": ["pacs"]})
        for site in ("North", "South")
    ]
    node = configured(inputs, *files).node
    assert list(check_models(node, wanted)) == [DEMONSTRATION]
    with pytest.raises(ModelUnusable, match=r"rule 'South': .* for site 'South' \(there is: North\)"):
        check_models(configured(inputs, files[0]).node, wanted)


def test_a_relative_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an absolute path"):
        AnalysisSection.model_validate({"calibration": "north.yaml"})
