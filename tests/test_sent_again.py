"""A study that is sent again makes nothing new: no work, no report, no file, whatever happened in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mcads_node.retention import RetentionPolicy, delete_old_files
from mcads_node.state import State
from mcads_node.workitems import Receipt, open_store
from tests.state_samples import StateWithFiles, state_with_files

AT_ONCE = RetentionPolicy(images=timedelta(0), results=timedelta(0), declined=timedelta(0))


@pytest.fixture
def reported(database: str | Path, tmp_path: Path) -> Iterator[StateWithFiles]:
    """A study of three images that was reported and delivered."""
    with state_with_files(database, tmp_path) as kept:
        for image in "123":
            assert kept.receive(image) is Receipt.RECORDED
        kept.analyse()
        kept.report("pacs")
        kept.deliver()
        yield kept


def nothing_is_new(kept: StateWithFiles, images: str) -> None:
    before, files = kept.state.workitems.show_study(1), kept.files()
    for image in images:
        assert kept.receive(image) is Receipt.DUPLICATE
    kept.clock.forward(3600)
    assert kept.state.workitems.claim("w1", timedelta(seconds=60), limit=10) == []
    after = kept.state.workitems.show_study(1)
    assert (after.instances, after.workitems, after.results) == (
        before.instances,
        before.workitems,
        before.results,
    )
    assert kept.state.workitems.due_deliveries("pacs", 10) == []
    assert kept.files() == files


@pytest.mark.parametrize("images", ["123", "2", "3321"])
def test_with_all_or_some_of_its_images(reported: StateWithFiles, images: str) -> None:
    nothing_is_new(reported, images)


def test_after_the_node_was_started_anew(
    reported: StateWithFiles, database: str | Path, tmp_path: Path
) -> None:
    where = database / "node.db" if isinstance(database, Path) else database
    again = open_store(where, clock=reported.clock)
    state = State(workitems=again, spool=reported.state.spool, results=reported.state.results)
    nothing_is_new(StateWithFiles(state, reported.clock), "123")
    again.close()


def test_after_its_files_were_deleted(reported: StateWithFiles) -> None:
    delete_old_files(reported.state, AT_ONCE)
    assert reported.files() == (0, 0)
    nothing_is_new(reported, "31")
