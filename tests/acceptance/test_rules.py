"""A real node whose rules change while images flow: each image is treated by one version as a whole."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mcads_node.verbs.ruling import list_versions, reload_rules, version_of
from mcads_node.yamlfile import write_yaml
from tests.acceptance.node import ServedNode, served, wait_for
from tests.attack.radiographs import Modality, radiographs
from tests.peers import free_port

BROKEN = "routes: [{name: a, when: {ModalityX: CR}, decline: x}]\n"


def rules(number: int) -> list[dict[str, Any]]:
    """A version that says in every reason which one it is."""
    return [
        {"name": "few", "when": {"SOPInstanceUID": {"matches": "[0-4]$"}}, "decline": f"v{number} few"},
        {"name": "rest", "when": {}, "decline": f"v{number} rest"},
    ]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    folder = tmp_path_factory.mktemp("rules")
    with served(folder, {"ae_title": "AWAY", "port": free_port()}, rules=rules(0)) as running:
        yield running


def write(node: ServedNode, number: int) -> None:
    write_yaml(node.folder / "routes.yaml", {"routes": rules(number)})


def treated(folder: Path) -> list[tuple[str, str, str]]:
    """State, reason and digest of every instance."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "node.db", timeout=30)) as database:
        return database.execute("SELECT state, reason, rules_digest FROM instances").fetchall()


def has_kept(node: ServedNode, times: int) -> bool:
    return node.log.read_text().count("routes.kept") == times


def has_used(node: ServedNode, digest: str) -> bool:
    return digest in {each[2] for each in treated(node.folder)}


def test_rules_change_under_load(node: ServedNode) -> None:
    process = node.process
    assert process is not None
    modality = Modality(node.port, radiographs(), pause=0.01)
    modality.start()
    accepted = [list_versions(node.config, 1)[0]["digest"]]
    for number in range(1, 9):
        write(node, number)
        accepted.append(reload_rules(node.config))
        (node.folder / "routes.yaml").write_text(BROKEN, encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        wait_for("rules kept", partial(has_kept, node, number))
        wait_for("an image that is treated by them", partial(has_used, node, accepted[-1]))
    modality.stop()
    found = wait_for(
        "all to be treated",
        lambda: (
            rows
            if len(rows := treated(node.folder)) == len(modality.acknowledged)
            and all(state == "DECLINED" for state, _, _ in rows)
            else None
        ),
    )
    said = {digest: f"v{number} " for number, digest in enumerate(accepted)}
    assert len(said) == 9
    for _, reason, digest in found:
        assert reason.startswith(said[digest])
    assert [each["digest"] for each in reversed(list_versions(node.config, 50))] == accepted
    assert "did you mean Modality" in node.log.read_text()


def test_the_verbs_of_a_node_that_runs(node: ServedNode) -> None:
    write(node, 20)
    first = reload_rules(node.config)
    write(node, 21)
    second = node.json("routes", "reload")["digest"]
    assert version_of(node.config, second).who
    (node.folder / "routes.yaml").write_text(BROKEN, encoding="utf-8")
    node.verb("routes", "reload", code=78)
    assert list_versions(node.config, 1)[0]["digest"] == second
    done = node.json("routes", "rollback")
    assert (done["digest"], done["used"]) == (first, True)
    assert Path(done["kept"]).read_text(encoding="utf-8") == BROKEN
    last, before = list_versions(node.config, 2)
    assert (last["digest"], last["why"], before["digest"]) == (first, "reload", second)
