from __future__ import annotations

import math
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mcads_node.calibration import (
    Calibration,
    IsotonicCurve,
    LogisticCurve,
    Unsealed,
    raw_output,
    read_calibration,
    write_calibration,
)
from mcads_node.engine.scores import op_norm
from mcads_node.errors import ConfigError
from mcads_node.finding import Finding, Presence, presence_of
from mcads_node.workitems.codec import (
    algorithm_from_json,
    algorithm_to_json,
    findings_from_json,
    findings_to_json,
)
from tests.model_samples import OFFICIAL, shipped_store
from tests.report_samples import ALGORITHM

INTERVAL = {"value": 0.1, "low": 1e-7, "high": 0.25}
WEIGHTS = "a" * 64
MANIFEST = shipped_store(Path("nowhere")).manifest(OFFICIAL)
POINTS = {o.label: o.operating_point for o in MANIFEST.outputs if o.operating_point is not None}

shares = st.floats(0, 1)
points = st.floats(1e-4, 1 - 1e-4)
logistic = st.builds(LogisticCurve, slope=st.floats(0.02, 50), intercept=st.floats(-20, 20))


@st.composite
def isotonic(draw: st.DrawFn) -> IsotonicCurve:
    scores = draw(st.lists(shares, min_size=1, max_size=8, unique=True))
    values = draw(st.lists(shares, min_size=len(scores), max_size=len(scores)))
    return IsotonicCurve(scores=tuple(sorted(scores)), probabilities=tuple(sorted(values)))


curves = st.one_of(logistic, isotonic())


def label(curve: dict[str, Any] | None = None) -> dict[str, Any]:
    errors = dict.fromkeys(("ece_before", "ece_after", "log_loss_before", "log_loss_after"), INTERVAL)
    return {
        "curve": curve or {"kind": "logistic", "slope": 0.8, "intercept": -0.5},
        "positives": 40,
        "negatives": 160,
        **errors,
    }


def parts(**changes: Any) -> dict[str, Any]:
    return {
        "site": "North Clinic",
        "model": {"name": OFFICIAL, "version": 1, "weights_digest": WEIGHTS},
        "method": "platt",
        "provenance": {
            "created": datetime(2026, 1, 31, 12, tzinfo=UTC),
            "by": "jonas (as mcads)",
            "images": 200,
            "patients": 120,
            "left_out": 1,
            "data_digest": "b" * 64,
        },
        "labels": {"Effusion": label(), "Lung Lesion": label()},
        "left_out": {"Hernia": "2 positive image(s), at least 20 are needed"},
        **changes,
    }


def calibration(**changes: Any) -> Calibration:
    return Unsealed.model_validate(parts(**changes)).seal()


# --- curves


@given(curve=curves, scores=st.lists(shares, min_size=2, max_size=20), point=points)
def test_a_curve_never_falls_and_stays_within_0_and_1(
    curve: LogisticCurve | IsotonicCurve, scores: list[float], point: float
) -> None:
    said = curve(np.array(sorted(scores)), point)
    assert bool(((said >= 0) & (said <= 1)).all())
    assert bool((np.diff(said) >= -1e-12).all())


@given(curve=isotonic(), low=shares, high=shares)
def test_an_isotonic_curve_keeps_two_scores_apart(curve: IsotonicCurve, low: float, high: float) -> None:
    low, high = sorted((low, high))
    one, other = curve(np.array([low, high]), 0.5).tolist()
    assert other - one >= 0.999e-3 * (high - low) - 1e-12


@given(output=shares, point=points)
def test_the_networks_output_is_found_again_from_the_score(output: float, point: float) -> None:
    score = op_norm(np.array([[output]]), np.array([point]))
    assert raw_output(score[0], point)[0] == pytest.approx(output, abs=1e-9)


def test_a_logistic_curve_by_hand() -> None:
    curve = LogisticCurve(slope=2, intercept=-1)
    # a score of 0.5 is the operating point 0.2: logit −1.386, so −3.773
    assert curve(np.array([0.5]), 0.2)[0] == pytest.approx(1 / (1 + math.exp(2 * math.log(4) + 1)))
    assert curve(np.array([0.0, 1.0]), 0.2).tolist() == pytest.approx([0, 1], abs=1e-12)


