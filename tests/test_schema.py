"""The schemas for editors are what the models give, and find no fault with any YAML that is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mcads_node.config.schema import schemas
from mcads_node.yamlfile import parse_document
from tests.documents import ROOT, blocks

CONFIG = ROOT / "config"
YAML = [path for path in sorted(CONFIG.rglob("*.yaml")) if path.name != "prometheus-alerts.yaml"]


def faults(name: str, text: str) -> list[str]:
    schema = json.loads((CONFIG / name).read_text(encoding="utf-8"))
    found = jsonschema.Draft202012Validator(schema).iter_errors(parse_document(text, Path(name)).plain)
    return [f"{error.json_path}: {error.message}" for error in found]


def schema_of(path: Path) -> str:
    known = path.stem if path.name in ("node.yaml", "triage.yaml") else "routes"
    return f"{known}.schema.json"


@pytest.mark.parametrize(("name", "schema"), schemas().items())
def test_what_is_shipped_is_what_the_models_give(name: str, schema: dict[str, Any]) -> None:
    shipped = json.loads((CONFIG / name).read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(schema)), "run scripts/schemas"
    jsonschema.Draft202012Validator.check_schema(shipped)


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(CONFIG)))
def test_a_shipped_file_names_its_schema_and_fits_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first, _, named = text.splitlines()[0].partition("$schema=")
    assert first == "# yaml-language-server: "
    assert (path.parent / named).resolve() == CONFIG / schema_of(path)
    assert faults(schema_of(path), text) == []


@pytest.mark.parametrize("block", [each for each in blocks() if each.info.startswith("yaml ")], ids=str)
def test_yaml_of_the_documentation_fits(block: Any) -> None:
    assert faults(f"{block.info.removeprefix('yaml ')}.schema.json", block.text) == []


@pytest.mark.parametrize(
    ("when", "place"),
    [
        ("{Modality: {min: 1, most: 2}}", "when.Modality"),
        ("{modality: CR}", "when"),
        ("{any: {Modality: CR}}", "when.any"),
        ("{any: [{}]}", "when.any"),
        ("{Time: {from: 7}}", "when.Time"),
        ("{Time: {day: sat}}", "when.Time"),
        ("{PatientAge: {present: maybe}}", "when.PatientAge"),
    ],
)
def test_an_editor_finds_what_is_wrong(when: str, place: str) -> None:
    (fault,) = faults("routes.schema.json", f"routes: [{{name: a, when: {when}, decline: x}}]")
    assert fault.startswith(f"$.routes[0].{place}")
