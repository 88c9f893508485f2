"""Coded concepts of the reports: TID 1500's, and the findings' from ``findings.csv`` with their sources."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from pydicom.sr.coding import Code

from mcads_node.errors import ReportImpossible
from mcads_node.finding import Presence
from mcads_node.instance import Verdict

#: designator of the project's own codes (PS3.16 section 8.2: private designators begin with 99)
PRIVATE_SCHEME: Final = "99MCADS"

IMAGING_PROCEDURE: Final = Code("363679005", "SCT", "Imaging procedure")
LANGUAGE: Final = Code("121049", "DCM", "Language of Content Item and Descendants")
OBSERVER_TYPE: Final = Code("121005", "DCM", "Observer Type")
DEVICE_UID: Final = Code("121012", "DCM", "Device Observer UID")
DEVICE_NAME: Final = Code("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER: Final = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL_NAME: Final = Code("121015", "DCM", "Device Observer Model Name")
DEVICE: Final = Code("121007", "DCM", "Device")
ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")
QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")
COMMENT: Final = Code("121106", "DCM", "Comment")
#: a score that was calibrated on nothing: never to be read as a probability
CERTAINTY_OF_FINDING: Final = Code("111012", "DCM", "Certainty of Finding")
#: a score calibrated on a documented set
PROBABILITY: Final = Code("122157", "DCM", "Probability")
THRESHOLD: Final = Code("122411", "DCM", "Threshold Value")
#: no verified code was found: LOINC's and DICOM's ratios of heart and thorax (CID 12279) are of areas and
#: circumferences, by ultrasound
CARDIOTHORACIC_RATIO: Final = Code("CT_RATIO", PRIVATE_SCHEME, "Cardiothoracic ratio")
RATIO: Final = Code("{ratio}", "UCUM", "ratio")
HEART: Final = Code("80891009", "SCT", "Heart")
PERCENT: Final = Code("%", "UCUM", "%")
NO_UNITS: Final = Code("1", "UCUM", "no units")
PRESENCE: Final = Code("705057003", "SCT", "Presence")
MEASUREMENT_GROUP: Final = Code("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER: Final = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID: Final = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING_SITE: Final = Code("363698007", "SCT", "Finding Site")
ALGORITHM_NAME: Final = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION: Final = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS: Final = Code("111002", "DCM", "Algorithm Parameters")
ALGORITHM_FAMILY: Final = Code("111000", "DCM", "Algorithm Family")
SOURCE_OF_MEASUREMENT: Final = Code("121112", "DCM", "Source of Measurement")
IMAGE_QUALITY: Final = Code("111101", "DCM", "Image Quality")
QUALITY_ASSESSMENT: Final = Code("111050", "DCM", "Quality Assessment")
#: "Triage index (assessment scale)"
TRIAGE_INDEX: Final = Code("273887006", "SCT", "Triage index")

#: CID 240
PRESENCES: Final[Mapping[Presence, Code]] = MappingProxyType(
    {
        Presence.PRESENT: Code("52101004", "SCT", "Present"),
        Presence.ABSENT: Code("272519000", "SCT", "Absent"),
        Presence.UNDETERMINED: Code("373068000", "SCT", "Undetermined"),
    }
)

#: CID 6044; of the input for this model, not of the image for a radiologist: comments name the check
QUALITIES: Final[Mapping[Verdict, Code]] = MappingProxyType(
    {
        Verdict.PASS: Code("111237", "DCM", "Usable - Meets the quality control standard"),
        Verdict.WARN: Code("111236", "DCM", "Usable - Does not meet the quality control standard"),
        Verdict.UNDETERMINED: Code("111235", "DCM", "Unusable - Quality renders image unusable"),
    }
)

_LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "lt": "Lithuanian"})


def language(tag: str) -> Code:
    """Return the code of a language, by its RFC 5646 tag; its meaning is the tag where no name is known."""
    return Code(tag, "RFC5646", _LANGUAGES.get(tag, tag))


@dataclass(frozen=True, kw_only=True)
class FindingCode:
    """How one label of a model is coded."""

    #: the model's own label
    label: str
    #: value of Finding (121071, DCM)
    code: Code
    #: value of Finding Site (363698007, SCT), where the finding does not imply it
    site: Code | None
    #: where the code was found
    source: str


def finding_code(label: str) -> FindingCode:
    """Return the codes of a model's label.

    Raises
    ------
    ReportImpossible
        The label is not in ``findings.csv``.
    """
    try:
        return finding_codes()[label]
    except KeyError:
        raise ReportImpossible(f"no code for the model's label {label!r} in report/findings.csv") from None


@cache
def finding_codes() -> Mapping[str, FindingCode]:
    """Return the codes of all known labels, by label."""
    with (files(__package__) / "findings.csv").open(encoding="utf-8") as table:
        rows = [_from_row(row) for row in csv.DictReader(table)]
    return MappingProxyType({row.label: row for row in rows})


def _from_row(row: Mapping[str, str]) -> FindingCode:
    site = Code(row["site_code"], row["site_scheme"], row["site_meaning"]) if row["site_code"] else None
    code = Code(row["code"], row["scheme"], row["meaning"])
    return FindingCode(label=row["label"], code=code, site=site, source=row["source"])
