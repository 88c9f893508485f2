from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, precision_score, recall_score, roc_auc_score

from mcads_node.calibration import IsotonicCurve, LogisticCurve
from mcads_node.errors import PermanentError
from mcads_node.estimate import wilson
from mcads_node.evaluation import metrics
from mcads_node.evaluation.fitting import FEWEST_TO_FIT, CannotFit, fit, fit_curve
from mcads_node.evaluation.labelled import read_labels
from mcads_node.evaluation.metrics import judge
from mcads_node.evaluation.plots import draw_reliability, draw_roc
from mcads_node.evaluation.sample import Sample, numbered, resampled
from mcads_node.evaluation.thresholds import Target, as_yaml, at_target
from mcads_node.yamlfile import read_document

LABELS = ("Effusion", "Pleural_Thickening", "Lung Lesion")


def sample(
    images: int = 400, *, share: float = 0.3, seed: int = 1, per_patient: int = 1, label: str = "Effusion"
) -> Sample:
    """Scores that know something of the truth, and are far too high to be probabilities."""
    stream = np.random.default_rng(seed)
    truth = stream.random(images) < share
    scores = 1 / (1 + np.exp(-(stream.normal(size=images) + 1.5 * truth + 1.0)))
    # ties, as scores of few digits have
    scores = np.round(scores, 3)
    return Sample(
        label=label,
        scores=scores,
        truth=truth,
        patients=np.arange(images) // per_patient,
        threshold=0.8,
        probabilities=scores,
    )


def once(found: Any) -> float:
    return float(found[0])


ONE = np.ones((1, 400))


# --- numbers


@pytest.mark.parametrize("seed", range(3))
def test_numbers_equal_scikit_learns(seed: int) -> None:
    made = sample(seed=seed)
    weights = np.random.default_rng(seed).integers(0, 4, 400).astype(float)
    for given_weights in (np.ones(400), weights):
        row, w = given_weights[None], {"sample_weight": given_weights}
        called = made.scores >= made.threshold
        assert once(metrics.auc(made.scores, made.truth, row)) == pytest.approx(
            roc_auc_score(made.truth, made.scores, **w)
        )
        assert once(metrics.sensitivity(called, made.truth, row)) == pytest.approx(
            recall_score(made.truth, called, **w)
        )
        assert once(metrics.specificity(called, made.truth, row)) == pytest.approx(
            recall_score(~made.truth, ~called, **w)
        )
        assert once(metrics.ppv(called, made.truth, row)) == pytest.approx(
            precision_score(made.truth, called, **w)
        )
        assert once(metrics.brier(made.scores, made.truth, row)) == pytest.approx(
            brier_score_loss(made.truth, made.scores, **w)
        )
        clipped = np.clip(made.scores, 1e-6, 1 - 1e-6)
        assert once(metrics.log_loss(made.scores, made.truth, row)) == pytest.approx(
            log_loss(made.truth, clipped, **w)
        )


def test_the_calibration_error_by_hand() -> None:
    # ten bins of two: each said 0.05, 0.15 …; every second bin has one positive of two
    said = np.repeat(np.arange(10) / 10 + 0.05, 2)
    truth = np.tile([False, False, True, False], 5)
    expected = np.mean([abs((0.5 if number % 2 else 0.0) - (number / 10 + 0.05)) for number in range(10)])
    assert once(metrics.ece(said, truth, np.ones((1, 20)))) == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 5),
)
def test_numbers_lie_in_their_range_or_are_none(rows: list[tuple[float, bool]], weight: int) -> None:
    scores = np.array([score for score, _ in rows])
    truth = np.array([is_true for _, is_true in rows])
    weights = np.full((2, len(rows)), float(weight))
    called = scores >= 0.5
    for found in (
        metrics.auc(scores, truth, weights),
        metrics.sensitivity(called, truth, weights),
        metrics.specificity(called, truth, weights),
        metrics.ppv(called, truth, weights),
        metrics.ece(scores, truth, weights),
        metrics.brier(scores, truth, weights),
    ):
        assert bool((np.isnan(found) | ((found >= -1e-12) & (found <= 1 + 1e-12))).all())


def test_weights_are_as_repeated_images() -> None:
    made = sample(60, seed=4)
    counts = np.random.default_rng(0).integers(0, 3, 60)
    repeated = np.repeat(np.arange(60), counts)
    row = counts.astype(float)[None]
    assert once(metrics.auc(made.scores, made.truth, row)) == pytest.approx(
        roc_auc_score(made.truth[repeated], made.scores[repeated])
    )


