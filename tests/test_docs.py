"""The documentation is true: its YAML loads, its commands run, its keys, verbs and links are real ones."""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import typer.main
import yaml
from PIL import Image
from pydantic import BaseModel

from mcads_node.cli import app
from mcads_node.config import NodeConfig, NodeSection, Rule, ThresholdSet, TriageRules
from mcads_node.errors import NodeError
from mcads_node.instance import ReceivedInstance, Requestor
from mcads_node.receive.admission import Admission, AllowedRequestor
from mcads_node.receive.scp import ReceiverSettings, StorageScp
from mcads_node.service import load
from mcads_node.state import open_state
from mcads_node.yamlfile import write_yaml
from tests import documents
from tests.documents import OPERATIONS, ROOT, Block, blocks, commands, plain, prose, table
from tests.verbs import run_verb

BLOCKS = list(blocks())
COMMANDS = commands()
CLI: Any = typer.main.get_command(app)
#: verbs that work, wait or download, and those that test_backup.py and test_pull.py run; the others are run
NOT_RUN = (
    *("serve", "demo", "analyse", "models fetch", "backup", "restore", "pull", "tune"),
    # test_rules.py runs them
    *("routes reload", "routes rollback"),
    # test_auditing.py runs them
    *("models evaluate", "models calibrate", "models thresholds"),
)

DESTINATION = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
NODE = {"destinations": {"pacs": DESTINATION, "archive": {**DESTINATION}}}
ROUTES = {"routes": [{"name": "none", "when": {}, "decline": "nothing"}]}


# --- YAML


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.info.startswith("yaml")], ids=str)
def test_yaml_loads(block: Block, tmp_path: Path) -> None:
    """As the node would read it: with the real loader, and against the models that are there."""
    kind = block.info.removeprefix("yaml").strip()
    assert kind in ("node", "routes", "triage"), f"{block}: write ```yaml node, routes or triage"
    write_yaml(tmp_path / "node.yaml", NODE | ({"triage": "triage.yaml"} if kind == "triage" else {}))
    shutil.copy(ROOT / "config" / "triage.yaml", tmp_path)
    write_yaml(tmp_path / "routes.yaml", ROUTES)
    (tmp_path / f"{kind}.yaml").write_text(block.text, encoding="utf-8")
    configuration = load(tmp_path / "node.yaml")
    said = yaml.safe_load(block.text)
    if kind == "routes":
        assert [rule.name for rule in configuration.rules] == [rule["name"] for rule in said["routes"]]
    elif kind == "triage":
        assert configuration.triage is not None
        assert [rule.name for rule in configuration.triage.rules] == [rule["name"] for rule in said["rules"]]
    else:
        assert set(said) == configuration.node.model_fields_set


def test_there_is_yaml_of_every_kind() -> None:
    assert {"yaml node", "yaml routes", "yaml triage"} <= {block.info for block in BLOCKS}


