"""The configuration tells every problem with its file, line and key, and never starts on a wrong one."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.config import (
    Asked,
    Condition,
    DestinationSection,
    NodeConfig,
    PullSection,
    RoutesConfig,
    Rule,
    SourceSection,
    load_configuration,
)
from mcads_node.errors import ConfigError
from mcads_node.result import ObjectKind
from mcads_node.yamlfile import load_yaml

MODELS = {"densenet121-res224-all": ("Pneumothorax", "Edema"), "other": ()}
SHIPPED = Path(__file__).resolve().parents[1] / "config"

NODE = """\
node: {ae_title: MCADS, data_dir: /tmp/x}
requestors:
  - {ae_title: CR1, address: 10.0.0.0/8}
destinations:
  pacs: {ae_title: PACS, host: pacs.example, port: 104}
"""
ROUTES = """\
routes:
  - name: chest
    when: {Modality: [CR, DX]}
    analyse: {thresholds: {Pneumothorax: 0.3}}
    send_to: [pacs]
"""


def write(folder: Path, node: str = NODE, routes: str = ROUTES) -> Path:
    (folder / "routes.yaml").write_text(routes)
    (folder / "node.yaml").write_text(node)
    return folder / "node.yaml"


def condition(rule: Rule) -> Condition:
    """What a rule asks of the first attribute."""
    (asked, *_) = rule.when
    assert isinstance(asked, Asked)
    return asked.condition


def destination(keys: str) -> str:
    return f"destinations:\n  pacs: {{ae_title: PACS, host: h, port: 1, {keys}}}\n"


def problems(folder: Path, node: str = NODE, routes: str = ROUTES) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_configuration(write(folder, node, routes), MODELS)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_a_right_configuration_is_read(tmp_path: Path) -> None:
    configuration = load_configuration(write(tmp_path), MODELS)
    assert configuration.node.requestors[0].ae_title == "CR1"
    assert condition(configuration.rules[0]).one_of == ("CR", "DX")
    assert configuration.rules[0].analyse is not None
    assert configuration.rules[0].analyse.thresholds == {"Pneumothorax": 0.3}


def test_nobody_may_send_unless_listed(tmp_path: Path) -> None:
    node = "destinations: {pacs: {ae_title: PACS, host: h, port: 1}}\n"
    assert load_configuration(write(tmp_path, node), MODELS).node.requestors == ()


def test_the_shipped_configuration_is_right() -> None:
    configuration = load_configuration(SHIPPED / "node.yaml", MODELS)
    assert [rule.name for rule in configuration.rules] == [
        "children",
        "chest radiographs",
        "everything else",
    ]


def test_the_shipped_configuration_shows_the_defaults() -> None:
    shipped = load_yaml(SHIPPED / "node.yaml", NodeConfig)
    default = NodeConfig()
    assert (shipped.node, shipped.analysis, shipped.report, shipped.routes) == (
        default.node,
        default.analysis,
        default.report,
        default.routes,
    )


def test_the_shipped_configuration_shows_how_the_node_is_watched() -> None:
    shipped = load_yaml(SHIPPED / "node.yaml", NodeConfig)
    assert (shipped.monitoring, shipped.alerts) == (NodeConfig().monitoring, NodeConfig().alerts)


def test_the_shipped_template_of_a_destination_is_one_and_shows_the_defaults() -> None:
    lines = (SHIPPED / "node.yaml").read_text().splitlines()
    template = [line[1:] for line in lines if line.startswith("#  ")]
    written = yaml.safe_load("\n".join(template))["NAME"]
    assert set(written) == set(DestinationSection.model_fields)
    shown = DestinationSection.model_validate(written | {"series": {}})
    assert shown == DestinationSection(ae_title="PACS", host="10.20.0.5", port=104)
    assert DestinationSection.model_validate(written).series[ObjectKind.SR].number == 9901


def test_the_shipped_templates_of_sources_and_jobs_show_the_defaults() -> None:
    lines = (SHIPPED / "node.yaml").read_text().splitlines()
    written = yaml.safe_load("\n".join(line[1:] for line in lines if line.startswith("#  ")))
    assert set(written["ARCHIVE"]) == set(SourceSection.model_fields)
    source = SourceSection.model_validate(written["ARCHIVE"])
    assert source == SourceSection(ae_title="PACS", host="10.20.0.5", port=104)
    assert set(written["JOB"]) == set(PullSection.model_fields)
    PullSection.model_validate(written["JOB"])


def test_all_problems_of_both_files_are_told_at_once(tmp_path: Path) -> None:
    node = """\
node:
  ae_title: A_TITLE_THAT_IS_TOO_LONG
  port: 70000
  colour: blue
requestors:
  - {ae_title: CR1, address: room one}
destinations:
  pacs: {ae_title: PACS, host: h, port: 104, objects: [sr, film]}
"""
    routes = """\
routes:
  - name: chest
    when:
      ModalityX: CR
    analyse: {thresholds: {Pneumonitis: 2}}
    send_to: [archive]
