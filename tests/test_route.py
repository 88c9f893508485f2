"""The first rule whose every condition holds is used; a rule never matches on a guess."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.config import CHECKS, Rule
from mcads_node.instance import Circumstances, Declined, Requestor, Verdict, View
from mcads_node.route import Route, Subject, route
from tests.headers import header

CAME = Circumstances(
    requestor=Requestor(ae_title="CR_ROOM1", address="10.0.0.1", called_ae_title="MCADS"),
    # a Saturday, 00:30 in Vilnius
    received_at=datetime(2026, 1, 30, 22, 30, tzinfo=UTC),
    images_in_study=2,
    views_in_study=(View.PA,),
)


def rule(name: str, when: dict[str, Any], **rest: Any) -> Rule:
    action = rest or {"analyse": {}, "send_to": ["pacs"]}
    return Rule.model_validate({"name": name, "when": when, **action})


def subject(**attributes: object) -> Subject:
    return Subject(header=header(**attributes), circumstances=CAME)


def matches(when: dict[str, Any], **attributes: object) -> bool:
    return isinstance(route(subject(**attributes), [rule("r", when)]), Route)


@pytest.mark.parametrize(
    ("when", "attributes", "expected"),
    [
        ({}, {}, True),
        ({"Modality": "DX"}, {"Modality": "DX"}, True),
        ({"Modality": "dx "}, {"Modality": "DX"}, True),
        ({"Modality": ["CR", "DX"]}, {"Modality": "CT"}, False),
        ({"Modality": "DX"}, {}, False),
        ({"BodyPartExamined": ["CHEST", ""]}, {}, True),
        ({"BodyPartExamined": ["CHEST", ""]}, {"BodyPartExamined": ""}, True),
        ({"ImageType": "PRIMARY"}, {"ImageType": ["ORIGINAL", "PRIMARY"]}, True),
        ({"ViewPosition": {"not": ["LL", "RL"]}}, {"ViewPosition": "PA"}, True),
        ({"ViewPosition": {"not": ["LL", "RL"]}}, {"ViewPosition": "ll"}, False),
        ({"ViewPosition": {"not": ["LL", "RL"]}}, {}, True),
        ({"ViewPosition": {"not": ["LL", ""]}}, {}, False),
        ({"KVP": {"min": 60}}, {"KVP": "120"}, True),
        ({"KVP": {"min": 60, "max": 90}}, {"KVP": "120"}, False),
        ({"KVP": {"min": 60}}, {}, False),
        ({"Rows": 100}, {"Rows": 100}, True),
        ({"KVP": 120}, {"KVP": "120.0"}, True),
        ({"KVP": {"not": [120]}}, {"KVP": "120.00"}, False),
        ({"KVP": "120 kV"}, {"KVP": "120"}, False),
        ({"StationName": "120"}, {"StationName": "120.0"}, False),
        ({"PatientAge": {"min": 18}}, {"PatientAge": "018Y"}, True),
        ({"PatientAge": {"max": 17}}, {"PatientAge": "215M"}, True),
        ({"PatientAge": {"max": 17}}, {"PatientAge": "216M"}, False),
        ({"PatientAge": {"max": 0}}, {"PatientAge": "020D"}, True),
        ({"PatientAge": {"max": 17}}, {"PatientBirthDate": "20100701", "StudyDate": "20280630"}, True),
        ({"PatientAge": {"max": 17}}, {"PatientBirthDate": "20100701", "StudyDate": "20280701"}, False),
        ({"PatientAge": {"min": 0}}, {"PatientBirthDate": "20100701"}, False),
        ({"PatientAge": {"min": 0}}, {"PatientBirthDate": "20300701", "StudyDate": "20280701"}, False),
        ({"Requestor": "CR_ROOM1"}, {}, True),
        ({"Requestor": "CR_ROOM2"}, {}, False),
        ({"CalledAETitle": ["MCADS", "OTHER"]}, {}, True),
        ({"Modality": "DX", "Requestor": "CR_ROOM2"}, {"Modality": "DX"}, False),
    ],
)
def test_conditions(when: dict[str, Any], attributes: dict[str, object], expected: bool) -> None:
    assert matches(when, **attributes) is expected


def test_the_first_match_wins_and_carries_what_the_rule_says() -> None:
    rules = [
        rule("ct", {"Modality": "CT"}),
        rule(
            "chest",
            {"Modality": "DX"},
            analyse={
                "explain": [],
                "thresholds": {"Edema": 0.4},
                "explain_top_finding": True,
                "checks": {"age": "pass"},
            },
            complete_when={"quiet_seconds": 3},
            send_to=["pacs", "archive"],
        ),
        rule("rest", {}),
    ]
    assert route(subject(Modality="DX"), rules) == Route(
        rule="chest",
        model=None,
        explain=(),
        explain_top_finding=True,
        thresholds={"Edema": 0.4},
        threshold_sets=(),
        objects=None,
        checks={**CHECKS, "age": Verdict.PASS},
        send_to=("pacs", "archive"),
        quiet_seconds=3,
    )


def test_declined_by_rule_and_by_default() -> None:
    decline = rule("phantoms", {"PatientID": "QA"}, decline="quality assurance")
    assert route(subject(PatientID="QA"), [decline]) == Declined(reason="quality assurance (rule 'phantoms')")
    assert route(subject(), [decline]) == Declined(reason="no rule of the routes matches")


@given(st.text(max_size=20), st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_one_of_and_not_are_each_others_opposite(value: str, words: list[str]) -> None:
    attributes = {"StationName": value.replace("\\", "/")}
    assert matches({"StationName": words}, **attributes) != matches(
        {"StationName": {"not": words}}, **attributes
    )


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.text(max_size=12))
def test_a_limit_never_holds_for_what_is_no_number(limit: float, text: str) -> None:
    reads_as_number = text.strip(" \0").replace(".", "", 1).lstrip("+-")[:1].isdigit()
    if not reads_as_number:
        assert not matches({"StationName": {"min": limit}}, StationName=text.replace("\\", "/"))
