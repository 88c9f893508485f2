"""How urgent an image is: the rules, what they can never do, and where the level is told."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from highdicom.sr import srread
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from rich.console import Console

from mcads_node import metrics
from mcads_node.config import TriageRules, load_configuration, load_triage
from mcads_node.errors import ConfigError
from mcads_node.finding import Finding, Presence, presence_of
from mcads_node.instance import InputCheck, View
from mcads_node.report.basic_text import basic_text_report
from mcads_node.report.capture import summary_capture
from mcads_node.report.readback import findings_in
from mcads_node.report.sr import measurement_report
from mcads_node.report.summary_page import summary_page
from mcads_node.report.translation import translator
from mcads_node.report.triage_words import SHIPPED_RULES, reason_text, study_words
from mcads_node.result import ImageReading
from mcads_node.shipped import shipped_folder
from mcads_node.triage import may_hold, triage
from mcads_node.triage_level import Basis, Triage, decisive
from mcads_node.verbs.triaging import show_triage, triage_of_image
from mcads_node.workitems import Kind
from mcads_node.workitems.codec import triage_from_json, triage_to_json
from mcads_node.yamlfile import parse_document
from tests import referees
from tests.report_samples import (
    ALGORITHM,
    CAUTION,
    CONTEXT,
    DOUBTFUL,
    LABELS,
    UNFIT,
    calibrated,
    full,
    with_triage,
)
from tests.test_config import MODELS, write
from tests.test_config import NODE as NODE_YAML
from tests.workitems_samples import Clock, analysed, claim_one, fresh_store, received

FILE = shipped_folder("config") / "triage.yaml"
SHIPPED = load_triage(FILE, LABELS)
ONLY = {"rules": [{"name": "mass", "level": 3, "when": {"findings": ["Mass"], "margin": 0.2}}]}


def rules(**changes: Any) -> TriageRules:
    return TriageRules.model_validate({**ONLY, **changes})


def found(scores: Mapping[str, float], checks: tuple[InputCheck, ...] = ()) -> tuple[Finding, ...]:
    """Findings of all labels at threshold 0.5; those that are not named lie far below."""
    return tuple(
        Finding(
            label=label,
            score=scores.get(label, 0.1),
            threshold=0.5,
            presence=presence_of(scores.get(label, 0.1), 0.5, checks),
        )
        for label in LABELS
    )


#: reports of few labels are as valid, and several times faster to make and to judge
FEW = ("Effusion", "Pneumothorax", "Edema", "Pneumonia", "Nodule", "Mass", "Fracture")


def image(
    scores: Mapping[str, float],
    *,
    view: View = View.PA,
    checks: tuple[InputCheck, ...] = (),
    number: int = 1,
) -> ImageReading:
    plain = ImageReading(
        header=full(number),
        view=view,
        findings=tuple(each for each in found(scores, checks) if each.label in FEW),
        checks=checks,
        thumbnail=b"",
    )
    return with_triage(plain)


# --- the rules


@pytest.mark.parametrize(
    ("scores", "level", "rule"),
    [
        ({"Pneumothorax": 0.6}, 1, "pneumothorax, clearly above its threshold"),
        ({"Pneumothorax": 0.59}, 2, "pneumothorax"),
        ({"Effusion": 0.9, "Pneumothorax": 0.7}, 1, "pneumothorax, clearly above its threshold"),
        ({"Lung Opacity": 0.55}, 3, "acute finding"),
        ({"Edema": 0.55, "Cardiomegaly": 0.55}, 2, "large heart with fluid"),
        ({"Mass": 0.99}, 3, "finding that matters within days"),
        ({"Hernia": 0.6, "Fibrosis": 0.6, "Emphysema": 0.6}, 3, "several findings at once"),
        ({"Hernia": 0.6, "Fibrosis": 0.6}, 4, ""),
        ({}, 5, ""),
    ],
)
def test_the_shipped_rules(scores: dict[str, float], level: int, rule: str) -> None:
    said = triage(found(scores), (), SHIPPED)
    assert (said.level, said.rule) == (level, rule)
    assert set(said.labels) <= set(scores)
    assert said.digest == SHIPPED.digest


def test_a_margin_is_reached_where_it_is_written_so() -> None:
    """In binary, 0.7 − 0.5 is a little less than 0.2."""
    assert triage(found({"Mass": 0.7}), (), rules()).basis is Basis.RULE
    assert triage(found({"Mass": 0.699}), (), rules()).basis is Basis.OTHER


@pytest.mark.parametrize(
    ("checks", "changes", "level", "basis"),
    [
        ((), {}, 5, Basis.NOTHING),
        ((DOUBTFUL,), {}, None, Basis.WARNED),
        ((DOUBTFUL,), {"warned": 5}, 5, Basis.WARNED),
        ((UNFIT,), {}, None, Basis.UNDETERMINED),
        ((UNFIT, DOUBTFUL), {"undetermined": 2, "warned": 5}, 2, Basis.UNDETERMINED),
    ],
)
def test_what_could_not_be_judged_is_not_nothing_found(
    checks: tuple[InputCheck, ...], changes: dict[str, Any], level: int | None, basis: Basis
) -> None:
    said = triage(found({}, checks), checks, rules(**changes))
    assert (said.level, said.basis) == (level, basis)
    reason = reason_text(said, (found({}, checks), checks))
    # a level 5 of an image that is warned of is never told without the warning
    assert all(check.reason in reason for check in checks)


def test_without_findings_nothing_is_found_or_not_found() -> None:
    assert triage((), (), SHIPPED).basis is Basis.UNDETERMINED


def test_conditions_within_one_another() -> None:
    nested = {
        "any": [
            {"findings": ["Hernia"]},
            {"all": [{"findings": ["Mass", "Nodule"], "at_least": 2}, {"findings": ["Edema"]}]},
        ]
    }
    asked = rules(rules=[{"name": "nested", "level": 1, "when": nested}])
    assert triage(found({"Hernia": 0.6}), (), asked).labels == ("Hernia",)
    assert triage(found({"Mass": 0.6, "Edema": 0.6}), (), asked).basis is Basis.OTHER
    assert triage(found({"Mass": 0.6, "Nodule": 0.7, "Edema": 0.8}), (), asked).labels == (
        "Edema",
        "Nodule",
        "Mass",
    )


def test_the_rule_that_comes_first_is_named_of_two_with_one_level() -> None:
    two = [{"name": name, "level": 2, "when": {"findings": ["Mass"]}} for name in ("one", "other")]
    assert triage(found({"Mass": 0.6}), (), rules(rules=two)).rule == "one"


LEVEL = st.integers(1, 4)
MARGIN = st.sampled_from([0.0, 0.05, 0.1, 0.3])
PLAIN = st.builds(
    lambda labels, margin, data: {"findings": labels, "margin": margin, "at_least": data},
    st.just("any") | st.lists(st.sampled_from(LABELS), min_size=3, max_size=5, unique=True),
    MARGIN,
    st.integers(1, 3),
)
PAIR = st.lists(PLAIN, min_size=1, max_size=2)
CONDITION = (
    PLAIN | st.builds(lambda parts: {"all": parts}, PAIR) | st.builds(lambda parts: {"any": parts}, PAIR)
)
RULES = st.builds(
    lambda conditions, levels, warned, undetermined: TriageRules.model_validate(
        {
            "rules": [
                {"name": f"rule {place}", "level": level, "when": condition}
                for place, (condition, level) in enumerate(zip(conditions, levels, strict=False))
            ],
            "otherwise": max(levels),
            "warned": warned,
            "undetermined": undetermined,
        }
    ),
    st.lists(CONDITION, min_size=1, max_size=4),
    st.lists(LEVEL, min_size=4, max_size=4),
    st.sampled_from([None, 4, 5]),
    st.none() | LEVEL,
)
SCORES = st.lists(st.floats(0, 1), min_size=len(LABELS), max_size=len(LABELS))
CHECKS = st.sampled_from([(), (DOUBTFUL,), (UNFIT,)])


def read(scores: list[float], checks: tuple[InputCheck, ...]) -> tuple[Finding, ...]:
    return tuple(
        Finding(label=label, score=score, threshold=0.5, presence=presence_of(score, 0.5, checks))
        for label, score in zip(LABELS, scores, strict=True)
    )


def urgency(said: Triage) -> float:
    return 4.5 if said.level is None else said.level


@settings(max_examples=60, deadline=None)
@given(st.just(SHIPPED) | RULES, SCORES, CHECKS, st.integers(0, len(LABELS) - 1), st.floats(0, 1))
def test_a_score_that_rises_never_makes_an_image_less_urgent(
    asked: TriageRules, scores: list[float], checks: tuple[InputCheck, ...], place: int, rise: float
) -> None:
    risen = [min(1.0, score + rise) if at == place else score for at, score in enumerate(scores)]
    before, after = (triage(read(each, checks), checks, asked) for each in (scores, risen))
    assert urgency(after) <= urgency(before)


@settings(max_examples=60, deadline=None)
@given(st.just(SHIPPED) | RULES, SCORES, CHECKS)
def test_whatever_is_found_has_one_level_and_its_reason(
    asked: TriageRules, scores: list[float], checks: tuple[InputCheck, ...]
) -> None:
    findings = read(scores, checks)
    said = triage(findings, checks, asked)
    present = {finding.label for finding in findings if finding.presence is Presence.PRESENT}
    assert set(said.labels) <= present
    # what is found has a level; the last one is of nothing found, and of a doubtful image only by leave
    assert not present or said.level in range(1, 5)
    if said.level == 5:
        assert not present and (not checks or (checks == (DOUBTFUL,) and asked.warned == 5))
    assert triage_from_json(triage_to_json(said)) == said
    for language in ("en", "lt"):
        reason = reason_text(said, (findings, checks), translator(language))
        assert reason and "{" not in reason
        assert "normal" not in reason.lower()


# --- the file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: []", "triage.yaml:1: rules: expected at least one rule"),
        ("rules:\n  - {name: a, level: 5, when: {findings: any}}", "triage.yaml:2: rules[0].level: "),
        ("rules:\n  - {name: a, level: 1, when: {}}", "expected one of findings, all and any; found none"),
        (
            "rules:\n  - name: a\n    level: 1\n    when:\n      findings: [Pneumotorax]",
            "triage.yaml:5: rules[0].when.findings: 'Pneumotorax' (did you mean Pneumothorax?)",
        ),
        ("rules:\n  - {name: a, level: 1, when: {findings: [Edema], at_least: 2}}", "it never holds"),
        ("rules:\n  - {name: a, level: 1, when: {findings: [Edema, Edema]}}", "expected each finding once"),
        ("rules:\n  - {name: a, level: 1, when: {all: [{findings: any}], margin: 0.1}}", "beside findings"),
        ("rules:\n  - {name: a, level: 1, when: {findings: any}}\nnormal: 5", "normal: is not a key"),
        ("rules:\n  - {name: a, level: 1, whem: {findings: any}}", "did you mean when?"),
        ("rules:\n" + 2 * "  - {name: a, level: 1, when: {findings: any}}\n", "rules need different names"),
        ("rules:\n  - {name: a, level: 1, when: {all: []}}", "all is empty: it never holds"),
        (
            "rules:\n  - {name: a, level: 3, when: {findings: any}}\notherwise: 2",
            "otherwise is 2, more urgent",
        ),
        ("rules:\n  - {name: a, level: 1, when: {findings: any}}\nwarned: 3", "warned is 3, more urgent"),
        (
            "rules:\n  - {name: a, level: 1, when: " + "{all: [" * 4 + "{findings: any}" + "]}" * 4 + "}",
            "more than 4 deep",
        ),
    ],
)
def test_a_wrong_file_is_told_with_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    config = write(tmp_path, f"{NODE_YAML}triage: triage.yaml\n")
    (tmp_path / "triage.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_configuration(config, MODELS)
    assert said in "\n".join(map(str, caught.value.problems)), caught.value.problems


PLAIN_YAML = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 6) | st.sampled_from(["any", "Mass", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["findings", "all", "any", "at_least", "margin", "level"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(PLAIN_YAML, PLAIN_YAML)
def test_whatever_stands_in_the_file_is_read_or_refused(when: object, level: object) -> None:
    text = json.dumps({"rules": [{"name": "a", "level": level, "when": when}]})
    try:
        read = parse_document(text, Path("triage.yaml")).fit(TriageRules, {"labels": LABELS})
    except ConfigError as error:
        assert all(each.key.startswith("rules") for each in error.problems)
    else:
        assert triage(found({}), (), read).level == 5


def test_there_are_no_levels_unless_a_file_is_named(tmp_path: Path) -> None:
    assert load_configuration(write(tmp_path), MODELS).triage is None
    (tmp_path / "triage.yaml").write_text(FILE.read_text())
    named = load_configuration(
        write(tmp_path, f"{NODE_YAML}triage: triage.yaml\n"), {**MODELS, "other": LABELS}
    )
    assert named.triage == SHIPPED


def test_the_digest_is_of_what_the_rules_say() -> None:
    assert rules().digest == rules(otherwise=4).digest
    assert rules().digest != rules(otherwise=3).digest


def test_the_names_of_the_shipped_rules_are_translated() -> None:
    names = [rule.name for rule in SHIPPED.rules]
    assert sorted(names) == sorted(SHIPPED_RULES)
    assert all(translator("lt")(name) != name for name in names)


def test_a_rule_that_a_model_cannot_meet_is_known() -> None:
    held = [rule.name for rule in SHIPPED.rules if may_hold(rule, ("Pneumonia", "Lung Opacity"))]
    assert held == ["acute finding, clearly above its threshold", "acute finding"]


# --- a study


def level(number: int | None) -> Triage:
    basis = {None: Basis.WARNED, 5: Basis.NOTHING}.get(number, Basis.OTHER)
    return Triage(
        level=number, basis=basis, labels=("Mass",) if basis is Basis.OTHER else (), digest="0" * 64
    )


@pytest.mark.parametrize(
    ("levels", "place", "of_the_study"),
    [([5, 2, 3], 1, 2), ([5, 5], 0, 5), ([5, None], 1, None), ([None, 4], 1, 4), ([None, None], 0, None)],
)
def test_a_study_is_as_urgent_as_its_most_urgent_image(
    levels: list[int | None], place: int, of_the_study: int | None
) -> None:
    assert decisive([level(each) for each in levels]) == (place, level(of_the_study))


def test_an_image_that_no_rules_were_asked_of_takes_only_the_last_level_away() -> None:
    assert decisive([None, None]) is None
    assert decisive([None, level(3)]) == (1, level(3))
    told = decisive([level(5), None])
    assert told is not None and told[1].level is None


def test_a_level_that_cannot_be_is_refused() -> None:
    for wrong in (
        {"level": 0, "basis": Basis.NOTHING},
        {"level": 6, "basis": Basis.NOTHING},
        {"level": 5, "basis": Basis.OTHER, "labels": ("Mass",)},
        {"level": 2, "basis": Basis.RULE, "labels": ("Mass",)},
        {"level": 2, "basis": Basis.OTHER},
    ):
        with pytest.raises(ValueError, match=r"level|name"):
            Triage(**{"digest": "", **wrong})  # type: ignore[arg-type]


# --- where it is told


STUDY = [
    image({"Pneumothorax": 0.8, "Mass": 0.6}),
    image({}, view=View.LATERAL, checks=(DOUBTFUL,), number=2),
]


def test_the_words_of_a_study() -> None:
    said = study_words(STUDY, replace(CONTEXT, unread=("It has no pixels.",)))
    assert said is not None
    assert said.text == (
        "Suggested triage level: 1 of 5. PA: Rule “pneumothorax, clearly above its threshold”: Pneumothorax, "
        "score 0.80 (threshold 0.50). Without a level: LATERAL. 1 image was not read. "
        "AI suggestion by the site's rules, not verified; 1 is the most urgent."
    )
    in_lithuanian = study_words(STUDY, CONTEXT, translator("lt"))
    assert in_lithuanian is not None
    assert in_lithuanian.text == (
        "Siūlomas skubumo lygis: 1 iš 5. PA: Taisyklė „pneumotoraksas, aiškiai viršijantis slenkstį“: "
        "Pneumotoraksas, įvertis 0,80 (slenkstis 0,50). Be lygio: ŠONINĖ. "
        "DI siūlymas pagal įstaigos taisykles, nepatvirtintas; 1 – skubiausias."
    )


def test_a_calibrated_finding_is_told_as_a_probability_and_no_other() -> None:
    said = study_words([with_triage(calibrated(image({"Mass": 0.8, "Nodule": 0.7}), ["Mass"]))], CONTEXT)
    assert said is not None
    assert "Mass, probability 0.64 (threshold 0.25); Nodule, score 0.70 (threshold 0.50)" in said.reason


def test_of_many_findings_a_page_names_some_and_counts_the_others() -> None:
    many = [image(dict.fromkeys(("Effusion", "Edema", "Pneumonia", "Fracture"), 0.9))]
    said = study_words(many, CONTEXT, most=3)
    assert said is not None and said.reason.endswith("; 1 more.")


def test_without_rules_nothing_is_said() -> None:
    plain = [replace(each, triage=None) for each in STUDY]
    assert study_words(plain, CONTEXT) is None
    assert not [text for text in summary_page(plain, ALGORITHM, CONTEXT).texts if "riage" in text]


@pytest.mark.parametrize("language", ["en", "lt"])
def test_the_summary_page_says_it_beside_the_headline(language: str) -> None:
    words = study_words(STUDY, CONTEXT, translator(language), 3)
    assert words is not None
    page = summary_page(STUDY, ALGORITHM, CONTEXT, translator(language))
    told = [page.texts.index(text) for text in (words.title, words.reason, words.remark)]
    assert told == sorted(told)
    # before the band that says it is not verified, in letters that a small picture of the page still shows
    written = page.written[told[0]]
    assert written.size >= 30
    assert written.corners[1] < 400


def items(item: Dataset) -> list[Dataset]:
    return [item, *(inner for child in item.get("ContentSequence", ()) for inner in items(child))]


def named(data: bytes, code: str) -> list[Dataset]:
    return [
        each
        for each in items(pydicom.dcmread(io.BytesIO(data)))
        if "ConceptNameCodeSequence" in each and each.ConceptNameCodeSequence[0].CodeValue == code
    ]


def test_the_report_has_it_as_a_number_in_a_group_of_its_own() -> None:
    made = measurement_report(STUDY, replace(ALGORITHM, caution=CAUTION), CONTEXT)
    (index,) = named(made.data, "273887006")
    assert (index.ValueType, index.MeasuredValueSequence[0].NumericValue) == ("NUM", 1)
    content: Any = srread(io.BytesIO(made.data)).content
    groups = content.get_image_measurement_groups()
    assert len(groups) == 1 + 2 * (1 + len(FEW))
    sources = {str(each.referenced_sop_instance_uid) for each in groups[0].source_images}
    assert sources == {str(each.header.SOPInstanceUID) for each in STUDY}
    (said,) = [each.TextValue for each in named(made.data, "121106") if "triage" in each.get("TextValue", "")]
    assert said.startswith(f"{CAUTION}. Suggested triage level: 1 of 5.")
    assert "not verified" in said
    # what the report says of its findings is read back as before
    assert {len(each) for each in findings_in(made.data).values()} == {len(FEW)}
    verdicts = referees.dciodvfy(made.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())


def test_that_there_is_no_level_is_coded_too() -> None:
    made = measurement_report(STUDY[1:], ALGORITHM, CONTEXT)
    (index,) = named(made.data, "273887006")
    assert index.ConceptCodeSequence[0].CodeMeaning == "Undetermined"
    verdicts = referees.dciodvfy(made.data)
    assert (verdicts.errors, verdicts.warnings) == ((), ())


def test_the_texts_say_it() -> None:
    made = basic_text_report(STUDY, ALGORITHM, CONTEXT)
    words = study_words(STUDY, CONTEXT)
    assert words is not None
    assert words.text in [each.get("TextValue") for each in named(made.data, "55112-7")]


def test_other_rules_make_other_objects_and_no_rules_those_of_before() -> None:
    others = [replace(each, triage=triage(each.findings, each.checks, rules())) for each in STUDY]
    without = [replace(each, triage=None) for each in STUDY]
    for build in (measurement_report, summary_capture, basic_text_report):
        made = [build(each, ALGORITHM, CONTEXT).sop_instance_uid for each in (STUDY, others, without)]
        assert len(set(made)) == 3
        again = build([with_triage(each) for each in STUDY], ALGORITHM, CONTEXT)
        assert again.data == build(STUDY, ALGORITHM, CONTEXT).data


def test_what_was_told_is_on_record_and_a_study_has_the_level_of_its_images(tmp_path: Path) -> None:
    with fresh_store(tmp_path, Clock()) as store:
        studies: list[list[Triage | None]] = [[level(3), level(None)], [None], [level(5), level(None)]]
        for number, triages in enumerate(studies, 1):
            for place, each in enumerate(triages):
                store.record_received(received(str(place), str(number)))
                item = claim_one(store, Kind.ANALYSE)
                store.complete_analysis(item, replace(analysed(), triage=each))
        lines = {line.study_instance_uid[-1]: line.triage for line in store.list_studies()}
        assert lines == {"1": level(3), "2": None, "3": level(None)}
        images = store.show_study("1.2.3.1").instances
        assert [each.analysis and each.analysis.triage for each in images] == [level(3), level(None)]


def test_a_verb_tells_it_with_the_reason() -> None:
    told = triage_of_image(STUDY[0].triage, STUDY[0].findings, ())
    assert told == {
        "level": 1,
        "basis": "rule",
        "rule": "pneumothorax, clearly above its threshold",
        "findings": ["Pneumothorax"],
        "rules_digest": SHIPPED.digest,
        "text": "Suggested triage level: 1 of 5",
        "reason": "Rule “pneumothorax, clearly above its threshold”: Pneumothorax, score 0.80 (threshold "
        "0.50).",
    }
    assert triage_of_image(None, (), ()) is None
    console = Console(record=True, width=200)
    show_triage(console, told)
    show_triage(console, None)
    assert console.export_text().strip().startswith("Suggested triage level: 1 of 5 (not verified). Rule")


def test_studies_are_counted_by_level() -> None:
    before = metrics.REGISTRY.get_sample_value("mcads_triages_total", {"level": "none"}) or 0
    metrics.triaged(None)
    metrics.triaged(5)
    assert metrics.REGISTRY.get_sample_value("mcads_triages_total", {"level": "none"}) == before + 1
    assert metrics.REGISTRY.get_sample_value("mcads_triages_total", {"level": "5"})