"""
    told = problems(tmp_path, node, routes)
    assert [line.split(" ")[0:2] for line in told] == [
        ["node.yaml:2:", "node.ae_title:"],
        ["node.yaml:3:", "node.port:"],
        ["node.yaml:4:", "node.colour:"],
        ["node.yaml:6:", "requestors[0].address:"],
        ["node.yaml:8:", "destinations.pacs.objects[1]:"],
        ["routes.yaml:4:", "routes[0].when.ModalityX:"],
        ["routes.yaml:5:", "routes[0].analyse.thresholds.Pneumonitis:"],
        ["routes.yaml:6:", "routes[0].send_to:"],
    ]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("node: [", "node.yaml:1: is not valid YAML"),
        ("node: {prot: 104}\n", "node.prot: is not a key this node knows (did you mean port?)"),
        (destination("object: [sr]"), "pacs.object: is not a key this node knows (did you mean objects?)"),
        ("analysis: {model: othr}\n", "'othr' is not a model here (did you mean other?)"),
        ("node: {}\nnode: {}\n", "node.yaml:2: node: is given twice (first on line 1)"),
        ("node: &a {}\nanalysis: *a\n", "node.yaml:2: is not valid YAML: aliases"),
        ("node: !!python/object:os.system {}\n", "node"),
        ("just words\n", "node.yaml:1: "),
        (destination("objects: []"), "objects: expected at least one of sr, summary, heatmap, basic-text-sr"),
        (destination("objects: [sr, sr]"), "objects: expected each of sr, summary"),
        (destination("sr_classes: []"), "at least one of comprehensive-3d, enhanced, comprehensive"),
        (destination("sr_classes: [basic]"), "destinations.pacs.sr_classes[0]: "),
        (destination("captures: {modality: ot}"), "destinations.pacs.captures.modality: "),
        (destination("captures: {transfer_syntax: jpeg}"), "destinations.pacs.captures.transfer_syntax: "),
        (destination("captures: {max_side: 20}"), "destinations.pacs.captures.max_side"),
        (destination("captures: {style: dots}"), "destinations.pacs.captures.style: "),
        (destination("series: {film: {}}"), "destinations.pacs.series.film"),
        (destination("series: {sr: {number: 0}}"), "destinations.pacs.series.sr.number"),
        (destination(f"series: {{sr: {{description: {'x' * 65}}}}}"), "has up to 64 characters"),
        ("report: {language: de}\n", "node.yaml:1: report.language: "),
        ("node: {database: mysql://x}\n", "node.yaml:1: node.database: expected null"),
        ("analysis: {model: nothing-like-it}\n", "'nothing-like-it' is not a model here"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, node: str, expected: str) -> None:
    assert any(expected in line for line in problems(tmp_path, node))


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("routes: []\n", "routes.yaml:1: routes: "),
        ("{}", "routes: is required and not there"),
        ("routes: [{name: a, when: {}}]", "needs either analyse or decline"),
        ("routes: [{name: a, when: {}, decline: x, analyse: {}, send_to: [pacs]}]", "and not both"),
        ("routes: [{name: a, when: {}, analyse: {}}]", "send_to must name a destination"),
        ("routes: [{name: a, when: {Modality: }, decline: x}]", "expected a value"),
        (
            "routes: [{name: a, when: {Modality: {in: CR}}, decline: x}]",
            "Modality.in: is not a key this node",
        ),
        ("routes: [{name: a, when: {PatientAge: {min: old}}, decline: x}]", "min and max take an age"),
        ("routes: [{name: a, when: {}, decline: x}, {name: a, when: {}, decline: x}]", "different names"),
        (
            "routes: [{name: a, when: {}, analyse: {thresholds: {Goitre: 0.5}}, send_to: [pacs]}]",
            "'Goitre' is not a finding of the model (Edema, Pneumothorax)",
        ),
        (
            "routes: [{name: a, when: {}, analyse: {checks: {Orientaton: warn}}, send_to: [pacs]}]",
            "'Orientaton' (did you mean orientation?) is not a check of the gate",
        ),
        (
            "routes: [{name: a, when: {}, analyse: {checks: {view: ignore}}, send_to: [pacs]}]",
            "routes[0].analyse.checks.view: ",
        ),
        (
            "routes: [{name: a, when: {}, analyse: {}, send_to: [pax]}]",
            "'pax' is not one of the destinations in node.yaml (pacs)",
        ),
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, routes: str, expected: str) -> None:
    told = problems(tmp_path, routes=routes)
    assert any(expected in line for line in told), told


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_configuration(tmp_path / "nowhere.yaml", MODELS)
    (tmp_path / "node.yaml").write_bytes(b"node: \xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_configuration(tmp_path / "node.yaml", MODELS)


def test_no_and_yes_are_words_as_in_dicom(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{name: a, when: {BurnedInAnnotation: NO}, decline: x}]")
    assert condition(load_yaml(path, RoutesConfig).routes[0]) == Condition.model_validate("NO")


@pytest.mark.parametrize("written", ["0123", "1.10", "12:30:00", "2026-01-02", "1e3", "0x1F", "on"])
def test_a_word_of_a_rule_is_taken_as_it_was_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(f"routes: [{{name: a, when: {{StationName: {written}}}, decline: x}}]")
    assert condition(load_yaml(path, RoutesConfig).routes[0]).one_of == (written,)


def test_numbers_are_numbers_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{name: a, when: {KVP: {min: 010, max: 1.5e2}}, decline: x}]")
    asked = condition(load_yaml(path, RoutesConfig).routes[0])
    assert asked.minimum is not None
    assert asked.maximum is not None
    assert (asked.minimum.number, asked.maximum.number) == (10, 150)


@given(st.text() | st.from_regex(r"(?s)(routes|node)?:? ?[\[{&*!].*"))
def test_no_text_crashes_the_loader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("yaml") / "routes.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load_yaml(path, RoutesConfig)
    except ConfigError as error:
        assert error.problems
