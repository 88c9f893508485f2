from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scipy.stats import ks_2samp
from sqlalchemy import insert

from mcads_node.alerts.conditions import Kind as AlertKind
from mcads_node.alerts.conditions import Limits, MachineView, of_the_machine
from mcads_node.config import Configuration, NodeConfig, RoutesConfig, RuleBook
from mcads_node.drift import ALL_DEVICES, DriftPolicy, Measured, measure
from mcads_node.drift.statistics import ks, psi
from mcads_node.errors import ModelUnusable
from mcads_node.finding import Algorithm, Finding, presence_of
from mcads_node.instance import InputCheck, Verdict
from mcads_node.monitoring.gauges import Machine, gauges
from mcads_node.read.device import device_of
from mcads_node.service import drifting
from mcads_node.state import State
from mcads_node.workitems import Span, Workitems, open_store
from mcads_node.workitems.codec import algorithm_to_json, findings_to_json
from mcads_node.workitems.schema import analyses, instances, studies
from tests.report_samples import ALGORITHM
from tests.workitems_samples import START, Clock

POLICY = DriftPolicy(reference=timedelta(weeks=2), minimum=50)
DIGEST = ALGORITHM.weights_digest
WEEK = timedelta(weeks=1)
UNFIT = InputCheck(name="polarity", verdict=Verdict.UNDETERMINED, reason="It looks inverted.")


# --- statistics


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.5])
def test_kolmogorov_and_smirnovs_distance_equals_scipys(shift: float) -> None:
    stream = np.random.default_rng(1)
    one, other = np.round(stream.normal(size=300), 2), np.round(stream.normal(size=200) + shift, 2)
    assert ks(one, other) == pytest.approx(ks_2samp(one, other).statistic)


def test_the_stability_index_by_hand() -> None:
    # ten equal bins of 100; later 190 in the first, 10 in the second
    then = np.repeat(np.arange(10) / 10, 100)
    now = np.concatenate([np.repeat(0.0, 190), np.repeat(0.1, 10), np.repeat(np.arange(2, 10) / 10, 100)])
    p, q = 100.5 / 1005, np.array([190.5, 10.5]) / 1005
    assert psi(then, now) == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    assert psi(then, then) == pytest.approx(0.0)


scores = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(np.array)


@given(scores, scores)
def test_distances_are_finite_and_none_of_a_sample_to_itself(one: Any, other: Any) -> None:
    assert 0 <= ks(one, other) <= 1
    assert 0 <= psi(one, other) < 100
    assert ks(one, one) == 0
    assert psi(one, one) == pytest.approx(0)
    assert ks(one, other) == pytest.approx(ks(other, one))


# --- measuring


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Workitems]:
    opened = open_store(tmp_path / "node.db", clock=clock)
    yield opened
    opened.close()


class History:
    """Analyses of the past, written as a node would have."""

    def __init__(self, store: Workitems) -> None:
        self._store = store
        self._number = 0
        self._stream = np.random.default_rng(3)
        with store._database.write() as connection:
            row = {"study_instance_uid": "2.25.1", "first_received_at": START, "last_received_at": START}
            connection.execute(insert(studies).values(**row))

    def add(
        self,
        week: int,
        count: int,
        *,
        device: str = "A / B / C",
        mean: float = 0.3,
        algorithm: Algorithm = ALGORITHM,
        checks: tuple[InputCheck, ...] = (),
    ) -> None:
        """Add a week's images; week 0 is the first."""
        received, analysed = [], []
        for place in range(count):
            self._number += 1
            number = self._number
            moment = START + week * WEEK + WEEK * (place + 1) / (count + 2)
            score = float(np.clip(self._stream.normal(mean, 0.1), 0, 1))
            other = float(self._stream.random())
            found = tuple(
                Finding(label=label, score=s, threshold=0.4, presence=presence_of(s, 0.4, checks))
                for label, s in (("Effusion", score), ("Mass", other))
            )
            received.append(
                {
                    "study_id": 1,
                    "sop_class_uid": "1.2",
                    "sop_instance_uid": f"2.25.{number}",
                    "transfer_syntax_uid": "1.2",
                    "requestor_ae_title": "X",
                    "requestor_address": "127.0.0.1",
                    "called_ae_title": "Y",
                    "received_at": moment,
                    "path": f"{number}",
                    "size": 1,
                    "digest": f"{number:064}",
                    "state": "ANALYSED",
                    "patient_number": 1,
                }
            )
            analysed.append(
                {
                    "study_id": 1,
                    "instance_id": number,
                    "route": "all",
                    "algorithm": algorithm_to_json(algorithm),
                    "findings": findings_to_json(found),
                    "checks": [],
                    "view": "PA",
                    "header": b"x",
                    "send_to": [],
                    "quiet_seconds": 0.0,
                    "analysed_at": moment,
                    "device": device,
                }
            )
        with self._store._database.write() as connection:
            connection.execute(insert(instances), received)
            connection.execute(insert(analyses), analysed)


