"""For any rules and any header: the explanation is the decision, and what cannot be read opens no door.

For any text: the loader reads it or says what is wrong; what it reads analyses nothing that matches no rule.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcads_node.config import Known, RoutesConfig, parse_rules
from mcads_node.errors import ConfigError
from mcads_node.instance import Declined
from mcads_node.route import Outcome, Route, Term, judge, route, verdict
from mcads_node.yamlfile import parse_document
from tests.documents import ROOT
from tests.rules_samples import KEYWORDS, headers, rule, subject, told, values, whens

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "config" / "routes.schema.json").read_text(encoding="utf-8"))
)
FILE = Path("routes.yaml")
KNOWN = Known(destinations=["pacs"], labels_of={"m": ["Pneumothorax"]}, model="m")
#: what a rule may do: analyse, decline, or read besides
ACTIONS: list[dict[str, Any]] = [{}, {"decline": "no"}, {"analyse": {}, "shadow": True}]


def reckoned(how: str, outcomes: Sequence[Outcome]) -> Outcome:
    """Kleene's logic, as a table of truth values 1, ½ and 0."""
    numbers = {Outcome.HOLDS: 2, Outcome.UNDECIDED: 1, Outcome.FAILS: 0}
    truth = [numbers[each] for each in outcomes]
    value = {"all": min([2, *truth]), "any": max([0, *truth]), "none": 2 - max([0, *truth])}[how]
    return {number: each for each, number in numbers.items()}[value]


def check(term: Term) -> None:
    for each in term.terms:
        check(each)
    if term.terms:
        assert term.outcome is reckoned(term.asked, [each.outcome for each in term.terms])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(whens(), st.sampled_from(ACTIONS)), min_size=1, max_size=4), headers())
def test_a_decision_and_its_explanation_agree(
    written: list[tuple[dict[str, Any], dict[str, Any]]], attributes: dict[str, str | None]
) -> None:
    rules = [rule(str(number), when, **action) for number, (when, action) in enumerate(written)]
    about = subject(**told(attributes))
    judged = judge(about, rules)
    for each in judged:
        assert each.term.asked == "all"
        check(each.term)
        opens = {Outcome.HOLDS} if each.rule.analyse else {Outcome.HOLDS, Outcome.UNDECIDED}
        assert each.matches == (each.term.outcome in opens)
    # a shadow takes nothing from the rules after it
    assert all(each.rule.shadow for each in judged[:-1] if each.matches)
    assert len(judged) == len(rules) or judged[-1].is_used
    outcome = route(about, rules)
    assert outcome == verdict(judged, about)
    assert outcome == route(about, [each for each in rules if not each.shadow])
    if isinstance(outcome, Route):
        assert (outcome.rule, judged[-1].term.outcome) == (judged[-1].rule.name, Outcome.HOLDS)


@settings(max_examples=200, deadline=None)
@given(st.data(), whens(), headers(), st.sampled_from(KEYWORDS))
def test_what_is_decided_without_a_value_is_so_whatever_the_value(
    data: st.DataObject, when: dict[str, Any], attributes: dict[str, str | None], keyword: str
) -> None:
    rules = [rule("r", when)]
    (blind,) = judge(subject((keyword,), **told({**attributes, keyword: None})), rules)
    value = data.draw(values(keyword))
    (seeing,) = judge(subject(**told({**attributes, keyword: value})), rules)
    if blind.term.outcome is not Outcome.UNDECIDED:
        assert seeing.term.outcome is blind.term.outcome


@settings(max_examples=100, deadline=None)
@given(whens())
def test_what_the_node_reads_an_editor_finds_no_fault_with(when: dict[str, Any]) -> None:
    # JSON is YAML without aliases
    text = json.dumps({"routes": [{"name": "r", "when": when, "decline": "no"}]})
    parse_rules(text, FILE, Known())
    SCHEMA.validate(parse_document(text, FILE).plain)


# --- any text

VALID = [
    path.read_text(encoding="utf-8")
    for path in [ROOT / "config" / "routes.yaml", *sorted((ROOT / "config" / "examples").glob("*.yaml"))]
]
_PIECES = [": ", "- ", "{", "}", "[", "]", "\n", "  ", "not", "any:", "null", '"', "&a", "*a", "!!x", "\t"]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A valid file, of which pieces were cut out, doubled, moved or put in."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        new = draw(st.sampled_from([*_PIECES, "", text[start:end] * 2]) | st.text(max_size=4))
        text = text[:start] + new + text[end:]
    return text


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 999) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "routes name when analyse decline any all none Time Modality PatientAge is min".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
structured = st.one_of(
    plain.map(yaml.safe_dump),
    plain.map(lambda when: yaml.safe_dump({"routes": [{"name": "r", "when": when, "decline": "x"}]})),
)


@settings(max_examples=400, deadline=None)
@given(damaged() | structured | st.text())
@example("routes: [{name: a, when: {any: " + "[{any: " * 200 + "}]" * 200 + "}}]")
@example("routes: " + "[" * 5000)
def test_any_text_is_read_or_refused_and_opens_no_door(text: str) -> None:
    try:
        book = parse_rules(text, FILE, KNOWN)
    except ConfigError as error:
        assert error.problems
        assert all(problem.file == "routes.yaml" and problem.message for problem in error.problems)
        return
    about = subject(Modality="DX", PatientAge="045Y")
    outcome = route(about, book.rules)
    judged = judge(about, book.rules)
    if judged[-1].term.outcome is not Outcome.HOLDS:
        assert isinstance(outcome, Declined)


def test_a_pattern_takes_no_longer_than_its_value() -> None:
    """The classic trap of a backtracking engine, held against 100,000 letters."""
    about = subject(StationName="a" * 100_000 + "!")
    (judged,) = judge(about, [rule("r", {"StationName": {"matches": "^(a+)+$"}})])
    assert judged.term.outcome is Outcome.FAILS


@pytest.mark.parametrize("depth", [3, 5])
def test_groups_nest_as_deep_as_is_told(depth: int) -> None:
    when: Any = {"Modality": "DX"}
    for _ in range(depth):
        when = {"any": [when]}
    assert isinstance(route(subject(Modality="DX"), [rule("r", when)]), Route)
    assert RoutesConfig.model_fields
