"""The verbs of the rules, on a node's state: what they tell, what they change, and what they leave alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mcads_node import phantom
from mcads_node.cli import app
from mcads_node.config import NodeConfig
from mcads_node.errors import ConfigError, NodeError, PermanentError
from mcads_node.instance import View
from mcads_node.state import State, open_state
from mcads_node.verbs import ruling
from mcads_node.verbs.trying import since_in
from mcads_node.workitems import InstanceDeclined
from mcads_node.yamlfile import load_yaml, write_yaml
from tests.workitems_samples import received

CHEST = {"name": "chest", "when": {"Modality": ["CR", "DX"]}, "analyse": {}, "send_to": ["pacs"]}
REST = {"name": "rest", "when": {}, "decline": "no route"}
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@dataclass
class Site:
    """A node's files, and its state as it is between two runs."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "node.yaml"

    @property
    def routes(self) -> Path:
        return self.folder / "routes.yaml"

    def write(self, *rules: Any, name: str = "routes.yaml") -> Path:
        write_yaml(self.folder / name, {"routes": list(rules)})
        return self.folder / name

    def state(self) -> State:
        return open_state(load_yaml(self.config, NodeConfig))

    def accept(self, who: str = "somebody") -> str:
        """Put the file's version on record, as a node does."""
        book = ruling.read_rules(self.config, None)
        state = self.state()
        state.workitems.accept_rules(book.digest, book.text, who=who, why="reload")
        state.close()
        return book.digest

    def receive(self, number: int, data: bytes, at: datetime, study: str = "1") -> None:
        state = self.state()
        stored = state.spool.write(data)
        state.workitems.record_received(replace(received(str(number), study, at=at), path=stored.path))
        state.close()

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["routes", *arguments, "--config", str(self.config)])

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    pacs = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    write_yaml(site.config, {"node": {"data_dir": str(tmp_path / "data")}, "destinations": {"pacs": pacs}})
    site.write(CHEST, REST)
    return site


def image(view: View = View.PA, **attributes: object) -> bytes:
    drawn = phantom.radiograph(view=view, rows=64, columns=64)
    for keyword, value in attributes.items():
        setattr(drawn, keyword, value)
    return phantom.save(drawn)


# --- check


def test_check_tells_what_rules_do_and_what_they_may_not_mean(site: Site) -> None:
    site.write(CHEST, {**CHEST, "name": "dx", "when": {"Modality": "DX", "KVP": {"min": 9, "max": 2}}}, REST)
    found = site.json("check")
    assert [rule["name"] for rule in found["rules"]] == ["chest", "dx", "rest"]
    assert [(each["line"] is not None, each["key"], each["message"]) for each in found["cautions"]] == [
        (True, "routes[1].name", "rule 'dx' is never reached: rule 'chest' takes all of it before"),
        (True, "routes[1].when.KVP", "never holds: min 9 is above max 2"),
    ]
    assert site.run("check").exit_code == 0


def test_check_tells_everything_that_is_wrong_at_once_with_what_was_meant(site: Site) -> None:
    rule = {"name": "a", "when": {"ModalityX": "CR", "StationNam": 1}, "analyze": {}, "send_to": ["pacss"]}
    done = site.run("check", str(site.write(rule, name="new.yaml")), "--json")
    assert done.exit_code == 78
    problems = json.loads(done.stdout)["problems"]
    assert all(each["file"].endswith("new.yaml") and each["line"] for each in problems)
    told = {each["key"]: each["message"] for each in problems}
    assert "did you mean Modality?" in told["routes[0].when.ModalityX"]
    assert "did you mean StationName?" in told["routes[0].when.StationNam"]
    assert "did you mean analyse?" in told["routes[0].analyze"]
    assert "did you mean pacs?" in told["routes[0].send_to"]


@pytest.mark.parametrize(
    ("earlier", "later", "unreachable"),
    [
        ({}, {"Modality": "DX"}, True),
        ({"Modality": ["CR", "DX"]}, {"Modality": "dx"}, True),
        ({"Modality": "DX"}, {"Modality": ["CR", "DX"]}, False),
        ({"KVP": {"min": 60}}, {"KVP": {"min": 70, "max": 90}, "Modality": "DX"}, True),
        ({"KVP": {"min": 60}}, {"KVP": {"max": 90}}, False),
        ({"PatientAge": {"max": 17}}, {"PatientAge": {"max": "6M"}}, False),
        ({"ViewPosition": {"not": ["LL"]}}, {"ViewPosition": {"not": ["RL", "LL"]}}, True),
        ({"any": [{"Modality": "CR"}]}, {"any": [{"Modality": "CR"}], "KVP": 1}, True),
        ({"any": [{"Modality": "CR"}]}, {"Modality": "CR"}, False),
        ({"ProtocolName": {"matches": "a"}}, {"ProtocolName": {"matches": "ab"}}, False),
    ],
    ids=str,
)
def test_rules_that_are_never_reached(
    site: Site, earlier: dict[str, Any], later: dict[str, Any], unreachable: bool
) -> None:
    site.write({**CHEST, "name": "1", "when": earlier}, {**CHEST, "name": "2", "when": later})
    cautions = ruling.read_rules(site.config, None).cautions
    assert any("never reached" in each.message for each in cautions) == unreachable