def labels_of(measured: Measured, device: str) -> dict[str, bool]:
    (week,) = [week for week in measured.weeks if week.device == device]
    return {each.label: each.drifted for each in week.labels}


def test_a_device_whose_scores_moved_is_told_and_no_other(store: Workitems) -> None:
    history = History(store)
    for week in (0, 1):
        history.add(week, 200)
        history.add(week, 200, device="Other")
    history.add(2, 200, mean=0.45)
    history.add(2, 200, device="Other")
    measured = measure(store, DIGEST, START + 3 * WEEK, 1, POLICY)
    assert measured.reference is not None
    assert measured.reference.until - measured.reference.since == POLICY.reference
    assert not measured.chosen
    assert [week.device for week in measured.weeks] == [ALL_DEVICES, "A / B / C", "Other"]
    assert labels_of(measured, "A / B / C") == {"Effusion": True, "Mass": False}
    assert labels_of(measured, "Other") == {"Effusion": False, "Mass": False}
    moved = measured.weeks[1].labels[0]
    assert moved.positives.low > moved.positives_before.high
    assert moved.positives.low <= moved.positives.value <= moved.positives.high


def test_what_is_left_out(store: Workitems) -> None:
    history = History(store)
    history.add(0, 60)
    history.add(1, 60)
    history.add(2, 60)
    # another model's, nothing claimed, and too few
    history.add(2, 60, mean=0.9, algorithm=replace(ALGORITHM, weights_digest="f" * 64))
    history.add(2, 60, mean=0.9, checks=(UNFIT,))
    history.add(2, 5, mean=0.9, device="")
    # of so few images the index wavers
    measured = measure(store, DIGEST, START + 3 * WEEK, 2, replace(POLICY, psi=0.8, ks=0.4))
    last = {week.device: week for week in measured.weeks if week.week.until == START + 3 * WEEK}
    assert {device: week.images for device, week in last.items()} == {
        ALL_DEVICES: 65,
        "A / B / C": 60,
        "unknown device": 5,
    }
    assert last["unknown device"].labels == ()
    assert labels_of(replace(measured, weeks=(last["A / B / C"],)), "A / B / C")["Effusion"] is False
    assert len({week.week.since for week in measured.weeks}) == 2


def test_a_young_model_is_compared_with_nothing_until_a_reference_is_chosen(store: Workitems) -> None:
    assert measure(store, DIGEST, START, 1, POLICY).reference is None
    history = History(store)
    history.add(0, 80)
    history.add(1, 80, mean=0.7)
    now = START + 2 * WEEK - timedelta(hours=1)
    assert measure(store, DIGEST, now, 1, POLICY) == Measured(at=now, reference=None, chosen=False, weeks=())
    span = Span(since=START, until=START + WEEK)
    store.set_drift_reference(DIGEST, span, "jonas")
    measured = measure(store, DIGEST, now, 1, POLICY)
    assert (measured.reference, measured.chosen) == (span, True)
    assert labels_of(measured, ALL_DEVICES)["Effusion"]
    store.set_drift_reference(DIGEST, Span(since=START + WEEK, until=now), "jonas")
    assert not labels_of(measure(store, DIGEST, now, 1, POLICY), ALL_DEVICES)["Effusion"]
    (event, *_) = [each for each in store.list_events(limit=10) if each.what == "drift reference set"]
    assert event.who == "jonas"


