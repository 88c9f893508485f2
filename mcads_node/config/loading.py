"""Both files of the configuration, read and held against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mcads_node.config.node import NodeConfig
from mcads_node.config.rules import RoutesConfig, Rule
from mcads_node.config.sources import SOURCES
from mcads_node.config.tls import validation_context
from mcads_node.config.vocabulary import Section
from mcads_node.errors import ConfigError, Problem
from mcads_node.yamlfile import read_document


class Configuration(Section):
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
        context = {**validation_context(document.plain), SOURCES: _keys(document.plain, "sources")}
        node = document.fit(NodeConfig, context)
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
