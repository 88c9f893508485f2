"""How much of the machine analysis takes: configured, tuned, or one worker a processor."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from mcads_node.cli import app, running
from mcads_node.compute import Compute
from mcads_node.config import TUNING, AnalysisSection, Configuration, NodeConfig, NodeSection, RuleBook
from mcads_node.instance import Declined
from mcads_node.service import Share, sharing, tuning_of
from mcads_node.verbs import tuning
from mcads_node.verbs.tuning import shares
from mcads_node.yamlfile import write_yaml
from tests.model_samples import DEMONSTRATION


def node_of(folder: Path, **analysis: Any) -> NodeConfig:
    section = {"model": DEMONSTRATION, "allow_demonstration_models": True, **analysis}
    return NodeConfig(node=NodeSection(data_dir=folder), analysis=AnalysisSection.model_validate(section))


def write_tuning(folder: Path, **more: Any) -> None:
    told = {"processors": 6, "model": DEMONSTRATION, "workers": 3, "threads": 2, "engine": "torch"}
    write_yaml(
        folder / TUNING, {**told, "measured": "2026-01-02T03:04:05Z", "images_per_second": 7.5, **more}
    )


@pytest.fixture(autouse=True)
def six_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "processors", lambda: 6)
    # a log that goes to what the runner closes afterwards would be an error of a later test
    monkeypatch.setattr(running, "configure_logs", lambda: None)


@pytest.mark.parametrize(
    ("analysis", "count", "expected"),
    [
        ({"engine": "torch"}, 1, [(1, 1)]),
        ({"engine": "torch"}, 2, [(1, 1), (1, 2), (2, 1)]),
        ({"engine": "openvino"}, 6, [(1, 1), (1, 6), (2, 1), (2, 3), (4, 1), (6, 1)]),
        ({"engine": "torch", "workers": 3}, 6, [(3, 1), (3, 2)]),
        ({"engine": "torch", "threads": 2}, 2, [(1, 2), (2, 2)]),
        ({"engine": "torch", "workers": 8, "threads": 1}, 2, [(8, 1)]),
    ],
)
def test_shares_that_are_worth_measuring(
    tmp_path: Path, analysis: dict[str, Any], count: int, expected: list[tuple[int, int]]
) -> None:
    found = list(shares(node_of(tmp_path, **analysis), count))
    assert [(each.workers, each.threads) for each in found] == expected
    assert {each.engine for each in found} == {analysis["engine"]}


def test_auto_measures_both_engines(tmp_path: Path) -> None:
    assert [each.engine for each in shares(node_of(tmp_path), 1)] == ["auto", "torch"]


@pytest.mark.parametrize(
    ("analysis", "tuned", "expected"),
    [
        ({}, False, (6, 1, "auto")),
        ({}, True, (3, 2, "torch")),
        ({"workers": 5}, True, (5, 2, "torch")),
        ({"threads": 4, "engine": "auto"}, True, (3, 4, "torch")),
        ({"workers": 1, "threads": 1, "engine": "openvino"}, True, (1, 1, "openvino")),
    ],
)
def test_what_is_configured_goes_before_what_was_tuned(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    analysis: dict[str, Any],
    tuned: bool,
    expected: tuple[int, int, str],
) -> None:
    asked: list[Share] = []
    monkeypatch.setattr(sharing, "compute_with", lambda _configuration, share, _folders: asked.append(share))
    if tuned:
        write_tuning(tmp_path)
    sharing.compute_of(configuration_of(node_of(tmp_path, **analysis)))
    assert [(each.workers, each.threads, each.engine) for each in asked] == [expected]


def configuration_of(node: NodeConfig) -> Configuration:
    return Configuration(node=node, book=RuleBook())


@pytest.mark.parametrize("more", [{"processors": 4}, {"model": "another"}, {"workers": 0}, {"surplus": 1}])
def test_a_tuning_of_another_machine_or_model_or_a_broken_one_is_passed_over(
    tmp_path: Path, more: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    write_tuning(tmp_path, **more)
    assert tuning_of(node_of(tmp_path)) is None
    # wherever another test has sent the log
    assert "tuning." in "".join(capfd.readouterr())
    write_tuning(tmp_path)
    assert tuning_of(node_of(tmp_path)) is not None


class FakeCompute:
    """Workers that are at once done; remembers what was asked of it."""

    def __init__(self, share: Share) -> None:
        self.workers = share.workers
        self.stopped = 0

    def start(self) -> None:
        pass

    def analyse(self, _request: object) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(object())
        return future

    def stop(self, **_how: float) -> None:
        self.stopped += 1


@pytest.fixture
def config(tmp_path: Path) -> Path:
    analysis = {"model": DEMONSTRATION, "allow_demonstration_models": True, "engine": "torch"}
    write_yaml(tmp_path / "node.yaml", {"node": {"data_dir": str(tmp_path / "data")}, "analysis": analysis})
    rule = {"name": "none", "when": {}, "decline": "nothing"}
    write_yaml(tmp_path / "routes.yaml", {"routes": [rule]})
    return tmp_path / "node.yaml"


def test_the_verb_writes_down_what_a_node_goes_by(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeCompute] = []

    def fake(_configuration: Configuration, share: Share) -> Compute:
        made.append(FakeCompute(share))
        return cast(Compute, made[-1])

    monkeypatch.setattr(tuning, "compute_with", fake)
    monkeypatch.setattr(tuning, "processors", lambda: 6)
    done = CliRunner().invoke(app, ["tune", "--config", str(config), "--seconds", "0.1", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert len(found) == len(made) == 6
    assert {each.stopped for each in made} == {1}
    told = tuning_of(node_of(config.parent / "data"))
    assert told is not None
    assert (told.workers, told.threads) == (found[0]["workers"], found[0]["threads"])
    assert found[0]["images_per_second"] > 0


def test_a_phantom_that_is_declined_ends_it_and_its_workers(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = FakeCompute(Share(workers=1, threads=1, engine="torch"))
    future: Future[Any] = Future()
    future.set_result(Declined(reason="no body part"))
    monkeypatch.setattr(compute, "analyse", lambda _request: future)
    monkeypatch.setattr(tuning, "compute_with", lambda _configuration, _share: compute)
    done = CliRunner().invoke(app, ["tune", "--config", str(config)])
    assert done.exit_code != 0
    assert compute.stopped == 1
    assert not (config.parent / "data" / TUNING).exists()
