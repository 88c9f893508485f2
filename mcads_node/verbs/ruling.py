"""The verbs that change rules: check them, have the node use them, and go back to those it used before."""

from __future__ import annotations

import os
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcads_node.config import NodeConfig, RuleBook, known_to, load_rules, parse_rules
from mcads_node.errors import ConfigError, NodeError, PermanentError, Problem, TransientError
from mcads_node.service import Role, holder_of, labels_of
from mcads_node.verbs.overview import state_of
from mcads_node.verbs.person import administrator
from mcads_node.workitems import Answered, RulesVersion, Workitems
from mcads_node.yamlfile import load_yaml

#: how long the node may take to read its rules; it may be waiting for the database
_PATIENCE_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.1


def read_rules(config: Path, file: Path | None) -> RuleBook:
    """Read the rules of a node, or another file as if it were theirs.

    Parameters
    ----------
    config
        ``node.yaml``, for destinations and model.
    file
        None: the file that ``node.yaml`` names.

    Raises
    ------
    ConfigError
        With all that is wrong with the rules; or ``node.yaml`` is wrong.
    """
    node = load_yaml(config, NodeConfig)
    path = file or routes_file(config, node)
    return load_rules(path, known_to(node, labels_of()))


def routes_file(config: Path, node: NodeConfig) -> Path:
    """Where a node's rules are."""
    return config.parent / node.routes


def describe_rules(book: RuleBook, file: Path) -> dict[str, Any]:
    """Tell what a file of rules says, and what of it may not be meant."""
    return {
        "file": str(file),
        "digest": book.digest,
        "rules": [
            {
                "name": rule.name,
                "analyses": rule.analyse is not None,
                "decline": rule.decline,
                "send_to": list(rule.send_to),
                "forward": list(rule.forward),
                "priority": rule.urgency.word,
                "shadow": rule.shadow,
            }
            for rule in book.rules
        ],
        "cautions": [problem_json(caution) for caution in book.cautions],
    }


def problem_json(problem: Problem) -> dict[str, Any]:
    """Give a problem as plain values."""
    return {"file": problem.file, "line": problem.line, "key": problem.key, "message": problem.message}


def reload_rules(config: Path) -> str:
    """Have the node that runs read its rules again, and wait until it has.

    Returns
    -------
    str
        Digest of what it uses now.

    Raises
    ------
    ConfigError
        The rules are wrong; the node goes on using those that it has.
    TransientError
        It did not answer.
    NodeError
        No node runs here, or it may not be told.
    """
    node = load_yaml(config, NodeConfig)
    # what is wrong with it is told here at once; the node, which may run with an older node.yaml, decides
    read_rules(config, None)
    process = holder_of(node, Role.ANALYSE)
    if process is None:
        raise NodeError(
            f"no node that analyses runs here with {node.node.data_dir} (node.data_dir); "
            "its rules are read when it starts"
        )
    workitems = state_of(config).workitems
    try:
        asked = workitems.ask_for_rules(administrator())
        _tell(process)
        answer = _wait(workitems, asked, process)
    finally:
        workitems.close()
    if not answer.accepted:
        message = f"the node keeps the rules that it has: {answer.said}"
        file = str(routes_file(config, node))
        raise ConfigError([Problem(file=file, line=None, key="", message=message)])
    # who takes objects in decides by the rules too: what is urgent, and what is sent on
    for other in {holder_of(node, role) for role in (Role.RECEIVE, Role.TEND)} - {process}:
        if other is not None:
            _tell(other)
    return answer.said


def _tell(process: int) -> None:
    try:
        os.kill(process, signal.SIGHUP)
    except PermissionError as error:
        raise NodeError(
            f"process {process} may not be told: run this as the node's user, or as root"
        ) from error
    except ProcessLookupError as error:
        raise TransientError(f"process {process}, which was the node, has ended") from error


def _wait(workitems: Workitems, asked: int, process: int) -> Answered:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        answer = workitems.reload_ended(asked)
        if answer is not None:
            return answer
        time.sleep(_LOOK_EVERY_SECONDS)
    raise TransientError(f"the node (process {process}) did not answer within {_PATIENCE_SECONDS:.0f} s")


def list_versions(config: Path, limit: int) -> list[dict[str, Any]]:
    """Tell of the versions of the rules that were used, the present one first."""
    workitems = state_of(config).workitems
    try:
        return [version_json(version) for version in workitems.rules_versions(limit)]
    finally:
        workitems.close()


def version_json(version: RulesVersion) -> dict[str, Any]:
    """Give a version as plain values, without its text."""
    return {
        "number": version.number,
        "digest": version.digest,
        "accepted_at": version.accepted_at.isoformat(),
        "who": version.who,
        "why": version.why,
    }


def version_of(config: Path, digest: str) -> RulesVersion:
    """Give the version whose digest begins so; PermanentError where there is none."""
    workitems = state_of(config).workitems
    try:
        return workitems.rules_version(digest)
    finally:
        workitems.close()


def roll_back(config: Path, digest: str | None) -> dict[str, Any]:
    """Put an earlier version of the rules in the place of the file, keep what was there, and reload.

    Parameters
    ----------
    config
        ``node.yaml``.
    digest
        Or its beginning; None: the version that was used before the present one.

    Raises
    ------
    ConfigError
        That version does not fit the destinations and the model of today; nothing was changed.
    PermanentError
        There is no such version.
    """
    version = _before(config) if digest is None else version_of(config, digest)
    node = load_yaml(config, NodeConfig)
    path = routes_file(config, node)
    parse_rules(version.text, path, known_to(node, labels_of()))
    kept = replace_file(path, version.text)
    runs = holder_of(node, Role.ANALYSE) is not None
    return {
        "digest": reload_rules(config) if runs else version.digest,
        "file": str(path),
        "kept": None if kept is None else str(kept),
        "used": runs,
    }


def _before(config: Path) -> RulesVersion:
    workitems = state_of(config).workitems
    try:
        versions = workitems.rules_versions(2)
    finally:
        workitems.close()
    if len(versions) < 2:
        raise PermanentError("no other version of the rules was used before the present one")
    return versions[1]


def replace_file(path: Path, text: str) -> Path | None:
    """Put a text in the place of a file at once, with its owner and mode; gives a copy of what was there.

    Raises
    ------
    NodeError
        It cannot be written, and was not changed.
    """
    target = path.resolve()
    beside = target.with_name(f".{target.name}.new")
    kept = target.with_name(f"{target.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    try:
        there = target.exists()
        if there:
            shutil.copy2(target, kept)
        with beside.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if there:
            told = target.stat()
            beside.chmod(told.st_mode)
            for each in (beside, kept):
                os.chown(each, told.st_uid, told.st_gid)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise NodeError(
            f"{target} cannot be replaced: {error.strerror}; run this as who may write to its folder"
        ) from error
    return kept if there else None
