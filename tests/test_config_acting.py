"""What a rule has done: what may be written, what is wrong, and what is told and loaded all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcads_node.config import Known, load_rules, schedule_of
from mcads_node.errors import ConfigError
from mcads_node.priority import Priority
from mcads_node.result import ObjectKind
from mcads_node.schedule import Schedule, Window

KNOWN = Known(
    destinations=("pacs", "archive"),
    objects={"pacs": (ObjectKind.SR, ObjectKind.HEATMAP), "archive": (ObjectKind.SUMMARY,)},
    labels_of={"big": ("Edema", "Mass"), "small": ("Mass",)},
    model="big",
)
READ = "analyse: {}, send_to: [pacs]"
SETS = """\
threshold_sets:
  - {name: a, when: {InstitutionName: Site A}, thresholds: {Mass: 0.3}}
  - {name: b, when: {InstitutionName: [Site B, site c]}, thresholds: {Mass: 0.4}}
  - {name: rest, thresholds: {Mass: 0.5}}
  - {name: of small, model: small, thresholds: {Mass: 0.5}}
  - {name: portable, when: {InstitutionName: Site A, StationName: P1}, thresholds: {Mass: 0.2}}
  - {name: device, when: {StationName: P1}, thresholds: {Mass: 0.2}}
  - {name: v1, version: 1, thresholds: {Mass: 0.6}}
  - {name: v2, version: 2, thresholds: {Mass: 0.7}}
