"""JSON Schemas (draft 2020-12) of the files, for editors: what the models take, in the forms it is written.

They know the keys, not what the node alone can know: which destinations there are, what the models' labels
are, which words are DICOM keywords.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydicom.datadict import dictionary_description, tag_for_keyword

from mcads_node.config.attributes import Fact
from mcads_node.config.conditions import DEEPEST, GROUPS, WHEN_SCHEMA, WORDS_SCHEMA, Condition
from mcads_node.config.hours import Hours
from mcads_node.config.node import NodeConfig
from mcads_node.config.rules import RoutesConfig
from mcads_node.config.triage import TriageRules

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/"

#: attributes that editors offer; any other may be asked of as well
_OFFERED = """
AccessionNumber BodyPartExamined BurnedInAnnotation CodeValue DeviceSerialNumber ImageType InstitutionName
InstitutionalDepartmentName KVP Laterality Manufacturer ManufacturerModelName Modality PatientAge PatientID
PatientOrientation PatientSex PhotometricInterpretation PresentationIntentType ProtocolName
RequestedProcedureDescription SOPClassUID SeriesDescription StationName StudyDate StudyDescription StudyTime
ViewPosition
""".split()
_NAME = r"([A-Z][A-Za-z0-9]*|\(?[0-9A-Fa-f]{4}, ?[0-9A-Fa-f]{4}\)?)"


def schemas() -> dict[str, dict[str, Any]]:
    """Give the schema of each file, by the name that it is shipped under."""
    return {
        "node.schema.json": _schema(NodeConfig, "node.yaml of an MCADS node"),
        "routes.schema.json": _routes(),
        "triage.schema.json": _schema(TriageRules, "triage.yaml of an MCADS node"),
    }


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    return {"$schema": _DRAFT, **model.model_json_schema(mode="validation"), "title": title}


def _routes() -> dict[str, Any]:
    schema = _schema(RoutesConfig, "routes.yaml of an MCADS node")
    definitions = schema["$defs"]
    for name in ("Rule", "ThresholdSet"):
        properties = definitions[name]["properties"]
        assert properties["when"].items() >= WHEN_SCHEMA.items()  # noqa: S101 - the place that is filled in here
        properties["when"] = {"$ref": f"{_REF}When"}
    hours = definitions["Rule"]["properties"]["schedule"]
    # one, or a list
    definitions["Rule"]["properties"]["schedule"] = {"anyOf": [hours["items"], hours]}
    definitions |= {
        "When": _when(),
        "Condition": {
            "title": "Condition",
            "description": "a value, a list of values, or a mapping of operators",
            "anyOf": [*WORDS_SCHEMA["anyOf"], Condition.model_json_schema(mode="validation")],
        },
        "Hours": Hours.model_json_schema(mode="validation"),
        "Group": {
            "title": "Group",
            "description": f"conditions side by side; nested at most {DEEPEST} deep",
            "type": "array",
            "minItems": 1,
            "items": {"allOf": [{"$ref": f"{_REF}When"}, {"minProperties": 1}]},
        },
    }
    return schema


def _when() -> dict[str, Any]:
    condition = {"$ref": f"{_REF}Condition"}
    # names to offer; what may stand under them the pattern says
    offered = {keyword: {"description": _described(keyword)} for keyword in [*_OFFERED, *Fact]}
    return {
        "title": "When",
        "description": "all of these must hold; {} always holds",
        "type": "object",
        "properties": {
            **offered,
            "Time": {"$ref": f"{_REF}Hours"},
            **{how: {"$ref": f"{_REF}Group"} for how in GROUPS},
        },
        "patternProperties": {rf"^(?!Time$){_NAME}(\.{_NAME})*$": condition},
        "additionalProperties": False,
    }


def _described(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    if tag is None:
        return "what the node knows of the image; see docs/operations.md"
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