# --- configuration keys


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of a configuration model, and their defaults as YAML."""
    for name, field in model.model_fields.items():
        # a union with None is the optional section itself
        members = [each for each in _members(field.annotation) if each is not NoneType]
        section = next((each for each in members if _is_section(each)), None)
        place = f"{prefix}{name}"
        if section is not None:
            yield from keys_of(section, f"{place}.")
            continue
        inner = [each for member in members for each in get_args(member) if _is_section(each)]
        if name in ("when", "schedule"):
            # what stands under them is told of in tables of its own
            inner = []
        # conditions within conditions have the same keys again
        inner = [each for each in inner if each is not model]
        if inner and get_origin(members[0]) is tuple:
            yield from keys_of(inner[0], f"{place}[].")
        elif inner:
            yield from keys_of(inner[0], f"{place}.NAME.")
        else:
            default = (
                "required" if field.is_required() else _as_yaml(field.get_default(call_default_factory=True))
            )
            yield place, default


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _as_yaml(value: Any) -> str:
    plainly = json.loads(json.dumps(list(value) if isinstance(value, tuple) else value, default=str))
    return str(yaml.safe_dump(plainly, default_flow_style=True)).removesuffix("...\n").strip()


def documented_keys(*header: str, which: int = 0) -> dict[str, str]:
    found = [rows[1:] for rows in documents.tables(OPERATIONS) if rows[0] == list(header)]
    return {plain(row[0]): plain(row[1]) for row in found[which]}


@pytest.mark.parametrize(
    ("model", "header", "which"),
    [
        (NodeConfig, "key", 0),
        (Rule, "key", 1),
        (ThresholdSet, "key of a set", 0),
        (TriageRules, "key of triage", 0),
    ],
)
def test_every_key_is_documented_with_its_default(model: type[BaseModel], header: str, which: int) -> None:
    there = {key: _comparable(default) for key, default in keys_of(model)}
    told = documented_keys(header, "default", "meaning", which=which)
    assert {key: _comparable(default) for key, default in told.items()} == there


def _comparable(default: str) -> Any:
    value = yaml.safe_load(default)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_the_conformance_statement_repeats_keys_that_exist() -> None:
    there = dict(keys_of(NodeConfig))
    sections = {key.partition(".")[0].removesuffix("[]") for key in there}
    for _, key, default in table(documents.CONFORMANCE, "parameter", "key"):
        assert plain(key) in there or plain(key) in sections
        if plain(key) in there:
            assert _comparable(plain(default)) == _comparable(there[plain(key)])


# --- verbs


def verbs(group: Any = CLI, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def parsed(arguments: tuple[str, ...]) -> None:
    """Parse a command line as the program would, without running it."""
    context, command, rest = None, CLI, list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"there is no verb {name}"
        context, command = (
            command.make_context(command.name, [], parent=context, resilient_parsing=True),
            command.commands[name],
        )
    command.make_context(command.name, rest, parent=context)


def test_every_verb_is_documented() -> None:
    assert {plain(row[0]) for row in table(OPERATIONS, "verb")} == set(verbs())


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_documented_command_is_understood(arguments: tuple[str, ...]) -> None:
    parsed(arguments)


def test_examples_of_the_table_of_verbs_are_understood() -> None:
    for row in table(OPERATIONS, "verb"):
        program, *arguments = plain(row[2]).split()
        assert (program, " ".join(arguments).startswith(plain(row[0]))) == ("mcads-node", True)
        parsed(tuple(arguments))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(("stduies",), "no verb"), (("check", "--jsno"), "[Nn]o such option"), (("show",), "[Mm]issing")],
)
def test_a_wrong_command_is_not_understood(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        parsed(arguments)


def test_exit_codes_are_those_of_the_errors() -> None:
    def codes(error: type[NodeError]) -> set[int]:
        return {error.exit_code}.union(*(codes(each) for each in error.__subclasses__()))

    told = {int(row[0]) for row in table(OPERATIONS, "code", "meaning")}
    assert told == codes(NodeError) | {0, 2}
    besides = " ".join(row[3] for row in table(OPERATIONS, "verb"))
    assert {int(word) for word in besides.replace(",", " ").split() if word.isdigit()} <= told


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Configuration of a node that has received one image, and whose PACS answers."""
    folder = tmp_path_factory.mktemp("node")
    sender = AllowedRequestor(ae_title="MCADS", address="127.0.0.1")
    admission = Admission(ae_title="PACS", requestors=(sender,), max_associations=4)
    settings = ReceiverSettings(admission=admission, transfer_syntaxes=("1.2.840.10008.1.2.1",))
    pacs = StorageScp(settings, lambda _arrival: 0, lambda _requestor, _reason: None)
    pacs.start()
    config = {
        "node": {"data_dir": str(folder / "data")},
        "requestors": [{"ae_title": "MODALITY", "address": "127.0.0.1"}],
        "destinations": {"pacs": {**DESTINATION, "port": pacs.port}},
        "analysis": {"model": "mcads-demo", "allow_demonstration_models": True},
    }
    write_yaml(folder / "node.yaml", config)
    write_yaml(folder / "routes.yaml", ROUTES)
    write_yaml(folder / "new.yaml", ROUTES)
    state = open_state(NodeConfig(node=NodeSection(data_dir=folder / "data")))
    stored = state.spool.write(b"bytes")
    state.workitems.record_received(
        ReceivedInstance(
            sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
            sop_instance_uid="2.25.2",
            study_instance_uid="2.25.1",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            requestor=Requestor(ae_title="MODALITY", address="127.0.0.1", called_ae_title="MCADS"),
            received_at=datetime.now(UTC),
            path=stored.path,
            size=stored.size,
            digest=stored.digest,
        )
    )
    state.close()
    yield folder / "node.yaml"
    pacs.stop()


