"""The node's configuration: what ``node.yaml`` and ``routes.yaml`` may say."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydicom.datadict import tag_for_keyword

from mcads_node.errors import ConfigError, Problem
from mcads_node.result import ObjectKind
from mcads_node.yamlfile import read_document

#: what a rule may ask for besides DICOM keywords
FACTS_OF_THE_ASSOCIATION = ("Requestor", "CalledAETitle")


def _ae_title(value: str) -> str:
    # PS3.5 table 6.2-1: AE, 16 characters of the default repertoire without backslash and controls
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", value) or not value.strip():
        raise ValueError(f"an AE title has 1 to 16 ASCII characters and no backslash; found {value!r}")
    return value.strip()


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError(f"a name has up to 64 letters, digits, and _ . - and no spaces; found {value!r}")
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
Name = Annotated[str, AfterValidator(_name)]
Port = Annotated[int, Field(ge=0, le=65535)]
#: SOP classes of a Structured Report, by the name that a destination calls them
SRClass = Literal["comprehensive-3d", "enhanced", "comprehensive"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class NodeSection(_Section):
    """Who the node is on the network, and where its state lives."""

    ae_title: AETitle = "MCADS"
    host: str = "0.0.0.0"  # noqa: S104 - a node is there to be reached; who may send is the requestors' list
    port: Port = 11112
    data_dir: Path = Path("/var/lib/mcads-node")
    database: str | None = None
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 25

    @field_validator("database")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("postgresql+psycopg://"):
            raise ValueError("expected null (SQLite in data_dir) or postgresql+psycopg://…")
        return value


class RequestorSection(_Section):
    """A peer that may send: calling AE title and source address, both must fit."""

    ae_title: AETitle
    address: str

    @field_validator("address")
    @classmethod
    def _network(cls, value: str) -> str:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(
                f"expected an IP address or network such as 10.20.0.0/16; found {value!r}"
            ) from None
        return value


class CapturesSection(_Section):
    """How a destination wants what is drawn: summary pages and heatmaps."""

    modality: Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9_ ]{0,15}$")] = "OT"
    transfer_syntax: Literal["explicit", "rle"] = "explicit"
    max_side: Annotated[int, Field(ge=256, le=65535)] | None = None
    style: Literal["filled", "contour"] = "filled"


class SeriesSection(_Section):
    """Series Number and Description of one kind of object; what is left out is the node's own."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    description: str = ""

    @field_validator("description")
    @classmethod
    def _long_string(cls, value: str) -> str:
        # PS3.5 table 6.2-1: LO, 64 characters without backslash and controls
        if len(value) > 64 or "\\" in value or any(character < " " for character in value):
            raise ValueError("a description has up to 64 characters, no backslash, and is one line")
        return value.strip()


class DestinationSection(_Section):
    """A peer that results are sent to, which kinds it wants, and in which way each is made."""

    ae_title: AETitle
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    objects: tuple[ObjectKind, ...] = (ObjectKind.SR, ObjectKind.SUMMARY, ObjectKind.HEATMAP)
    sr_classes: tuple[SRClass, ...] = ("comprehensive-3d", "enhanced")
    captures: CapturesSection = CapturesSection()
    series: dict[ObjectKind, SeriesSection] = Field(default_factory=dict)

    @field_validator("objects", "sr_classes")
    @classmethod
    def _something_once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = ", ".join(ObjectKind if info.field_name == "objects" else get_args(SRClass))
        if not value:
            raise ValueError(f"expected at least one of {known}")
        if len(set(value)) < len(value):
            raise ValueError(f"expected each of {known} once at most")
        return value


class ReportSection(_Section):
    """What all reports have in common."""

    language: Literal["en", "lt"] = "en"


class AnalysisSection(_Section):
    """Which model reads, and with how much of the machine."""

    model: Name = "densenet121-res224-all"
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    memory_limit_mib: Annotated[int, Field(ge=1024)] = 4096
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    allow_demonstration_models: bool = False


class NodeConfig(_Section):
    """The whole of ``node.yaml``."""

    node: NodeSection = NodeSection()
    requestors: tuple[RequestorSection, ...] = ()
    destinations: dict[Name, DestinationSection] = Field(default_factory=dict)
    analysis: AnalysisSection = AnalysisSection()
    report: ReportSection = ReportSection()
    routes: Path = Path("routes.yaml")