def test_limits_are_the_administrators(store: Workitems) -> None:
    history = History(store)
    for week, mean in ((0, 0.3), (1, 0.3), (2, 0.6)):
        history.add(week, 80, mean=mean)
    blind = replace(POLICY, psi=None, ks=None)
    assert not labels_of(measure(store, DIGEST, START + 3 * WEEK, 1, blind), ALL_DEVICES)["Effusion"]
    strict = replace(POLICY, psi=None, ks=1e-6)
    assert labels_of(measure(store, DIGEST, START + 3 * WEEK, 1, strict), ALL_DEVICES)["Mass"]


def test_devices_without_end_are_put_together(store: Workitems) -> None:
    history = History(store)
    for number in range(60):
        history.add(0, 1, device=f"made up {number}")
    store.set_drift_reference(DIGEST, Span(since=START, until=START + WEEK), "jonas")
    measured = measure(store, DIGEST, START + WEEK, 1, POLICY)
    assert len(measured.weeks) <= 53
    others = next(week for week in measured.weeks if week.device == "other devices")
    assert sum(week.images for week in measured.weeks if week.device != ALL_DEVICES) == 60
    assert others.images >= 8


# --- told


@pytest.fixture
def moved(store: Workitems) -> Measured:
    history = History(store)
    for week, mean in ((0, 0.3), (1, 0.3), (2, 0.6)):
        history.add(week, 80, mean=mean, device="Acme / X1 / ROOM 7")
    return measure(store, DIGEST, START + 3 * WEEK, 1, POLICY)


def test_metrics_have_a_value_a_label_and_no_device(moved: Measured) -> None:
    machine = Machine(free_bytes=1, disk_level=0, database_bytes=1, workers_alive=None, drift={"m": moved})
    found = {each.name: each for each in gauges(machine, None) if each.name.startswith("mcads_drift")}
    assert set(found) == {
        "mcads_drift_psi",
        "mcads_drift_ks",
        "mcads_drift_present_share",
        "mcads_drift_images",
    }
    assert [labels for labels, _ in found["mcads_drift_psi"].samples] == [("m", "Effusion"), ("m", "Mass")]
    assert dict(found["mcads_drift_psi"].samples)["m", "Effusion"] > 1
    assert found["mcads_drift_images"].samples == ((("m",), 80.0),)
    assert "Acme" not in str(found)


def test_an_alert_names_the_label_and_no_device(moved: Measured) -> None:
    view = MachineView(host="here", drift={"m": moved})
    told = [each for each in of_the_machine(view, Limits(), START) if each.kind is AlertKind.DRIFT]
    assert [each.key for each in told] == ["drift/m/Effusion@here"]
    assert "Effusion" in told[0].text
    assert "Acme" not in f"{told[0].text}{told[0].advice}"
    assert of_the_machine(MachineView(host="here"), Limits(), START) == []


def test_each_model_that_reads_is_measured(store: Workitems, monkeypatch: pytest.MonkeyPatch) -> None:
    class Weights:
        def verify(self, name: str) -> str:
            if name == "absent":
                raise ModelUnusable("its weights are not here")
            return f"{name:0>64}"

    monkeypatch.setattr(drifting, "model_store", lambda _node: Weights())
    rules = [
        {"name": name, "when": {}, "analyse": {"model": name}, "send_to": ["pacs"]}
        for name in ("other", "absent")
    ]
    configuration = Configuration(
        node=NodeConfig(), book=RuleBook(rules=RoutesConfig.model_validate({"routes": rules}).routes)
    )
    watch = drifting.DriftWatch(configuration, cast(State, SimpleNamespace(workitems=store)))
    watch.look()
    assert list(watch.measured) == ["densenet121-res224-all", "other"]


# --- devices


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ({}, ""),
        (
            {"Manufacturer": "Acme", "ManufacturerModelName": "X1", "StationName": "ROOM7"},
            "Acme / X1 / ROOM7",
        ),
        ({"StationName": " ROOM  7 "}, "ROOM 7"),
        ({"Manufacturer": "A" * 64}, "A" * 40),
        ({"Manufacturer": "Acme\x07\nInc"}, "Acme Inc"),
    ],
)
def test_a_device_is_named_by_its_header(header: dict[str, str], name: str) -> None:
    made = Dataset()
    for keyword, value in header.items():
        setattr(made, keyword, value)
    made.PatientName = "Petraitis^Jonas"
    assert device_of(made) == name