""".replace("of small", "of-small")


def write(folder: Path, *rules: str, sets: str = "") -> Path:
    path = folder / "routes.yaml"
    lines = [f"  - {{name: r{number}, when: {{}}, {rule}}}" for number, rule in enumerate(rules)]
    path.write_text(f"{sets}routes:\n" + "\n".join(lines) + "\n")
    return path


def problems(folder: Path, *rules: str, sets: str = "") -> list[str]:
    path = write(folder, *rules, sets=sets)
    with pytest.raises(ConfigError) as caught:
        load_rules(path, KNOWN)
    return [str(each).removeprefix(f"{path}:") for each in caught.value.problems]


def cautions(folder: Path, *rules: str, sets: str = "") -> list[str]:
    path = write(folder, *rules, sets=sets)
    loaded = [str(each).removeprefix(f"{path}:") for each in load_rules(path, KNOWN).cautions]
    # what is told of matching and of destinations is tested elsewhere
    return [each for each in loaded if "is never reached" not in each and "no rule sends" not in each]


def test_what_may_be_written(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "analyse: {model: small, objects: [sr]}, send_to: [pacs], forward: [archive], priority: stat",
        "analyse: {}, send_to: [pacs], schedule: [{from: 20:00, to: 06:30, zone: Europe/Vilnius},"
        " {days: sat-sun}]",
        "analyse: {model: small}, shadow: true",
        "decline: no, forward: [archive], forward_back: true",
        f"{READ}",
    )
    stat, night, shadow, declined, plain = load_rules(path, KNOWN).rules
    assert (stat.urgency, stat.forward) == (Priority.STAT, ("archive",))
    assert schedule_of(night.schedule) == Schedule(
        windows=(
            Window(days=tuple(range(7)), begins=20 * 3600, ends=6 * 3600 + 1800, zone="Europe/Vilnius"),
            Window(days=(5, 6), begins=0, ends=86400),
        )
    )
    assert (shadow.urgency, shadow.shadow) == (Priority.LOW, True)
    assert declined.forward_back
    assert plain.urgency is Priority.ROUTINE


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (f"{READ}, forward: [nowhere]", "'nowhere' is not one of the destinations in node.yaml"),
        (f"{READ}, forward_back: true", "forward_back is for a rule that forwards"),
        (f"{READ}, priority: urgent", "input should be 'stat', 'high', 'routine' or 'low'"),
        ("analyse: {}, shadow: true, send_to: [pacs]", "sends nothing, leave out send_to and forward"),
        ("analyse: {}, shadow: true, forward: [pacs]", "sends nothing, leave out send_to and forward"),
        ("decline: no, shadow: true", "is a shadow: it analyses"),
        ("decline: no, schedule: {from: 20:00}", "schedule is for a rule that analyses"),
        (f"{READ}, schedule: {{from: 20}}", "a time such as"),
        (f"{READ}, schedule: {{from: 20:00, to: 20:00}}", "from and to are the same"),
        (f"{READ}, schedule: {{days: monday}}", "days such as mon"),
        (f"{READ}, schedule: {{hours: 20:00}}", "is not a key this node knows"),
        (f"{READ}, schedule: {{zone: Mars/Base}}", "'Mars/Base' is no time zone"),
        ("analyse: {objects: []}, send_to: [pacs]", "expected some of sr, summary"),
        ("analyse: {objects: [sr, sr]}, send_to: [pacs]", "each once at most"),
        ("analyse: {model: none}, send_to: [pacs]", "'none' is not a model here; there are: big, small"),
        (
            "analyse: {model: small, thresholds: {Edema: 0.3}}, send_to: [pacs]",
            "'Edema' is not a finding of the model (Mass)",
        ),
        ("analyse: {threshold_sets: x}, send_to: [pacs]", "'x' is not one of the threshold_sets (a, b,"),
        (
            "analyse: {threshold_sets: of-small}, send_to: [pacs]",
            "'of-small' is of model 'small', the rule reads with 'big'",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, rule: str, expected: str) -> None:
    told = problems(tmp_path, rule, READ, sets=SETS)
    assert any(expected in each and each.startswith("11:") for each in told), told


def test_a_set_is_held_against_its_model(tmp_path: Path) -> None:
    sets = "threshold_sets:\n  - {name: a, model: small, thresholds: {Edema: 0.3}}\n"
    (told,) = problems(tmp_path, READ, sets=sets)
    assert told == "2: threshold_sets[0].thresholds.Edema: 'Edema' is not a finding of the model (Mass)"
    sets = "threshold_sets:\n  - {name: a, when: {Institution: x}, thresholds: {Mass: 2}}\n"
    assert len(problems(tmp_path, READ, sets=sets)) == 2
    twice = "threshold_sets:\n" + "  - {name: a, thresholds: {Mass: 0.3}}\n" * 2
    assert any("more than once: a" in each for each in problems(tmp_path, READ, sets=twice))


def test_shadows_alone_report_nothing(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, "analyse: {}, shadow: true")
    assert "nothing would ever be reported" in told


def named(names: str, more: str = "") -> str:
    return f"analyse: {{threshold_sets: {names}{more}}}, send_to: [pacs]"


@pytest.mark.parametrize(
    ("names", "overlap"),
    [
        ("[a, b, rest]", None),
        ("[rest, a]", "'a' is never used: 'rest' takes all of it before"),
        ("[v1, v2, rest]", None),
        ("[a, v1]", "'a' and 'v1' may apply to one image; the first of them is used"),
        ("[a, portable]", "'portable' is never used: 'a' takes all of it before"),
        ("[portable, a, rest]", None),
        ("[portable, b]", None),
        ("[device, a]", "'device' and 'a' may apply to one image; the first of them is used"),
    ],
)
def test_sets_that_may_both_apply_are_told(tmp_path: Path, names: str, overlap: str | None) -> None:
    at = "11: routes[0].analyse.threshold_sets: "
    told = [each for each in cautions(tmp_path, named(names), sets=SETS) if "threshold_sets: " in each]
    assert told == ([] if overlap is None else [f"{at}{overlap}"])


def test_what_a_set_and_the_rule_both_say_is_told(tmp_path: Path) -> None:
    told = cautions(tmp_path, named("a", ", thresholds: {Mass: 0.2}"), sets=SETS)
    expected = "Mass: the threshold set 'a' says so too; the rule's own is used"
    assert f"11: routes[0].analyse.thresholds: {expected}" in told


def test_a_set_that_nobody_names_is_told(tmp_path: Path) -> None:
    told = cautions(tmp_path, named("[portable, a, b, v1, rest]"), READ, sets=SETS)
    assert [each for each in told if "names" in each] == [
        "5: threshold_sets[3].name: no rule names the threshold set 'of-small'",
        "7: threshold_sets[5].name: no rule names the threshold set 'device'",
        "9: threshold_sets[7].name: no rule names the threshold set 'v2'",
    ]


def test_objects_that_no_destination_wants_are_told(tmp_path: Path) -> None:
    told = cautions(tmp_path, "analyse: {objects: [sr, summary]}, send_to: [pacs]")
    assert told == ["2: routes[0].analyse.objects: 'summary' is wanted by no destination of the rule"]
    assert cautions(tmp_path, "analyse: {objects: [sr, summary]}, send_to: [pacs, archive]") == []


def test_a_rule_has_its_sets_in_its_own_order(tmp_path: Path) -> None:
    loaded = load_rules(write(tmp_path, named("[b, a]"), READ, sets=SETS), KNOWN)
    assert [each.name for each in loaded.rules[0].threshold_sets] == ["b", "a"]
    assert loaded.rules[1].threshold_sets == ()