class Condition(_Section):
    """What a rule asks of one attribute; every part that is given must hold.

    Written short as a value or a list (one of them), or as ``{not: …, min: …, max: …}``.
    """

    one_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _long_form(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return {"one_of": _words(written)}
        unknown = [key for key in written if key not in {"not", "min", "max"}]
        if unknown or not written:
            names = ", ".join(repr(key) for key in unknown) or "nothing"
            raise ValueError(f"expected a value, a list of values, or not / min / max; found {names}")
        long = {"none_of": _words(written["not"])} if "not" in written else {}
        return long | {
            full: _number(written[short])
            for short, full in (("min", "minimum"), ("max", "maximum"))
            if short in written
        }


def _words(written: Any) -> tuple[str, ...]:
    values = written if isinstance(written, list) else [written]
    if not values or any(isinstance(value, dict | list) or value is None for value in values):
        raise ValueError('expected a value or a list of values ("" stands for an absent one)')
    # a number stands for itself as it was written: 0123 and 1.10 are names of stations and versions
    return tuple(getattr(value, "text", str(value)) for value in values)


def _number(written: Any) -> float:
    if isinstance(written, bool) or not isinstance(written, int | float):
        raise ValueError(f"min and max take a number; found {written!r}")
    return float(written)


class AnalyseSection(_Section):
    """How the images of a route are analysed."""

    explain: tuple[Literal["grad-cam"], ...] = ("grad-cam",)
    explain_top_finding: bool = False
    thresholds: dict[str, Fraction] = Field(default_factory=dict)

    @field_validator("thresholds")
    @classmethod
    def _known_labels(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        known: Iterable[str] | None = (info.context or {}).get("labels")
        if known is not None:
            _all_known(value, known, "a finding of the model")
        return value


class CompleteWhen(_Section):
    """When a study is taken to be complete."""

    quiet_seconds: Annotated[float, Field(ge=0, le=86400)] = 10.0


class Rule(_Section):
    """One rule of ``routes.yaml``: what it matches, and what is done then."""

    name: Annotated[str, Field(min_length=1)]
    when: dict[str, Condition]
    analyse: AnalyseSection | None = None
    decline: str | None = None
    complete_when: CompleteWhen = CompleteWhen()
    send_to: tuple[Name, ...] = ()

    @field_validator("when")
    @classmethod
    def _known_keywords(cls, value: dict[str, Condition]) -> dict[str, Condition]:
        for keyword in value:
            if keyword not in FACTS_OF_THE_ASSOCIATION and tag_for_keyword(keyword) is None:
                raise ValueError(
                    f"{keyword!r} is neither a DICOM keyword nor one of {FACTS_OF_THE_ASSOCIATION}"
                )
        return value

    @field_validator("send_to")
    @classmethod
    def _known_destinations(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known: Iterable[str] | None = (info.context or {}).get("destinations")
        if known is not None:
            _all_known(value, known, "one of the destinations in node.yaml")
        return value

    @model_validator(mode="after")
    def _does_one_thing(self) -> Rule:
        if (self.analyse is None) == (self.decline is None):
            raise ValueError(f"rule {self.name!r} needs either analyse or decline, and not both")
        if self.analyse is not None and not self.send_to:
            raise ValueError(f"rule {self.name!r} analyses, so send_to must name a destination")
        return self


def _all_known(names: Iterable[str], known: Iterable[str], what: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        choices = ", ".join(sorted(known)) or "none"
        raise ValueError(f"{', '.join(map(repr, unknown))} is not {what} ({choices})")


class RoutesConfig(_Section):
    """The whole of ``routes.yaml``: the first rule that matches is used."""

    routes: tuple[Rule, ...]

    @field_validator("routes")
    @classmethod
    def _distinct_names(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if not value:
            raise ValueError("expected at least one rule; without one nothing would ever be analysed")
        names = [rule.name for rule in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules need different names; more than once: {', '.join(twice)}")
        return value


class Configuration(_Section):
    """Everything the administrator has said, checked."""

    node: NodeConfig
    rules: tuple[Rule, ...]


def load_configuration(path: Path, labels_of: Mapping[str, Iterable[str]]) -> Configuration:
    """Read ``node.yaml`` at `path` and the routes it names.

    Parameters
    ----------
    path
        The node's YAML file; a relative ``routes`` is looked for beside it.
    labels_of
        Labels of each model that is installed, by its name.

    Raises
    ------
    ConfigError
        With all problems of both files.
    """
    problems: list[Problem] = []
    document = read_document(path)
    try:
        node = document.fit(NodeConfig)
    except ConfigError as error:
        problems += error.problems
        # go on with what can be known, so that the problems of both files are told together
        node = NodeConfig()
    if node.analysis.model not in labels_of:
        message = f"{node.analysis.model!r} is not a model here; there are: {', '.join(sorted(labels_of))}"
        line = document.lines.get(("analysis", "model"))
        problems.append(Problem(file=str(path), line=line, key="analysis.model", message=message))
    rules: tuple[Rule, ...] = ()
    try:
        destinations = _keys(document.plain, "destinations")
        rules = load_rules(path.parent / node.routes, destinations, labels_of.get(node.analysis.model))
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Configuration(node=node, rules=rules)


def load_rules(
    path: Path, destinations: Iterable[str] | None, labels: Iterable[str] | None
) -> tuple[Rule, ...]:
    """Read ``routes.yaml`` at `path`.

    Parameters
    ----------
    path
        The file.
    destinations, labels
        What rules may name; None: anything.

    Raises
    ------
    ConfigError
        With all problems.
    """
    context = {"destinations": destinations, "labels": labels}
    return read_document(path).fit(RoutesConfig, context).routes


def _keys(plain: Any, section: str) -> tuple[str, ...]:
    found = plain.get(section) if isinstance(plain, dict) else None
    return tuple(found) if isinstance(found, dict) else ()
