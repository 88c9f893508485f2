"""The files of the configuration, read and held against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mcads_node.config.cautions import cautions
from mcads_node.config.crossing import Known, faults, overlaps
from mcads_node.config.node import NodeConfig
from mcads_node.config.rules import RoutesConfig, Rule
from mcads_node.config.sources import SOURCES
from mcads_node.config.tls import validation_context
from mcads_node.config.triage import TriageRules, load_triage
from mcads_node.config.vocabulary import Section
from mcads_node.errors import ConfigError, Problem
from mcads_node.suggestion import did_you_mean
from mcads_node.yamlfile import parse_document, read_document, read_text


@dataclass(frozen=True, kw_only=True)
class RuleBook:
    """One version of ``routes.yaml``, as it was accepted."""

    rules: tuple[Rule, ...] = ()
    #: the file's text, with its comments
    text: str = ""
    #: what an administrator may not have meant
    cautions: tuple[Problem, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text as UTF-8, hex: the name of this version."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Configuration(Section):
    """Everything the administrator has said, checked."""

    node: NodeConfig
    book: RuleBook
    #: None: images get no triage level
    triage: TriageRules | None = None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of ``routes.yaml``, in their order."""
        return self.book.rules


def load_configuration(path: Path, labels_of: Mapping[str, Iterable[str]]) -> Configuration:
    """Read ``node.yaml`` at `path`, and the routes and the rules of triage that it names.

    Parameters
    ----------
    path
        The node's YAML file; a relative ``routes`` or ``triage`` is looked for beside it.
    labels_of
        Labels of each model that is installed, by its name.

    Raises
    ------
    ConfigError
        With all problems of all files.
    """
    problems: list[Problem] = []
    document = read_document(path)
    try:
        context = {**validation_context(document.plain), SOURCES: _keys(document.plain, "sources")}
        node = document.fit(NodeConfig, context)
    except ConfigError as error:
        problems += error.problems
        # go on with what can be known, so that the problems of all files are told together
        node = NodeConfig()
    if node.analysis.compute == "ray" and node.ray is None:
        line, message = document.lines.get(("analysis", "compute")), "ray takes a section ray with an address"
        problems.append(Problem(file=str(path), line=line, key="analysis.compute", message=message))
    model = node.analysis.model
    if model not in labels_of:
        there = f"there are: {', '.join(sorted(labels_of))}"
        message = f"{model!r} is not a model here{did_you_mean(model, labels_of)}; {there}"
        line = document.lines.get(("analysis", "model"))
        problems.append(Problem(file=str(path), line=line, key="analysis.model", message=message))
    book = RuleBook()
    try:
        known = replace(known_to(node, labels_of), destinations=_keys(document.plain, "destinations"))
        book = load_rules(path.parent / node.routes, known)
    except ConfigError as error:
        problems += error.problems
    triage = None
    try:
        triage = _triage_beside(path, node, labels_of)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Configuration(node=node, book=book, triage=triage)


def _triage_beside(
    path: Path, node: NodeConfig, labels_of: Mapping[str, Iterable[str]]
) -> TriageRules | None:
    if node.triage is None:
        return None
    # of any model: one that lacks a label has nothing to say of it, which is no fault of the rules
    labels = sorted({label for labels in labels_of.values() for label in labels})
    return load_triage(path.parent / node.triage, labels)


def known_to(node: NodeConfig, labels_of: Mapping[str, Iterable[str]] | None) -> Known:
    """Say what the rules of a node may name."""
    return Known(
        destinations=tuple(node.destinations),
        objects={name: each.objects for name, each in node.destinations.items()},
        labels_of=labels_of,
        model=node.analysis.model,
    )


def load_rules(path: Path, known: Known) -> RuleBook:
    """Read ``routes.yaml`` at `path`.

    Parameters
    ----------
    path
        The file.
    known
        What rules may name.

    Raises
    ------
    ConfigError
        With all problems.
    """
    return parse_rules(read_text(path), path, known)


def parse_rules(text: str, path: Path, known: Known) -> RuleBook:
    """Read rules from `text`, which stands, or is to stand, at `path`; otherwise as `load_rules`."""
    document = parse_document(text, path)
    routes = document.fit(RoutesConfig, {"destinations": known.destinations})
    found = faults(document, routes, known)
    if found:
        raise ConfigError(found)
    doubts = (*cautions(document, routes.routes, known.destinations), *overlaps(document, routes, known))
    return RuleBook(rules=routes.routes, text=text, cautions=doubts)


def _keys(plain: Any, section: str) -> tuple[str, ...]:
    found = plain.get(section) if isinstance(plain, dict) else None
    return tuple(found) if isinstance(found, dict) else ()