@pytest.mark.parametrize(
    ("when", "caution"),
    [
        ({"Modality": {"is": "CR", "not": ["CR"]}}, "all that it may be is under not"),
        ({"KVP": {"present": False, "min": 1}}, "present is false"),
        ({"any": [{"KVP": {"min": 2, "max": 1}}]}, "min 2 is above max 1"),
        ({"Modality": ["CT", "DX"]}, "images of CT are declined before any rule is asked"),
    ],
)
def test_conditions_that_hardly_hold(site: Site, when: dict[str, Any], caution: str) -> None:
    site.write({**CHEST, "when": when})
    (told,) = ruling.read_rules(site.config, None).cautions
    assert caution in told.message
    assert told.line


def test_a_destination_that_no_rule_uses_is_told(site: Site) -> None:
    site.write(REST)
    (told,) = ruling.read_rules(site.config, None).cautions
    assert told.message == "no rule sends anything to the destination 'pacs'"


# --- explain


def test_explain_a_file_term_by_term(site: Site, tmp_path: Path) -> None:
    site.write({"name": "children", "when": {"PatientAge": {"max": 17}}, "decline": "no"}, CHEST, REST)
    file = tmp_path / "chest.dcm"
    file.write_bytes(image(PatientAge="045Y", Modality="DX"))
    (found,) = site.json("explain", str(file), "--from", "CR_ROOM1@10.0.0.7")
    assert (found["rule"], found["decision"]) == ("chest", "analysed by rule 'chest', results to pacs")
    children, chest = found["rules"]
    assert children["terms"] == [
        {
            "asked": "PatientAge (0010,1010) is at most 17",
            "outcome": "does not hold",
            "found": "045Y",
        }
    ]
    assert (chest["matches"], chest["terms"][0]["found"]) == (True, "DX")
    text = site.run("explain", str(file)).stdout
    assert "children: does not match" in text
    assert "found 045Y" in text


def test_explain_asks_who_sent_it_and_when(site: Site, tmp_path: Path) -> None:
    when = {"Requestor": "ER", "RequestorAddress": "10.0.0.0/8", "Time": {"from": "18:00", "to": "07:00"}}
    site.write({**CHEST, "when": when}, REST)
    file = tmp_path / "chest.dcm"
    file.write_bytes(image())
    night, day = "2026-01-31T23:00:00", "2026-01-31T12:00:00"
    assert site.json("explain", str(file), "--from", "ER@10.0.0.7", "--at", night)[0]["rule"] == "chest"
    assert site.json("explain", str(file), "--from", "ER@10.0.0.7", "--at", day)[0]["rule"] == "rest"
    assert site.json("explain", str(file), "--from", "ER@11.0.0.7", "--at", night)[0]["rule"] == "rest"


def test_explain_a_study_that_was_received_by_other_rules(site: Site) -> None:
    site.receive(1, image(Modality="DX"), NOW)
    site.receive(2, image(Manufacturer="MCADS node", Modality="DX"), NOW)
    site.receive(3, b"no DICOM", NOW)
    new = site.write({**REST, "name": "all of it"}, name="new.yaml")
    one, _, broken = site.json("explain", "1", "--with", str(new))
    assert (one["image"], one["rule"]) == (1, "all of it")
    assert broken["decision"].startswith("not looked at: not DICOM")
    assert site.json("explain", "1")[0]["rule"] == "chest"
    # so that an error's exit code is that of the program
    with pytest.raises(PermanentError, match="no study 7 is on record"):
        raise site.run("explain", "7").exception or AssertionError


def test_facts_of_the_study_are_those_on_record(site: Site) -> None:
    site.write({**CHEST, "when": {"ImagesInStudy": {"min": 2}}}, REST)
    site.receive(1, image(), NOW)
    assert site.json("explain", "1")[0]["rule"] == "rest"
    site.receive(2, image(View.LATERAL), NOW)
    assert [each["rule"] for each in site.json("explain", "1")] == ["chest", "chest"]


# --- replay


def test_replay_tells_what_would_change_and_changes_nothing(site: Site) -> None:
    site.receive(1, image(Modality="DX", StationName="A"), NOW - timedelta(days=9))
    site.receive(2, image(Modality="DX", StationName="A"), NOW)
    site.receive(3, image(Modality="DX", StationName="B"), NOW)
    site.receive(4, b"no DICOM", NOW)
    site.receive(5, image(Modality="DX", Manufacturer="MCADS node", BodyPartExamined="HAND"), NOW)
    qa = {"name": "qa", "when": {"StationName": "A"}, "decline": "QA"}
    new = site.write(qa, CHEST, REST, name="new.yaml")
    before = (site.folder / "data" / "node.db").read_bytes()
    found = site.json("replay", "--since", "2026-01-30", "--with", str(new))
    assert found["changes"] == [
        {
            "from": "analysed by rule 'chest', results to pacs",
            "to": "declined: QA (rule 'qa')",
            "count": 1,
            "images": [2],
        }
    ]
    counts = ("looked_at", "unchanged", "declined_before_rules", "not_held")
    assert [found[name] for name in counts] == [3, 1, 1, [4]]
    assert (site.folder / "data" / "node.db").read_bytes() == before
    text = site.run("replay", "--since", "2026-01-30", "--with", str(new)).stdout
    assert "images 2" in text


