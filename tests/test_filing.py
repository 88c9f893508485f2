"""A worker that reads images and writes results itself, and what it does where it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcads_node.draft import StoredFile
from mcads_node.errors import PermanentError, StorageFull, TransientError
from mcads_node.filing import Filing
from mcads_node.result import ObjectKind, ResultObject
from mcads_node.spool import Spool
from mcads_node.task import Composed, Folders
from tests.test_compute import request
from tests.test_dispatch import analysis
from tests.workitems_samples import digest_of


def made(data: bytes) -> ResultObject:
    return ResultObject(
        kind=ObjectKind.SR,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.1",
        series_instance_uid="2.25.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        data=data,
    )


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Folders of a node that is running."""
    made = Folders(spool=tmp_path / "spool", results=tmp_path / "results")
    Spool(made.spool), Spool(made.results)
    return made


def names_in(folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]


def test_an_image_is_read_where_it_lies(folders: Folders) -> None:
    stored = Spool(folders.spool).write(b"an image", preface=b"before it ")
    completed = Filing(folders).completed(replace(request(), data=b"", file=stored.path))
    assert completed.data == b"before it an image"


def test_a_spool_that_is_away_is_no_fault_of_an_image(folders: Folders) -> None:
    named = replace(request(), data=b"", file=Spool(folders.spool).write(b"an image").path)
    with pytest.raises(PermanentError, match="is gone"):
        Filing(folders).completed(replace(named, file="2026-01-01/" + 32 * "0"))
    folders.spool.rename(folders.spool.with_name("away"))
    with pytest.raises(TransientError, match="with all its files"):
        Filing(folders).completed(named)
    # nor is another put in its place
    assert not folders.spool.exists()


def test_results_are_written_and_leave_the_outcome(folders: Folders) -> None:
    outcome = replace(analysis(), thumbnail=b"a thumbnail", objects=(made(b"an object"), made(b"another")))
    filed = Filing(folders).filed(outcome)
    contents = [b"a thumbnail", b"an object", b"another"]
    assert [Spool(folders.results).read(each.path) for each in filed.files] == contents
    assert [each.digest for each in filed.files] == [digest_of(each.decode()) for each in contents]
    assert filed.contents == (b"", b"", b"")
    assert sorted(names_in(folders.results)) == sorted(each.path for each in filed.files)


def test_what_cannot_be_written_is_given_back_whole_and_leaves_nothing(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_drafts: object) -> list[StoredFile]:
        raise StorageFull("no room")

    monkeypatch.setattr("mcads_node.spool.finish_all", full)
    report = Composed(objects=(made(b"an object"), made(b"another")))
    assert Filing(folders).filed(report) is report
    assert names_in(folders.results) == []


def test_without_folders_everything_crosses_as_bytes() -> None:
    outcome, asked = analysis(), request()
    assert Filing(None).filed(outcome) is outcome
    assert Filing(None).completed(asked) is asked
