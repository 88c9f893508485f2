"""The attacks, shortly; `scripts/attack` runs them at length."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.fuzzing import fuzz
from tests.attack.killing import kill_rounds
from tests.attack.outage import outage
from tests.attack.soaking import soak

# nodes die here with connections open, and pynetdicom in this process leaves their sockets to the collector
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Leave no such socket to the tests after this one."""
    yield
    gc.collect()


def quiet(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


def test_what_is_acknowledged_survives_kills_and_a_hostile_destination(tmp_path: Path) -> None:
    killed = kill_rounds(tmp_path / "kill", rounds=4, seed=1, tell=quiet, most_seconds=10)
    assert killed.account.lost == {}
    assert killed.account.duplicates == ()
    assert killed.account.accounted == killed.account.acknowledged > 0
    assert killed.rounds > 0
    assert killed.damage == []
    assert killed.alive


def test_what_gathers_for_a_destination_that_is_down_comes_when_it_is_back(tmp_path: Path) -> None:
    found = outage(tmp_path / "outage", objects=60, tell=quiet)
    assert (found.objects, found.lost, found.duplicates, found.repeated) == (60, 0, (), 0)
    assert found.damage == []
    assert found.alive


def test_wrong_associations_leave_nothing_behind(tmp_path: Path) -> None:
    fuzzed = fuzz(tmp_path / "fuzz", cases=200, seed=1, tell=quiet, most_seconds=20)
    assert fuzzed.alive
    assert fuzzed.cases >= 100
    # many got as far as an association, and many did not
    assert fuzzed.answers["A-ASSOCIATE-AC"] > 20
    assert fuzzed.answers["A-ABORT"] > 5
    assert fuzzed.lost == []
    assert fuzzed.damage == []
    assert fuzzed.after.threads - fuzzed.before.threads <= 2
    assert fuzzed.after.descriptors - fuzzed.before.descriptors <= 4
    assert fuzzed.after.mebibytes - fuzzed.before.mebibytes <= 24
    # what came is told in our own words: none of it is quoted, and nothing was unforeseen
    lines = [json.loads(line) for line in (tmp_path / "fuzz" / "node.log").read_text().splitlines()]
    assert {line["logger"].split(".")[0] for line in lines} == {"mcads_node"}
    assert not [line for line in lines if line["level"] == "critical"]


def test_a_short_soak_replaces_no_process(tmp_path: Path) -> None:
    soaked = soak(tmp_path / "soak", count=10, tell=quiet, most_seconds=20)
    assert soaked.alive
    assert soaked.account.accounted == soaked.account.acknowledged > 0
    assert {name.split()[0] for name in soaked.memory} == {"node", "worker"}
    assert all(each.at_end > 0 for each in soaked.memory.values())