# --- intervals


def test_patients_are_drawn_whole_and_always_the_same() -> None:
    parts = list(resampled(7, replicates=50))
    counts = np.concatenate(parts)
    assert counts.shape == (50, 7)
    assert set(counts.sum(axis=1)) == {7.0}
    assert np.array_equal(counts, np.concatenate(list(resampled(7, replicates=50))))
    assert counts.mean() == pytest.approx(1.0)
    assert counts.var() == pytest.approx(6 / 7, abs=0.25)


def test_intervals_hold_the_value_and_widen_with_images_of_one_patient() -> None:
    lone = judge((sample(400),), 400)[0]
    # each image eight times: the same numbers, and no more knowledge
    base = sample(50, seed=3)
    eight = Sample(
        label="Effusion",
        scores=np.repeat(base.scores, 8),
        truth=np.repeat(base.truth, 8),
        patients=np.repeat(base.patients, 8),
        threshold=base.threshold,
        probabilities=np.repeat(base.scores, 8),
    )
    by_patient, by_one = judge((eight,), 50)[0], judge((base,), 50)[0]
    for found in (lone, by_patient, by_one):
        for each in (found.auc, found.sensitivity, found.specificity, found.ppv, found.ece, found.brier):
            assert each is not None
            assert 0 <= each.low <= each.value <= each.high <= 1
    assert by_patient.auc == by_one.auc
    assert by_patient.auc is not None
    assert lone.auc is not None
    assert by_patient.auc.high - by_patient.auc.low > 1.5 * (lone.auc.high - lone.auc.low)


def test_the_interval_of_the_area_is_near_hanley_and_mcneils() -> None:
    made = sample(400)
    area = judge((made,), 400)[0].auc
    assert area is not None
    a, n, m = area.value, made.positives, made.negatives
    q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
    error = ((a * (1 - a) + (n - 1) * (q1 - a**2) + (m - 1) * (q2 - a**2)) / (n * m)) ** 0.5
    assert area.high - area.low == pytest.approx(2 * norm.ppf(0.975) * error, rel=0.25)


def test_an_interval_is_not_empty_where_all_were_found() -> None:
    made = sample(200)
    all_found = Sample(**{**vars(made), "threshold": 0.0})
    judged = judge((all_found,), 200)[0]
    assert judged.sensitivity is not None
    assert judged.sensitivity.value == 1
    assert judged.sensitivity.low == pytest.approx(wilson(made.positives, made.positives).low)
    assert judged.sensitivity.low < 1
    assert judged.specificity is not None
    assert (judged.specificity.value, judged.specificity.high > 0) == (0, True)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_too_few_images_get_no_number() -> None:
    few = sample(200, share=0.03)
    assert few.positives < 10
    judged = judge((few, sample(200, label="Mass")), 200)
    assert judged[0].note == f"{few.positives} positive image(s), at least 10 are needed"
    assert judged[0].auc is judged[0].sensitivity is judged[0].ece is None
    assert judged[1].auc is not None


# --- the file of labels


def write(folder: Path, text: str) -> Path:
    file = folder / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_labels_are_found_however_they_are_spelt(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "\ufeffImage Index,Patient ID,Age,pleural thickening,LUNG_LESION,Nothing\n"
        "a.png,1,57,1,0,x\n"
        "sub/b.dcm,2,60,-1,,x\n"
        "c.png,1,61,No,TRUE,x\n",
    )
    found = read_labels(file, tmp_path / "images", LABELS)
    assert found.labels == ("Pleural_Thickening", "Lung Lesion")
    assert found.has_patients
    assert [image.name for image in found.images] == ["a.png", "sub/b.dcm", "c.png"]
    assert found.images[1].path == tmp_path / "images" / "sub" / "b.dcm"
    assert [list(image.truths.values()) for image in found.images] == [
        [True, False],
        [None, None],
        [False, True],
    ]
    assert numbered([image.patient for image in found.images]).tolist() == [0, 1, 0]