def test_replay_tells_of_a_rule_that_does_the_same_in_another_way(site: Site) -> None:
    site.receive(1, image(Modality="DX"), NOW)
    new = site.write({**CHEST, "analyse": {"thresholds": {"Edema": 0.9}}}, name="new.yaml")
    (change,) = site.json("replay", "--since", "2026-01-30", "--with", str(new))["changes"]
    assert change["to"] == "analysed by rule 'chest', results to pacs, in another way"
    assert site.json("replay", "--since", "2026-01-30", "--with", str(site.routes))["changes"] == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [("7d", NOW - timedelta(days=7)), ("12h", NOW - timedelta(hours=12)), ("2026-01-31T10:00Z", None)],
)
def test_since(text: str, moment: datetime | None) -> None:
    assert since_in(text, NOW) == (moment or datetime(2026, 1, 31, 10, 0, tzinfo=UTC))


@pytest.mark.parametrize("text", ["", "7", "d", "yesterday", "99999999d", "2026-13-01"])
def test_since_something_else(text: str) -> None:
    with pytest.raises(ValueError, match="expected 7d"):
        since_in(text, NOW)


# --- history, show, rollback


def test_versions_are_kept_as_they_were_and_can_be_had_again(site: Site) -> None:
    site.routes.write_text("# ours\nroutes: [{name: a, when: {}, decline: x}]\n", encoding="utf-8")
    first = site.accept("jonas")
    assert site.accept("jonas") == first
    site.write(CHEST, REST)
    second = site.accept("ona")
    history = site.json("history")
    assert [(each["digest"], each["who"]) for each in history] == [(second, "ona"), (first, "jonas")]
    assert site.run("show", first[:8]).stdout.startswith("# ours\n")
    site.routes.chmod(0o640)
    done = site.json("rollback")
    assert (done["digest"], done["used"]) == (first, False)
    assert site.routes.read_text(encoding="utf-8").startswith("# ours\n")
    assert site.routes.stat().st_mode & 0o777 == 0o640
    kept = Path(done["kept"])
    assert "chest" in kept.read_text(encoding="utf-8")
    assert kept.name.startswith("routes.yaml.")
    site.accept("root")
    assert [each["digest"] for each in site.json("history")] == [first, second, first]
    assert site.json("rollback", second[:10])["digest"] == second


def test_what_cannot_be_rolled_back_changes_nothing(site: Site) -> None:
    def fails(error: type[NodeError], message: str, *arguments: str) -> None:
        before = sorted(site.folder.iterdir()), site.routes.read_bytes()
        with pytest.raises(error, match=message):
            raise site.run("rollback", *arguments).exception or AssertionError
        assert (sorted(site.folder.iterdir()), site.routes.read_bytes()) == before

    (site.folder / "data").mkdir()
    site.accept()
    fails(PermanentError, "no other version")
    fails(PermanentError, "no version of the rules begins", "abc")
    site.write({**CHEST, "send_to": ["pacs"]}, REST)
    old = site.accept()
    site.write(REST)
    site.accept()
    elsewhere = {"ae_title": "X", "host": "127.0.0.1", "port": 104}
    data = {"data_dir": str(site.folder / "data")}
    write_yaml(site.config, {"node": data, "destinations": {"elsewhere": elsewhere}})
    fails(ConfigError, "'pacs' is not one of the destinations", old)


def test_reload_needs_a_node_that_runs(site: Site) -> None:
    (site.folder / "data").mkdir()
    with pytest.raises(NodeError, match="no node that analyses runs here"):
        ruling.reload_rules(site.config)
    site.write({"name": "a", "when": {"Modalty": 1}, "decline": "x"})
    with pytest.raises(ConfigError, match="did you mean Modality"):
        ruling.reload_rules(site.config)


# --- the record


def test_what_an_image_was_treated_by_is_shown(site: Site) -> None:
    site.receive(1, image(), NOW)
    state = site.state()
    (item,) = state.workitems.claim("here", timedelta(seconds=60))
    assert state.workitems.circumstances(item).images_in_study == 1
    state.workitems.complete_analysis(item, InstanceDeclined(reason="no", rules_digest="a" * 64))
    state.close()
    done = CliRunner().invoke(app, ["show", "1", "--json", "--config", str(site.config)])
    assert json.loads(done.stdout)["images"][0]["rules_digest"] == "a" * 64
    assert "rules aaaaaaaaaaaa" in CliRunner().invoke(app, ["show", "1", "--config", str(site.config)]).stdout
