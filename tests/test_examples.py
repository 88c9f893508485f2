"""The shipped examples: what each analyses and declines, by headers as hospitals write them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mcads_node.config import Known, load_rules
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.priority import Priority
from mcads_node.receive.handling import Handler
from mcads_node.route import Route, Subject, route
from mcads_node.service import labels_of
from mcads_node.workitems import Handling
from tests.documents import ROOT
from tests.headers import header
from tests.rules_samples import CAME
from tests.test_handling import arrival

EXAMPLES = ROOT / "config" / "examples"
ADULT: dict[str, object] = {"Modality": "DX", "PatientAge": "045Y"}


def taken(
    example: str,
    attributes: dict[str, object],
    sender: str = "CR_ROOM1",
    address: str = "10.0.0.1",
    called: str = "MCADS",
) -> str:
    """Name of the rule that an image falls under."""
    requestor = Requestor(ae_title=sender, address=address, called_ae_title=called)
    came = Circumstances(requestor=requestor, received_at=CAME.received_at)
    rules = load_rules(EXAMPLES / f"{example}.yaml", Known()).rules
    outcome = route(Subject(header=header(**attributes), circumstances=came), rules)
    if isinstance(outcome, Route):
        return outcome.rule
    assert isinstance(outcome, Declined)
    return next((rule.name for rule in rules if f"(rule {rule.name!r}" in outcome.reason), "")


@pytest.mark.parametrize(
    ("attributes", "sender", "rule"),
    [
        (ADULT, "CR_ROOM1", "chest"),
        (ADULT | {"BodyPartExamined": "CHEST"}, "CR_ROOM1", "chest"),
        (ADULT | {"BodyPartExamined": "HAND"}, "CR_ROOM1", "everything else"),
        (ADULT, "CR_EMERGENCY", "emergency"),
        (ADULT | {"StationName": "ER2"}, "CR_ROOM1", "emergency"),
        (ADULT | {"StationName": "TOWER2"}, "CR_ROOM1", "chest"),
        (ADULT | {"Modality": "CT", "StationName": "ER2"}, "CR_ROOM1", "everything else"),
        ({"Modality": "CR", "PatientAge": "009Y"}, "CR_EMERGENCY", "children"),
        ({"Modality": "CR"}, "CR_EMERGENCY", "everything else"),
    ],
    ids=str,
)
def test_a_small_hospital(attributes: dict[str, object], sender: str, rule: str) -> None:
    assert taken("small-hospital", attributes, sender) == rule


def test_a_small_hospital_by_the_code_of_the_procedure() -> None:
    codes = [header(CodeValue="OTHER"), header(CodeValue="CHESTSTAT")]
    assert taken("small-hospital", {**ADULT, "RequestedProcedureCodeSequence": codes}) == "emergency"


QA = "phantoms and quality assurance"


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        ({}, "chest"),
        ({"PatientID": "QA-2026-1"}, QA),
        ({"PatientID": "1QA"}, "chest"),
        ({"PatientName": "TEST^Image"}, QA),
        ({"PatientName": "TESTA^Jonas"}, "chest"),
        ({"ProtocolName": "Daily constancy"}, QA),
        ({"SeriesDescription": "Flat field"}, QA),
        ({"StudyDescription": "Fantomas"}, QA),
        ({"KVP": "28"}, QA),
        ({"KVP": "120"}, "chest"),
        ({"Modality": "CT"}, ""),
    ],
    ids=str,
)
def test_phantoms_and_qa(attributes: dict[str, object], rule: str) -> None:
    assert taken("phantoms-and-qa", {"Modality": "DX"} | attributes) == rule


@pytest.mark.parametrize(
    ("sender", "address"), [("QA_WS", "10.0.0.1"), ("physics", "10.0.0.1"), ("CR_ROOM1", "10.20.99.7")]
)
def test_phantoms_and_qa_by_the_sender(sender: str, address: str) -> None:
    assert taken("phantoms-and-qa", {"Modality": "DX"}, sender, address) == QA


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        ({"PatientAge": "018Y"}, "adults"),
        ({"PatientAge": "017Y"}, "children"),
        ({"PatientAge": "003W"}, "children"),
        ({"PatientBirthDate": "20080201", "StudyDate": "20260131"}, "children"),
        ({"PatientBirthDate": "20080131", "StudyDate": "20260131"}, "adults"),
        ({}, "no age"),
        ({"PatientAge": "adult"}, "children"),
        ({"PatientAge": "045Y", "StationName": "NICU1"}, "children's department"),
        (
            {"PatientAge": "045Y", "InstitutionalDepartmentName": "Vaikų"},
            "children's department",
        ),
        ({"PatientAge": "045Y", "Modality": "CT"}, "no age"),
    ],
    ids=str,
)
def test_paediatric_exclusion(attributes: dict[str, object], rule: str) -> None:
    assert taken("paediatric-exclusion", {"Modality": "CR"} | attributes) == rule


def handled(
    example: str, attributes: dict[str, object], sender: str = "CR_ROOM1", called: str = "MCADS"
) -> Handling:
    """How an image is handled from the moment it arrives."""
    made = Handler({"pacs": "PACS"})
    made.use_rules(load_rules(EXAMPLES / f"{example}.yaml", Known()).rules)
    requestor = Requestor(ae_title=sender, address="10.0.0.1", called_ae_title=called)
    return made.handling_of(arrival(requestor, **attributes))


@pytest.mark.parametrize(
    ("sender", "called", "rule", "priority", "open_at"),
    [
        ("CR_EMERGENCY", "MCADS", "emergency room", Priority.STAT, []),
        ("CR_WARD", "MCADS", "wards", Priority.ROUTINE, []),
        # Friday night, until Saturday morning, and all of Saturday; not on Friday at noon
        ("ARCHIVE", "MCADS_NIGHT", "read again, off-peak", Priority.LOW, [22, 30, 36]),
    ],
)
def test_off_peak(sender: str, called: str, rule: str, priority: Priority, open_at: list[int]) -> None:
    handling = handled("off-peak", {"Modality": "DX"}, sender, called)
    assert (handling.priority, handling.forward, handling.shadows) == (priority, (), ())
    assert (handling.schedule is not None) == bool(open_at)
    friday = datetime(2026, 1, 30, tzinfo=ZoneInfo("Europe/Vilnius"))
    if handling.schedule is not None:
        open_hours = [friday + timedelta(hours=hour) for hour in open_at]
        assert [handling.schedule.held_until(moment) for moment in open_hours] == [None] * len(open_at)
        assert handling.schedule.held_until(friday + timedelta(hours=12)) == friday.replace(hour=20)
    assert taken("off-peak", {"Modality": "DX"}, sender, called=called) == rule


def routed(example: str, attributes: dict[str, object]) -> Route:
    rules = load_rules(EXAMPLES / f"{example}.yaml", Known()).rules
    outcome = route(Subject(header=header(**attributes), circumstances=CAME), rules)
    assert isinstance(outcome, Route)
    return outcome


PORTABLE = {"Manufacturer": "ACME Medical", "ManufacturerModelName": "Portable 2"}


@pytest.mark.parametrize(
    ("site", "device", "rule", "sets", "objects"),
    [
        ("CITY HOSPITAL", PORTABLE, "hospital", ["hospital-portable", "hospital"], None),
        ("City Hospital", {}, "hospital", ["hospital"], None),
        ("City Hospital", {**PORTABLE, "Manufacturer": "Other"}, "hospital", ["hospital"], None),
        ("Screening Centre North", PORTABLE, "screening", ["screening"], ("sr", "summary")),
    ],
)
def test_two_sites(
    site: str, device: dict[str, object], rule: str, sets: list[str], objects: tuple[str, ...] | None
) -> None:
    attributes = {"Modality": "DX", "InstitutionName": site, **device}
    found = routed("two-sites", attributes)
    assert (found.rule, found.objects) == (rule, objects)
    # the first that applies is used
    assert [each.name for each in found.threshold_sets] == sets
    urgency = Priority.HIGH if rule == "hospital" else Priority.ROUTINE
    assert handled("two-sites", attributes).priority is urgency


def test_two_sites_and_an_image_of_neither() -> None:
    assert taken("two-sites", {"Modality": "DX", "InstitutionName": "Elsewhere"}) == "no site"


def test_a_new_model_in_shadow() -> None:
    handling = handled("shadow-model", {"Modality": "DX"})
    (wish,) = handling.shadows
    assert (wish.rule, wish.priority, wish.schedule) == ("new model, in shadow", Priority.LOW, None)
    assert (handling.priority, handling.schedule, handling.forward) == (Priority.ROUTINE, None, ())
    assert taken("shadow-model", {"Modality": "DX"}) == "chest"
    assert routed("shadow-model", {"Modality": "DX"}).model is None
    assert handled("shadow-model", {"Modality": "XA"}).shadows == ()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_names_findings_and_models_that_there_are(path: Path) -> None:
    known = Known(destinations=["pacs"], labels_of=labels_of(), model="densenet121-res224-all")
    load_rules(path, known)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_says_nothing_that_it_does_not_mean(path: Path) -> None:
    assert load_rules(path, Known(destinations=["pacs"])).cautions == ()
