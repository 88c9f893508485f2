"""Both files of the configuration, read and held against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcads_node.config.crossing import Known, cautions, faults
from mcads_node.config.node import NodeConfig
from mcads_node.config.rules import RoutesConfig, Rule
from mcads_node.config.tls import validation_context
from mcads_node.config.vocabulary import Section
from mcads_node.errors import ConfigError, Problem
from mcads_node.yamlfile import read_document


class Configuration(Section):
    """Everything the administrator has said, checked."""

    node: NodeConfig
    rules: tuple[Rule, ...]
    #: of the rules: what may be meant, and probably is not; a line each
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoadedRules:
    """The rules of a ``routes.yaml``, checked."""

    rules: tuple[Rule, ...]
    #: what may be meant, and probably is not
    cautions: tuple[Problem, ...] = ()


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
        node = document.fit(NodeConfig, validation_context(document.plain))
    except ConfigError as error:
        problems += error.problems
        # go on with what can be known, so that the problems of both files are told together
        node = NodeConfig()
    if node.analysis.model not in labels_of:
        message = f"{node.analysis.model!r} is not a model here; there are: {', '.join(sorted(labels_of))}"
        line = document.lines.get(("analysis", "model"))
        problems.append(Problem(file=str(path), line=line, key="analysis.model", message=message))
    loaded = LoadedRules(rules=())
    try:
        known = replace(known_to(node, labels_of), destinations=_keys(document.plain, "destinations"))
        loaded = load_rules(path.parent / node.routes, known)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Configuration(node=node, rules=loaded.rules, cautions=tuple(map(str, loaded.cautions)))


def known_to(node: NodeConfig, labels_of: Mapping[str, Iterable[str]] | None) -> Known:
    """Say what the rules of a node may name."""
    return Known(
        destinations=tuple(node.destinations),
        objects={name: each.objects for name, each in node.destinations.items()},
        labels_of=labels_of,
        model=node.analysis.model,
    )


def load_rules(path: Path, known: Known) -> LoadedRules:
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
    document = read_document(path)
    routes = document.fit(RoutesConfig, {"destinations": known.destinations})
    found = faults(document, routes, known)
    if found:
        raise ConfigError(found)
    return LoadedRules(rules=routes.routes, cautions=tuple(cautions(document, routes, known)))


def _keys(plain: Any, section: str) -> tuple[str, ...]:
    found = plain.get(section) if isinstance(plain, dict) else None
    return tuple(found) if isinstance(found, dict) else ()