def test_without_patients_each_image_is_its_own(tmp_path: Path) -> None:
    found = read_labels(write(tmp_path, "file,Effusion\na,1\nb,0\n"), tmp_path, LABELS)
    assert not found.has_patients
    assert [image.patient for image in found.images] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Effusion\n1\n", "csv:1: expected a column file"),
        ("file,Lupus\na,1\n", "csv:1: expected a column for at least one of Effusion"),
        ("file,Effusion,effusion\na,1,1\n", "are one column twice"),
        ("file,Effusion\na,2\n", "csv:2: Effusion: expected 1, 0, or empty .* found '2'"),
        ("file,Effusion\na,1\na,0\n", "csv:3: file: 'a' is there already, on line 2"),
        ("file,Effusion\n,1\n", "csv:2: file: expected the name of an image"),
        ("file,patient,Effusion\na,,1\n", "csv:2: patient: expected whose image"),
        ("file,Effusion\n", "expected at least one image"),
        ("", "csv:1: expected a column file"),
        ("file,Effusion\n" + "a,x\n" * 30, "and 39 more"),
    ],
)
def test_a_file_of_labels_that_cannot_be_used_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(PermanentError, match=complaint):
        read_labels(write(tmp_path, text), tmp_path, LABELS)


def test_labels_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="cannot be read"):
        read_labels(tmp_path / "none.csv", tmp_path, LABELS)
    (tmp_path / "latin.csv").write_bytes(b"file,Effusion\n\xe9,1\n")
    with pytest.raises(PermanentError, match="CSV in UTF-8"):
        read_labels(tmp_path / "latin.csv", tmp_path, LABELS)


@given(st.text(max_size=60))
def test_no_text_crashes_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("labels")
    try:
        read_labels(
            write(folder, "file,Effusion\n" + text.encode("utf-8", "ignore").decode()), folder, LABELS
        )
    except PermanentError as error:
        assert "labels.csv" in str(error)


# --- calibration


