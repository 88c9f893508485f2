"""The shipped examples: what each analyses and declines, by headers as hospitals write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcads_node.config import load_rules
from mcads_node.instance import Circumstances, Declined, Requestor
from mcads_node.route import Route, Subject, route
from tests.documents import ROOT
from tests.headers import header
from tests.rules_samples import CAME

EXAMPLES = ROOT / "config" / "examples"
ADULT: dict[str, object] = {"Modality": "DX", "PatientAge": "045Y"}


def taken(
    example: str, attributes: dict[str, object], sender: str = "CR_ROOM1", address: str = "10.0.0.1"
) -> str:
    """Name of the rule that an image falls under."""
    requestor = Requestor(ae_title=sender, address=address, called_ae_title="MCADS")
    came = Circumstances(requestor=requestor, received_at=CAME.received_at)
    rules = load_rules(EXAMPLES / f"{example}.yaml", None, None).rules
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


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_says_nothing_that_it_does_not_mean(path: Path) -> None:
    assert load_rules(path, ["pacs"], None).cautions == ()
