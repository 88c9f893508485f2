"""Retention: which files go, when, what never goes, and what can still be done with a study afterwards."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mcads_node.config import NodeConfig, RetentionSection
from mcads_node.errors import PermanentError
from mcads_node.result import ObjectKind
from mcads_node.retention import RetentionPolicy, delete_old_files
from mcads_node.service.jobs import remove_orphans, retention_policy
from mcads_node.workitems import (
    FileKind,
    InstanceDeclined,
    InstanceState,
    Kind,
    Receipt,
    Refused,
    Stored,
)
from tests.state_samples import StateWithFiles, state_with_files
from tests.workitems_samples import ALL_KINDS, claim_one, received, stored

DAY = 24 * 3600.0
POLICY = RetentionPolicy(images=timedelta(days=7), results=timedelta(days=30), declined=timedelta(days=20))
AT_ONCE = RetentionPolicy(images=timedelta(0), results=timedelta(0), declined=timedelta(0))
FOR_EVER = RetentionPolicy(images=None, results=None, declined=None)


@pytest.fixture
def kept(database: str | Path, tmp_path: Path) -> Iterator[StateWithFiles]:
    with state_with_files(database, tmp_path) as opened:
        yield opened


def test_files_go_and_rows_stay(kept: StateWithFiles) -> None:
    kept.whole_study()
    before = kept.state.workitems.show_study(1)
    assert kept.files() == (1, 4)
    kept.clock.forward(7 * DAY - 1)
    assert delete_old_files(kept.state, POLICY) == dict.fromkeys(FileKind, 0)
    assert kept.files() == (1, 4)
    kept.clock.forward(2)
    assert delete_old_files(kept.state, POLICY)[FileKind.IMAGES] == 1
    assert kept.files() == (0, 4)
    (image,) = kept.state.workitems.show_study(1).instances
    assert image.file_deleted_at == kept.clock.now
    kept.clock.forward(23 * DAY)
    assert delete_old_files(kept.state, POLICY) == {
        FileKind.IMAGES: 0,
        FileKind.RESULTS: 4,
        FileKind.DECLINED: 0,
    }
    assert kept.files() == (0, 0)
    after = kept.state.workitems.show_study(1)
    assert {each.file_deleted_at for each in after.results} == {kept.clock.now}
    assert [each.object for each in after.results] == [each.object for each in before.results]
    assert [each.why for each in after.events if each.what == "files deleted"] == [
        "images: 1 files",
        "results: 4 files",
    ]
    assert delete_old_files(kept.state, AT_ONCE) == dict.fromkeys(FileKind, 0)


def test_for_ever_is_for_ever(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.clock.forward(36_500 * DAY)
    assert delete_old_files(kept.state, FOR_EVER) == dict.fromkeys(FileKind, 0)
    assert kept.files() == (1, 4)


def _not_analysed(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.receive("2")


def _not_reported(kept: StateWithFiles) -> None:
    kept.receive()
    kept.analyse()


def _not_delivered(kept: StateWithFiles) -> None:
    kept.receive()
    kept.analyse()
    kept.report("pacs", "archive")
    kept.deliver("archive")


def _refused(kept: StateWithFiles) -> None:
    kept.receive()
    kept.analyse()
    kept.report("pacs")
    kept.deliver(outcome=Refused(reason="no", status=0xA900))


def _not_committed(kept: StateWithFiles) -> None:
    kept.receive()
    kept.analyse()
    kept.report("pacs")
    kept.deliver(outcome=Stored(awaits_commitment=True))


def _quarantined(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.receive("2")
    item = claim_one(kept.state.workitems, Kind.ANALYSE)
    kept.state.workitems.fail(item, "a codec crashed", permanent=True)


def _report_impossible(kept: StateWithFiles) -> None:
    _not_reported(kept)
    kept.clock.forward(100)
    item = claim_one(kept.state.workitems, Kind.REPORT)
    kept.state.workitems.fail(item, "no words for it", permanent=True)


@pytest.mark.parametrize(
    "happened",
    [
        _not_analysed,
        _not_reported,
        _not_delivered,
        _refused,
        _not_committed,
        _quarantined,
        _report_impossible,
    ],
)
def test_what_is_owed_is_never_deleted(
    kept: StateWithFiles, happened: Callable[[StateWithFiles], None]
) -> None:
    happened(kept)
    before = kept.files()
    kept.clock.forward(10_000 * DAY)
    assert delete_old_files(kept.state, AT_ONCE) == dict.fromkeys(FileKind, 0)
    assert kept.files() == before


def test_the_row_of_what_is_to_be_analysed_cannot_say_that_its_file_is_gone(tmp_path: Path) -> None:
    with state_with_files(tmp_path, tmp_path) as kept:
        kept.receive()
        forbidden = pytest.raises(sqlite3.IntegrityError, match="ck_instances_file")
        with closing(sqlite3.connect(tmp_path / "node.db")) as connection, forbidden:
            connection.execute("UPDATE instances SET file_deleted_at = received_at")


def test_a_retry_that_delivers_lets_the_files_go(kept: StateWithFiles) -> None:
    _refused(kept)
    kept.clock.forward(100 * DAY)
    assert kept.state.workitems.retry(1).deliveries == 3
    kept.deliver()
    assert delete_old_files(kept.state, POLICY) == dict.fromkeys(FileKind, 0), "the days begin anew"
    kept.clock.forward(30 * DAY)
    assert sum(delete_old_files(kept.state, POLICY).values()) == 5


def test_declined_ones_have_their_own_time(kept: StateWithFiles) -> None:
    kept.receive()
    item = claim_one(kept.state.workitems, Kind.ANALYSE)
    assert kept.state.workitems.complete_analysis(item, InstanceDeclined(reason="no route"))
    file = kept.state.spool.write(b"\x00\x01")
    unread = replace(received("9"), path=file.path, digest=file.digest, received_at=kept.clock.now)
    assert kept.state.workitems.record_unreadable(unread, "not DICOM") is Receipt.UNREADABLE
    kept.clock.forward(20 * DAY - 1)
    assert delete_old_files(kept.state, POLICY)[FileKind.DECLINED] == 0
    kept.clock.forward(2)
    assert delete_old_files(kept.state, POLICY)[FileKind.DECLINED] == 2
    assert kept.files() == (0, 0)
    (refused,) = kept.state.workitems.list_refused()
    assert refused.file_deleted_at == kept.clock.now


def test_the_same_image_again_is_recognised_and_makes_no_work(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.clock.forward(100 * DAY)
    delete_old_files(kept.state, POLICY)
    assert kept.receive() is Receipt.DUPLICATE
    assert kept.receive(content="other bytes") is Receipt.CONFLICT
    assert kept.state.workitems.claim("w1", timedelta(seconds=60)) == []
    again, conflict = kept.state.workitems.show_study(1).instances
    assert (again.state, again.file_deleted_at is None) == (InstanceState.ANALYSED, False)
    assert (conflict.state, conflict.file_deleted_at) == (InstanceState.DECLINED, None)


def test_a_late_image_revises_the_report_from_what_is_kept(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.clock.forward(100 * DAY)
    delete_old_files(kept.state, POLICY)
    kept.receive("2")
    kept.analyse()
    kept.clock.forward(100)
    store = kept.state.workitems
    item = claim_one(store, Kind.REPORT)
    study = store.study_for_report(item)
    first, second = study.images
    assert study.revision == 2
    assert [each.kind for each in study.predecessors] == [ObjectKind.SR]
    assert first.analysis.header == second.analysis.header != b""
    assert (first.analysis.thumbnail, second.analysis.thumbnail is None) == (None, False)
    objects = [kept.result(ObjectKind.SUMMARY), kept.result(ObjectKind.SR)]
    assert store.complete_report(item, objects, {"pacs": ALL_KINDS, "archive": ALL_KINDS})
    due = {name: store.due_deliveries(name, 10) for name in ("pacs", "archive")}
    # the first heatmap went to the PACS long ago; the archive, a new destination, cannot have it any more
    assert {name: len(each) for name, each in due.items()} == {"pacs": 3, "archive": 3}
    for delivery in due["archive"]:
        assert kept.state.results.read(delivery.path)
    omitted = [each.why for each in store.show_study(1).events if each.what == "omitted"]
    assert omitted == ["its file was deleted, so it cannot go to archive"]


def test_nothing_is_left_to_retry(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.clock.forward(100 * DAY)
    delete_old_files(kept.state, POLICY)
    retried = kept.state.workitems.retry(1)
    assert (retried.workitems, retried.deliveries) == (0, 0)


def test_a_report_whose_files_are_gone_can_be_retracted(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.clock.forward(100 * DAY)
    delete_old_files(kept.state, POLICY)
    what = kept.state.workitems.retractable(1)
    assert (len(what.objects), what.header != b"") == (3, True)
    note = replace(stored(ObjectKind.KOS), path=kept.state.results.write(b"note").path)
    retraction = kept.state.workitems.retract(what, note, "another patient's")
    assert retraction is not None
    assert retraction.destinations == ("pacs",)
    assert delete_old_files(kept.state, AT_ONCE)[FileKind.RESULTS] == 0, "the note is not delivered yet"
    (delivery,) = kept.state.workitems.due_deliveries("pacs", 10)
    assert kept.state.results.read(delivery.path) == b"note"


def test_a_crash_between_row_and_file_is_mended(kept: StateWithFiles) -> None:
    kept.whole_study()
    kept.clock.forward(10 * DAY)
    (path,) = kept.state.workitems.let_go(FileKind.IMAGES, timedelta(days=7), [1])
    assert kept.files() == (1, 4), "the process died here"
    remove_orphans(kept.state)
    assert kept.files() == (1, 4), "too young to be an orphan"
    long_ago = kept.state.spool.locate(path).stat().st_mtime - 2 * DAY
    for folder in (kept.state.spool, kept.state.results):
        for file in folder.folder.glob("*/*"):
            os.utime(file, (long_ago, long_ago))
    remove_orphans(kept.state)
    assert kept.files() == (0, 4)


def test_what_arrives_in_between_is_not_deleted(kept: StateWithFiles) -> None:
    """Studies are looked up first and locked later: what has happened meanwhile counts."""
    kept.whole_study()
    kept.clock.forward(10 * DAY)
    found = kept.state.workitems.studies_with_old_files(FileKind.IMAGES, timedelta(days=7), 0, 10)
    assert found == [1]
    kept.receive("2")
    assert kept.state.workitems.let_go(FileKind.IMAGES, timedelta(days=7), found) == []
    assert kept.files() == (2, 4)


def test_it_stops_between_batches_and_goes_on_later(tmp_path: Path) -> None:
    with state_with_files(tmp_path, tmp_path) as kept:
        for study in range(22):
            kept.whole_study(str(study))
        kept.clock.forward(10 * DAY)
        stopping = threading.Event()
        stopping.set()
        assert delete_old_files(kept.state, POLICY, stopping)[FileKind.IMAGES] == 20
        assert kept.files()[0] == 2
        assert delete_old_files(kept.state, POLICY)[FileKind.IMAGES] == 2


def test_the_days_of_the_configuration() -> None:
    assert retention_policy(NodeConfig().retention) == RetentionPolicy(
        images=timedelta(days=7), results=timedelta(days=30), declined=timedelta(days=30)
    )
    section = RetentionSection(images_days=None, results_days=0, declined_days=None)
    assert retention_policy(section) == RetentionPolicy(images=None, results=timedelta(0), declined=None)


def test_a_file_that_is_gone_says_so(kept: StateWithFiles) -> None:
    kept.whole_study()
    (image,) = kept.state.workitems.show_study(1).instances
    delete_old_files(kept.state, AT_ONCE)
    with pytest.raises(PermanentError, match="is gone"):
        kept.state.spool.read(image.path)


def test_a_thumbnail_let_go_during_a_backup_is_on_no_record_after_it(kept: StateWithFiles) -> None:
    kept.whole_study()
    store = kept.state.workitems
    (before,) = store.show_study(1).instances
    assert before.analysis is not None
    assert before.analysis.thumbnail in store.result_paths()
    store.record_restored([before.analysis.thumbnail], "from a backup", who="ada")
    (after,) = store.show_study(1).instances
    assert after.analysis is not None
    assert after.analysis.thumbnail is None
    assert before.analysis.thumbnail not in store.result_paths()