def test_cheap_commands_are_run() -> None:
    run = {" ".join(arguments) for arguments in COMMANDS if is_run(arguments)}
    assert {"check", "studies", "show 1", "retry 1", "models list"} <= run


def is_run(arguments: tuple[str, ...]) -> bool:
    return not " ".join(arguments).startswith(NOT_RUN)


@pytest.mark.parametrize("arguments", [each for each in COMMANDS if is_run(each)], ids=" ".join)
def test_a_documented_command_runs(arguments: tuple[str, ...], node: Path) -> None:
    here = ("--data-dir", str(node.parent / "data")) if arguments[0] == "models" else ()
    done = run_verb(*arguments, *here, folder=node.parent, environment={"MCADS_CONFIG": str(node)})
    # no weights are fetched by a test, and what that ends with is documented
    absent = arguments[:2] == ("models", "verify") and "demo" not in arguments[2]
    assert done.returncode == (69 if absent else 0), done.stdout + done.stderr
    if "--json" in arguments:
        json.loads(done.stdout)


# --- the rest of what operations.md says


def test_every_event_of_the_log_is_documented() -> None:
    told = {plain(name).strip() for row in table(OPERATIONS, "event", "level") for name in row[0].split(",")}
    assert told == set(logged_events())


def logged_events() -> Iterator[str]:
    """First argument of every ``log.info``, ``log.warning`` and so on in the package."""
    for module in (ROOT / "mcads_node").rglob("*.py"):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id="log"), attr="info" | "warning" | "error" | "critical"
                    ),
                    args=[ast.Constant(value=str(event)), *_],
                ):
                    yield event


def test_the_data_folder_is_as_told(node: Path) -> None:
    told = {
        plain(row[0]).split()[0].partition("/")[0] for row in table(OPERATIONS, "in `/var/lib/mcads-node`")
    }
    there = {entry.name for entry in (node.parent / "data").iterdir()}
    # a lock is held only by a node that runs; no weights were fetched, and nothing was tuned
    assert told - {"lock.ROLE", "models", "tuning.yaml"} <= there
    assert {name.partition("-wal")[0].partition("-shm")[0] for name in there} <= told


# --- links, pictures, words


@pytest.mark.parametrize("document", documents.DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in documents.links(document):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name}: {link}"
        assert not anchor or anchor in documents.anchors(target), f"{document.name}: {link}"


def test_the_readme_shows_what_the_software_made() -> None:
    shown = [link for link in documents.links(ROOT / "README.md") if link.endswith(".png")]
    assert {Path(link).stem for link in shown} == {"summary", "heatmap"}
    for link in shown:
        picture = ROOT / link
        assert picture.stat().st_size < 400_000
        with Image.open(picture) as opened:
            opened.load()
            assert min(opened.size) >= 480
    assert {path.name for path in (ROOT / "docs" / "pictures").iterdir()} == {
        Path(link).name for link in shown
    }


def test_scripts_that_are_named_can_be_run() -> None:
    scripts = {path.name: path for path in (ROOT / "scripts").iterdir() if path.suffix == ""}
    for name in ("demo", "test", "pictures", "attack"):
        assert os.access(scripts[name], os.X_OK), name
        assert f"scripts/{name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_decisions_are_numbered_and_have_three_parts() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(file.name[:4]) for file in files]
    # parts of the work that go on at the same time have numbers of their own: there may be gaps
    assert numbers == sorted(set(numbers))
    for file in files:
        text = prose(file)
        assert text.startswith(f"# {file.name[:4]} ")
        headings = [line for line in text.splitlines() if line.startswith("## ")]
        assert headings == ["## Context", "## Decision", "## Consequences"], file.name