def raw(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logits at an operating point of 0.5, where score and output are one."""
    kept = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.log(kept / (1 - kept))


def test_platts_line_is_near_a_logistic_regression() -> None:
    made = sample(2000, seed=5)
    curve = fit_curve("platt", made.scores, made.truth, 0.5)
    expected = LogisticRegression(C=1e9).fit(raw(made.scores)[:, None], made.truth)
    assert isinstance(curve, LogisticCurve)
    # Platt's targets draw the line in a little
    assert curve.slope == pytest.approx(expected.coef_[0, 0], rel=0.02)
    assert curve.intercept == pytest.approx(expected.intercept_[0], rel=0.02)


def test_a_temperature_is_found_again() -> None:
    stream = np.random.default_rng(6)
    logits = stream.normal(size=20_000) * 1.5
    truth = stream.random(20_000) < 1 / (1 + np.exp(-logits))
    hot = 1 / (1 + np.exp(-3 * logits))
    curve = fit_curve("temperature", hot, truth, 0.5)
    assert isinstance(curve, LogisticCurve)
    assert curve.slope == pytest.approx(1 / 3, rel=0.05)
    assert curve.intercept == 0


def test_isotonic_regression_equals_scikit_learns_at_its_points() -> None:
    made = sample(500, seed=7)
    curve = fit_curve("isotonic", made.scores, made.truth, 0.5)
    expected = IsotonicRegression(out_of_bounds="clip").fit(made.scores, made.truth)
    assert isinstance(curve, IsotonicCurve)
    inner = [place for place, p in enumerate(expected.predict(curve.scores)) if 0.05 < p < 0.95]
    assert len(inner) > 5
    near = [expected.predict([curve.scores[place]])[0] for place in inner]
    # scikit-learn draws lines between the ends of pools, and we between their means
    assert np.abs(np.array(near) - np.array(curve.probabilities)[inner]).max() < 0.05
    assert curve.probabilities[0] > 0
    assert curve.probabilities[-1] < 1


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_calibration_mends_what_is_too_sure_on_patients_it_did_not_see(method: Any) -> None:
    made = sample(1500, share=0.25, per_patient=3, seed=8)
    fitted = fit(made, 0.5, method, patients=500)
    # a temperature keeps 0.5 where it is, and cannot mend a shift
    assert fitted.ece_after.value < fitted.ece_before.value * (0.95 if method == "temperature" else 0.3)
    assert fitted.log_loss_after.value < fitted.log_loss_before.value
    assert (fitted.positives, fitted.negatives) == (made.positives, made.negatives)


def test_what_cannot_be_calibrated_says_why() -> None:
    made = sample(300)
    with pytest.raises(CannotFit, match="positive image"):
        fit(sample(100, share=0.05), 0.5, "platt", patients=100)
    with pytest.raises(CannotFit, match="do not rise"):
        fit(Sample(**{**vars(made), "truth": ~made.truth}), 0.5, "platt", patients=300)
    with pytest.raises(CannotFit, match="do not rise"):
        constant = np.full(300, 0.3)
        fit_curve("isotonic", constant, made.truth, 0.5)
    one = np.where(made.truth, 0, np.arange(300))
    with pytest.raises(CannotFit, match="very few patients"):
        fit(Sample(**{**vars(made), "patients": one}), 0.5, "platt", patients=300)
    assert set(FEWEST_TO_FIT) == {"temperature", "platt", "isotonic"}


def test_scores_that_part_completely_still_give_a_curve() -> None:
    truth = np.arange(100) >= 60
    scores = np.where(truth, 0.9, 0.1) + np.linspace(0, 0.05, 100)
    for method in ("platt", "isotonic", "temperature"):
        curve = fit_curve(method, scores, truth, 0.3)
        low, high = curve(np.array([0.05, 0.97]), 0.3).tolist()
        assert 0 <= low < 0.1
        assert 0.9 < high <= 1


# --- thresholds


@pytest.mark.parametrize("text", ["sensitivity=0.9", "specificity=0.95", "ppv=0.5", "youden"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_threshold_reaches_its_target_and_no_other_is_better(text: str, seed: int) -> None:
    made, target = sample(seed=seed), Target.parse(text)
    found = at_target((made,), target, 400)[0]
    assert found.sensitivity is not None
    assert found.specificity is not None
    assert found.ppv is not None
    assert found.threshold == round(found.threshold, 4)
    reached = {"sensitivity": found.sensitivity, "specificity": found.specificity, "ppv": found.ppv}
    every = np.round(np.arange(0, 1.0001, 0.0001), 4)
    hits = np.array([(made.scores[made.truth] >= each).mean() for each in every])
    spared = np.array([(made.scores[~made.truth] < each).mean() for each in every])
    if target.quantity == "youden":
        best = (hits + spared).max()
        assert found.sensitivity.value + found.specificity.value == pytest.approx(best)
    elif target.quantity == "sensitivity":
        assert reached[target.quantity].value >= target.least
        assert found.specificity.value == pytest.approx(spared[hits >= target.least].max())
    else:
        assert reached[target.quantity].value >= target.least
        if target.quantity == "specificity":
            assert found.sensitivity.value == pytest.approx(hits[spared >= target.least].max())


def test_a_target_out_of_reach_is_said_so() -> None:
    made = sample()
    # the highest scores are of images without the finding
    turned = Sample(**{**vars(made), "truth": ~made.truth})
    found = at_target((turned, sample(label="Mass", share=0.01)), Target.parse("ppv=1"), 400)
    assert found[0].note == "no threshold reaches ppv 1"
    assert found[0].sensitivity is None
    assert "at least 10 are needed" in found[1].note
    assert "thresholds: {}" in as_yaml(found)


@pytest.mark.parametrize(
    "text", ["", "0.9", "sensitivity", "sensitivity=2", "sensitivity=0", "ppv=-1", "auc=1"]
)
def test_a_target_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PermanentError, match="--target"):
        Target.parse(text)


def test_thresholds_are_yaml_for_a_rule(tmp_path: Path) -> None:
    found = at_target((sample(), sample(label="Lung Lesion", seed=9)), Target.parse("youden"), 400)
    file = tmp_path / "part.yaml"
    file.write_text(as_yaml(found), encoding="utf-8")
    said = read_document(file).plain["analyse"]["thresholds"]
    assert said == {each.label: each.threshold for each in found}


# --- plots


def test_plots_are_drawn(tmp_path: Path) -> None:
    made = tuple(sample(label=label, seed=seed) for seed, label in enumerate(LABELS))
    few = sample(100, share=0.02, label="Hernia")
    samples = (*made, few, sample(label="Mass", share=0.05, seed=11))
    judged = list(zip(samples, judge(samples, 400), strict=True))
    draw_roc(judged, "ROC", tmp_path / "roc.png")
    draw_reliability(judged, "Reliability", tmp_path / "reliability.png")
    for name in ("roc.png", "reliability.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert picture.width > 1000
            # not an empty page
            assert len(picture.convert("RGB").getcolors(100_000) or []) > 20