@pytest.mark.parametrize(
    ("curve", "complaint"),
    [
        ({"kind": "logistic", "slope": 0, "intercept": 0}, "greater than 0"),
        ({"kind": "logistic", "slope": -1, "intercept": 0}, "greater than 0"),
        ({"kind": "logistic", "slope": math.nan, "intercept": 0}, "finite number|greater than 0"),
        ({"kind": "logistic", "slope": 1, "intercept": math.inf}, "finite number|less than"),
        ({"kind": "isotonic", "scores": [0.1, 0.1], "probabilities": [0.2, 0.3]}, "scores that rise"),
        ({"kind": "isotonic", "scores": [0.1, 0.2], "probabilities": [0.3, 0.2]}, "never fall"),
        ({"kind": "isotonic", "scores": [0.1, 0.2], "probabilities": [0.3]}, "a probability for each"),
        ({"kind": "isotonic", "scores": [0.1], "probabilities": [1.1]}, "less than or equal to 1"),
        ({"kind": "isotonic", "scores": [math.nan], "probabilities": [0.1]}, "finite number|greater than"),
        ({"kind": "beta", "a": 1}, "logistic"),
    ],
)
def test_a_curve_that_is_none_is_refused(curve: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Unsealed.model_validate(parts(labels={"Effusion": label(curve)}))


# --- the file


@given(curve=curves)
def test_a_file_is_read_back_as_it_was_written(curve: LogisticCurve | IsotonicCurve) -> None:
    made = calibration(labels={"Effusion": label(curve.model_dump())})
    # as the YAML has it
    assert Calibration.model_validate(yaml.safe_load(yaml.safe_dump(made.model_dump(mode="json")))) == made


def test_the_file_on_the_disk(tmp_path: Path) -> None:
    made, file = calibration(), tmp_path / "new" / "north.yaml"
    write_calibration(file, made)
    assert read_calibration(file) == made
    assert [each.name for each in file.parent.iterdir()] == ["north.yaml"]
    # it crosses to the workers
    assert pickle.loads(pickle.dumps(made)) == made


def test_one_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "north.yaml"
    write_calibration(file, calibration())
    file.write_text(file.read_text().replace("intercept: -0.5", "intercept: -0.4"))
    with pytest.raises(ConfigError, match="changed after it was made"):
        read_calibration(file)


def test_a_broken_file_is_told_with_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "north.yaml"
    write_calibration(file, calibration())
    file.write_text(file.read_text().replace("slope: 0.8", "slope: .nan", 1))
    with pytest.raises(ConfigError, match=r"north\.yaml:\d+: labels\.Effusion\.curve"):
        read_calibration(file)


def test_another_curve_is_another_digest() -> None:
    other = {"kind": "logistic", "slope": 0.8, "intercept": -0.6}
    digests = {
        calibration().digest,
        calibration(site="South").digest,
        calibration(labels={"Effusion": label(other)}).digest,
    }
    assert len(digests) == 3
    assert calibration().digest == calibration().digest


# --- with its model


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, ""),
        ({"model": {"name": "other", "version": 1, "weights_digest": WEIGHTS}}, "it is for model other"),
        ({"model": {"name": OFFICIAL, "version": 2, "weights_digest": WEIGHTS}}, "version 2"),
        ({"model": {"name": OFFICIAL, "version": 1, "weights_digest": "c" * 64}}, "it is for other weights"),
        ({"labels": {"Lupus": label()}}, "has no label Lupus"),
    ],
)
def test_it_is_for_one_model_and_its_labels(changes: dict[str, Any], complaint: str) -> None:
    refusal = calibration(**changes).refusal(MANIFEST, WEIGHTS)
    assert (complaint in refusal) if complaint else refusal == ""


@given(score=shares, threshold=shares)
def test_presence_does_not_change(score: float, threshold: float) -> None:
    presence = presence_of(score, threshold, ())
    before = Finding(label="Effusion", score=score, threshold=threshold, presence=presence)
    (after,) = calibration().apply([before], POINTS)
    assert (after.score, after.threshold, after.presence) == (score, threshold, presence)
    assert after.probability is not None
    assert after.probability_threshold is not None
    if presence is Presence.PRESENT:
        assert after.stated >= after.stated_threshold
    else:
        assert after.stated <= after.stated_threshold


def test_a_label_without_a_curve_stays_a_score() -> None:
    before = Finding(label="Hernia", score=0.4, threshold=0.5, presence=Presence.ABSENT)
    assert calibration().apply([before], POINTS) == (before,)


def test_a_calibrated_model_is_another_device() -> None:
    one, other = calibration(), calibration(site="South")
    spoken = [each.speak_through(ALGORITHM) for each in (one, one, other)]
    assert spoken[0] == spoken[1]
    assert len({ALGORITHM.device_uid, spoken[0].device_uid, spoken[2].device_uid}) == 3
    assert spoken[0].version == f"{ALGORITHM.version}.cal-{one.digest[:12]}"
    assert spoken[0].calibration == one.mark
    assert len(spoken[0].device_uid) <= 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability": 0.5},
        {"probability_threshold": 0.5},
        {"probability": 1.5, "probability_threshold": 0.5},
        {"probability": math.nan, "probability_threshold": 0.5},
    ],
)
def test_a_finding_has_a_whole_probability_or_none(wrong: dict[str, float]) -> None:
    found = Finding(label="Mass", score=0.4, threshold=0.5, presence=Presence.ABSENT)
    with pytest.raises(ValueError, match="probabilit"):
        replace(found, **wrong)  # type: ignore[arg-type]


def test_the_database_keeps_it() -> None:
    algorithm = calibration().speak_through(ALGORITHM)
    assert algorithm_from_json(algorithm_to_json(algorithm)) == algorithm
    assert algorithm_from_json(algorithm_to_json(ALGORITHM)) == ALGORITHM
    plain = Finding(label="Effusion", score=0.4, threshold=0.5, presence=Presence.ABSENT)
    findings = calibration().apply([plain], POINTS)
    assert findings_from_json(findings_to_json(findings)) == findings


def test_the_database_of_before_is_read() -> None:
    row = algorithm_to_json(ALGORITHM) | {"calibrated": False}
    del row["calibration"]
    assert algorithm_from_json(row) == ALGORITHM
    old = {"label": "Mass", "score": 0.25, "threshold": 0.5, "presence": "absent"}
    assert findings_from_json([old])[0].probability is None
