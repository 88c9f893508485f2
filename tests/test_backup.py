"""Backups made while the state changes, and restored where there is none."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from mcads_node import migrations
from mcads_node.backup import BackupMade, make_backup, making, restore_backup, restoring
from mcads_node.backup.files import copy, digest_of
from mcads_node.backup.manifest import FileEntry, Manifest, read_manifest
from mcads_node.config import BackupSection, NodeConfig, NodeSection
from mcads_node.errors import ConfigError, NodeError, PermanentError, TransientError
from mcads_node.result import ObjectKind
from mcads_node.service.backups import BackupWatch
from mcads_node.state import State, open_state
from mcads_node.verbs.keeping import back_up, put_back
from mcads_node.workitems import FileKind, InstanceState, Receipt, Snapshot, copying
from mcads_node.yamlfile import load_yaml, write_yaml
from tests.documents import commands
from tests.postgres import PostgresServer
from tests.state_samples import StateWithFiles, state_with_files
from tests.verbs import run_verb
from tests.workitems_samples import START


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[StateWithFiles]:
    """Hold one delivered study, one that waits for its delivery, and one image that waits to be analysed."""
    with state_with_files(tmp_path, tmp_path / "data") as opened:
        _three_studies(opened)
        yield opened


def _three_studies(kept: StateWithFiles) -> None:
    kept.whole_study("1")
    kept.receive(study="2")
    kept.analyse()
    kept.report("pacs")
    kept.receive(study="3")


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def config_in(folder: Path, database: str | None = None) -> NodeConfig:
    return NodeConfig(node=NodeSection(data_dir=folder, database=database))


def restored_rows(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "node.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("studies", "instances", "results", "deliveries")
        }


def contents(folder: Path) -> dict[str, bytes]:
    return {f"{each.parent.name}/{each.name}": each.read_bytes() for each in folder.glob("*/*")}


def test_what_waited_goes_on_elsewhere(kept: StateWithFiles, backups: Path, tmp_path: Path) -> None:
    made = make_backup(kept.state, backups)
    assert (made.files, made.missing) == (11, ())
    new = tmp_path / "new"
    done = restore_backup(made.folder, config_in(new), who="ada")
    assert done.pending == {"pacs": 3}
    assert restored_rows(new) == {"studies": 3, "instances": 3, "results": 6, "deliveries": 6}
    assert contents(new / "spool") == contents(tmp_path / "data" / "spool")
    assert contents(new / "results") == contents(tmp_path / "data" / "results")
    state = open_state(config_in(new))
    before, after = kept.state.workitems.show_study(2), state.workitems.show_study(2)
    assert (after.results, after.events) == (before.results, before.events)
    (item,) = state.workitems.claim("w1", timedelta(seconds=60))
    assert item.instance is not None
    assert state.spool.read(item.instance.path) == b"3/1"
    for delivery in state.workitems.due_deliveries("pacs", 10):
        assert state.results.read(delivery.path).endswith(delivery.sop_instance_uid.encode())
    with closing(sqlite3.connect(new / "node.db")) as connection:
        (told,) = connection.execute("SELECT who, subject FROM events WHERE what = 'restored'").fetchall()
    assert told == ("ada", "database")
    state.close()


def test_postgresql_too(postgres: PostgresServer, backups: Path, tmp_path: Path) -> None:
    with (
        postgres.database() as url,
        postgres.database(migrated=False) as empty,
        state_with_files(url, tmp_path / "data") as kept,
    ):
        _three_studies(kept)
        made = make_backup(kept.state, backups)
        new = config_in(tmp_path / "new", empty)
        assert restore_backup(made.folder, new, who="ada").pending == {"pacs": 3}
        state = open_state(new)
        before, after = kept.state.workitems.show_study(2), state.workitems.show_study(2)
        assert (after.results, after.events) == (before.results, before.events)
        assert len(state.workitems.claim("w1", timedelta(seconds=60))) == 1
        # numbers go on where they were
        assert replace_state(state, kept).receive(study="4") is Receipt.RECORDED
        state.close()
        with pytest.raises(PermanentError, match="has tables already"):
            restore_backup(made.folder, config_in(tmp_path / "third", empty), who="ada")
        with pytest.raises(PermanentError, match="of a postgresql database"):
            restore_backup(made.folder, config_in(tmp_path / "fourth"), who="ada")


def replace_state(state: State, kept: StateWithFiles) -> StateWithFiles:
    return replace(kept, state=state)


def test_it_is_consistent_while_images_flow_in(kept: StateWithFiles, backups: Path, tmp_path: Path) -> None:
    """A writer commits between any two steps; the copy is of one moment, and it ends."""
    with closing(sqlite3.connect(tmp_path / "node.db")) as connection:
        connection.execute("CREATE TABLE ballast (content BLOB)")
        connection.executemany("INSERT INTO ballast VALUES (?)", [(os.urandom(2**20),) for _ in range(24)])
        connection.commit()
    stop = threading.Event()
    received: list[Receipt] = []

    def flow() -> None:
        while not stop.is_set():
            received.append(kept.receive(study=f"9{len(received)}"))

    steps: list[tuple[int, int]] = []
    during: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "database":
            steps.append((done, total))
            during.append(len(received))

    writer = threading.Thread(target=flow)
    writer.start()
    try:
        made = make_backup(kept.state, backups, progress=progress)
    finally:
        stop.set()
        writer.join()
    assert during[-1] > during[0], "nothing was written while the database was copied"
    assert [done for done, _ in steps] == sorted(done for done, _ in steps), "the copy began anew"
    new = tmp_path / "new"
    restore_backup(made.folder, config_in(new), who="ada")
    rows = restored_rows(new)
    assert 3 <= rows["instances"] < 3 + len(received)
    assert len(contents(new / "spool")) == rows["instances"], "each row has its file, and each file its row"


def test_files_are_linked_and_old_backups_removed(
    kept: StateWithFiles, backups: Path, tmp_path: Path
) -> None:
    made: list[BackupMade] = [make_backup(kept.state, backups, keep=2)]
    (backups / ".backup-20260101T000000000Z.part").mkdir()
    (backups / "notes").mkdir()
    made += [make_backup(kept.state, backups, keep=2) for _ in range(2)]
    there = sorted(each.name for each in backups.iterdir())
    assert there == sorted([".lock", "notes", *(each.folder.name for each in made[1:])])
    assert [each.copied for each in made] == [0, 0, 0]
    for file in (tmp_path / "data" / "spool").glob("*/*"):
        assert file.stat().st_nlink == 3
    for each in [made[-1].folder, *made[-1].folder.rglob("*")]:
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600), each


def test_another_file_system_gets_one_copy(kept: StateWithFiles, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    other = memory / f"mcads-test-{os.getpid()}"
    try:
        first, second = make_backup(kept.state, other), make_backup(kept.state, other)
        assert (first.copied, second.copied) == (11, 0)
        restore_backup(second.folder, config_in(tmp_path / "new"), who="ada")
        assert contents(tmp_path / "new" / "spool") == contents(tmp_path / "data" / "spool")
    finally:
        shutil.rmtree(other, ignore_errors=True)


def test_a_restored_node_never_writes_into_its_backup(
    kept: StateWithFiles, backups: Path, tmp_path: Path
) -> None:
    made = make_backup(kept.state, backups)
    for name in ("new", "newer"):
        restore_backup(made.folder, config_in(tmp_path / name), who="ada")
        state = open_state(config_in(tmp_path / name))
        state.workitems.claim("w1", timedelta(seconds=60))
        state.close()
    assert digest_of(made.folder / "database") == read_manifest(made.folder).database.sha256


def test_what_retention_lets_go_meanwhile_is_no_damage(
    kept: StateWithFiles, backups: Path, tmp_path: Path
) -> None:
    def progress(what: str, done: int, _total: int) -> None:
        if (what, done) == ("files", 0):
            for path in kept.state.workitems.let_go(FileKind.IMAGES, timedelta(0), [1]):
                kept.state.spool.delete(path)

    made = make_backup(kept.state, backups, progress=progress)
    assert (made.files, made.missing) == (10, ())
    restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")
    state = open_state(config_in(tmp_path / "new"))
    (image,) = state.workitems.show_study(1).instances
    assert image.file_deleted_at is not None
    state.close()


def test_a_file_that_should_be_there_is_named(kept: StateWithFiles, backups: Path, tmp_path: Path) -> None:
    (image,) = kept.state.workitems.show_study(3).instances
    kept.state.spool.delete(image.path)
    made = make_backup(kept.state, backups)
    assert made.missing == (f"spool/{image.path}",)
    done = restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")
    assert done.missing == made.missing


@pytest.mark.parametrize("which", ["database", "spool/*/*", "results/*/*"])
def test_damage_is_found_before_anything_is_put_in_place(
    kept: StateWithFiles, backups: Path, tmp_path: Path, which: str
) -> None:
    made = make_backup(kept.state, backups)
    file = sorted(made.folder.glob(which))[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(PermanentError, match=rf"{file.name} is damaged"):
        restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")
    assert contents(tmp_path / "new" / "spool") == {}
    assert not (tmp_path / "new" / "node.db").exists()
    file.unlink()
    with pytest.raises(PermanentError, match=rf"{file.name} is missing"):
        restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")


def test_a_damaged_manifest_is_told(kept: StateWithFiles, backups: Path, tmp_path: Path) -> None:
    made = make_backup(kept.state, backups)
    file = made.folder / "manifest.json"
    text = file.read_text()
    for damaged, said in (
        (text[: len(text) // 2], "not JSON"),
        ("{}", "does not say all"),
        (text.replace('"sha256"', '"md5"', 1), "does not say all"),
        (text.replace("spool/", "spool/../../", 1), "is not the name of a file"),
        (text.replace('"format": 1', '"format": 2'), "install that version"),
    ):
        file.write_text(damaged)
        with pytest.raises(PermanentError, match=said):
            restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")
    with pytest.raises(PermanentError, match="is not a backup"):
        restore_backup(tmp_path, config_in(tmp_path / "new"), who="ada")


def test_another_state_is_never_touched(kept: StateWithFiles, backups: Path, tmp_path: Path) -> None:
    made = make_backup(kept.state, backups)
    new = config_in(tmp_path / "new")
    restore_backup(made.folder, new, who="ada")
    with pytest.raises(PermanentError, match=r"has a database already: move node\.db"):
        restore_backup(made.folder, new, who="ada")
    (tmp_path / "new" / "node.db").unlink()
    # as after an interruption: the files are there, the database is not
    restore_backup(made.folder, new, who="ada")
    (tmp_path / "new" / "node.db").unlink()
    stranger = tmp_path / "new" / "spool" / "2026-01-01" / ("0" * 32)
    stranger.parent.mkdir()
    stranger.write_bytes(b"received after the backup")
    with pytest.raises(PermanentError, match=f"does not know, such as {stranger.name}"):
        restore_backup(made.folder, new, who="ada")
    stranger.unlink()
    changed = next(iter((tmp_path / "new" / "spool").glob("*/*")))
    changed.unlink()
    changed.write_bytes(b"changed")
    with pytest.raises(PermanentError, match="with other content"):
        restore_backup(made.folder, new, who="ada")


def test_a_newer_schema_is_refused(kept: StateWithFiles, backups: Path, tmp_path: Path) -> None:
    made = make_backup(kept.state, backups)
    file = made.folder / "manifest.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "schema_revision": "9999", "version": "99.0"}))
    with pytest.raises(PermanentError, match=r"node 99\.0.*'9999'.*install that version"):
        restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    folder = tmp_path / "backup-of-old"
    folder.mkdir()
    engine = create_engine(f"sqlite:///{folder / 'database'}")
    with engine.begin() as connection:
        config = migrations.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    engine.dispose()
    database = folder / "database"
    entry = FileEntry(size=database.stat().st_size, sha256=digest_of(database))
    Manifest(
        made_at="2024-01-01T03:00:00+00:00",
        version="0.1.0",
        kind="sqlite",
        schema_revision="0002",
        database=entry,
        files={},
    ).write(folder)
    restore_backup(folder, config_in(tmp_path / "new"), who="ada")
    with closing(sqlite3.connect(tmp_path / "new" / "node.db")) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert revision == migrations.known_revisions()[0]


def test_two_backups_at_once_are_one_too_many(kept: StateWithFiles, backups: Path) -> None:
    backups.mkdir()
    with (backups / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NodeError, match="another backup into"):
            make_backup(kept.state, backups)


def test_a_stopping_node_gives_its_backup_up(kept: StateWithFiles, backups: Path) -> None:
    stopping = threading.Event()

    def progress(what: str, _done: int, _total: int) -> None:
        if what == "files":
            stopping.set()

    with pytest.raises(TransientError, match="given up"):
        make_backup(kept.state, backups, progress=progress, stopping=stopping)
    assert [each.name for each in backups.iterdir()] == [".lock"]


def nothing(_what: str, _done: int, _total: int) -> None:
    pass


def test_the_verbs_functions(kept: StateWithFiles, tmp_path: Path) -> None:
    kept.state.workitems.close()
    (tmp_path / "node.db").rename(tmp_path / "data" / "node.db")
    config = tmp_path / "node.yaml"
    write_yaml(config, {"node": {"data_dir": str(tmp_path / "data")}})
    with pytest.raises(ConfigError, match=r"backup\.directory: expected a folder"):
        back_up(config, None, nothing)
    section = {"directory": str(tmp_path / "backups"), "keep": 1}
    write_yaml(config, {"node": {"data_dir": str(tmp_path / "data")}, "backup": section})
    for _ in range(2):
        made = back_up(config, None, nothing)
    assert [each for each in (tmp_path / "backups").iterdir() if each.is_dir()] == [made.folder]
    elsewhere = back_up(config, tmp_path / "elsewhere", nothing)
    assert elsewhere.folder.parent == tmp_path / "elsewhere"
    (tmp_path / "data" / "node.db").unlink()
    assert put_back(config, made.folder, nothing).pending == {"pacs": 3}


def test_the_time_of_day(tmp_path: Path) -> None:
    config = tmp_path / "node.yaml"
    config.write_text("backup: {directory: /mnt, at: 13:30, keep: 3}\n")
    assert load_yaml(config, NodeConfig).backup.at.strftime("%H:%M") == "13:30"
    assert BackupSection().at.strftime("%H:%M") == "03:00"
    for wrong in ("at: 25:00", "at: noon", "at: 3", "keep: 0"):
        config.write_text(f"backup: {{{wrong}}}\n")
        with pytest.raises(ConfigError, match="backup"):
            load_yaml(config, NodeConfig)


def test_results_of_every_kind_are_in_it(kept: StateWithFiles, backups: Path) -> None:
    manifest = read_manifest(make_backup(kept.state, backups).folder)
    rows = [each.object for number in (1, 2) for each in kept.state.workitems.show_study(number).results]
    assert {each.kind for each in rows} == {ObjectKind.SR, ObjectKind.SUMMARY, ObjectKind.HEATMAP}
    for each in rows:
        assert manifest.files[f"results/{each.path}"] == FileEntry(size=each.size, sha256=each.digest)


def test_the_documented_commands_work(kept: StateWithFiles, tmp_path: Path) -> None:
    kept.state.workitems.close()
    (tmp_path / "node.db").rename(tmp_path / "data" / "node.db")
    write_yaml(tmp_path / "node.yaml", {"node": {"data_dir": str(tmp_path / "data")}})
    documented = [each for each in commands() if each[0] in ("backup", "restore")]
    assert [each[0] for each in documented] == ["backup", "restore"]
    for arguments in documented:
        # the place of backups, and the name of the one that there is
        there = [str(each) for each in (tmp_path / "to").glob("backup-*")]
        told = [each.replace("/mnt/backups", str(tmp_path / "to")) for each in arguments]
        run = [there[0] if Path(each).name.startswith("backup-") else each for each in told]
        done = run_verb(*run, "--config", str(tmp_path / "node.yaml"))
        assert done.returncode == 0, done.stderr
        (tmp_path / "data").rename(tmp_path / f"data after {arguments[0]}")
    assert "deliveries that wait: 3 to pacs" in done.stdout
    assert restored_rows(tmp_path / "data after restore")["instances"] == 3


# --- what goes wrong on the way


def interrupt_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the next restoration just before one of its steps, as a person's Ctrl-C would."""

    def interrupted(*_arguments: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(restoring, name, interrupted)


def test_an_interrupted_restoration_is_run_again(
    kept: StateWithFiles, backups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, new = make_backup(kept.state, backups), tmp_path / "new"
    for step in ("_put", "_put_on_record", "sync"):
        interrupt_at(step, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            restore_backup(made.folder, config_in(new), who="ada")
        assert not (new / "node.db").exists()
        with pytest.raises(NodeError, match="run restore again"):
            open_state(config_in(new))
    assert restore_backup(made.folder, config_in(new), who="ada").pending == {"pacs": 3}
    assert sorted(each.name for each in new.iterdir()) == ["node.db", "results", "spool"]
    state = open_state(config_in(new))
    assert state.workitems.installation() != kept.state.workitems.installation()
    state.close()


def test_an_interrupted_restoration_into_postgresql_is_run_again(
    postgres: PostgresServer, backups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        postgres.database() as url,
        postgres.database(migrated=False) as empty,
        state_with_files(url, tmp_path / "data") as kept,
    ):
        _three_studies(kept)
        made, new = make_backup(kept.state, backups), config_in(tmp_path / "new", empty)
        interrupt_at("_put_on_record", monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            restore_backup(made.folder, new, who="ada")
        with pytest.raises(NodeError, match="run restore again"):
            open_state(new)
        # nor is the database anyone else's to restore into
        with pytest.raises(PermanentError, match="has tables already"):
            restore_backup(made.folder, config_in(tmp_path / "other", empty), who="ada")
        assert restore_backup(made.folder, new, who="ada").pending == {"pacs": 3}
        state = open_state(new)
        assert state.workitems.installation() != kept.state.workitems.installation()
        state.close()


def test_a_clock_that_was_ahead_costs_no_new_backup(kept: StateWithFiles, backups: Path) -> None:
    for number in range(3):
        (backups / f"backup-20991231T03000000{number}Z").mkdir(parents=True)
    made = [make_backup(kept.state, backups, keep=3) for _ in range(3)]
    assert sorted(backups.glob("backup-*")) == [each.folder for each in made]


def damage(file: Path, content: bytes) -> None:
    """Damage one copy, and no other name of it."""
    file.unlink()
    file.write_bytes(content)


def a_file_of(made: BackupMade, study: int, kept: StateWithFiles) -> Path:
    (image,) = kept.state.workitems.show_study(study).instances
    return made.folder / "spool" / image.path


@pytest.mark.parametrize("content", [b"short", b"x/y"])
def test_rot_is_not_carried_into_later_backups(
    kept: StateWithFiles, backups: Path, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as on the day on which it is this file's turn
    monkeypatch.setattr(making, "_READ_ALL_IN", 1)
    damage(a_file_of(make_backup(kept.state, backups), 3, kept), content)
    made = make_backup(kept.state, backups)
    assert (made.files, made.missing) == (11, ())
    restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")
    assert contents(tmp_path / "new" / "spool") == contents(tmp_path / "data" / "spool")


def test_rot_in_the_spool_is_told_by_every_backup(
    kept: StateWithFiles, backups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_READ_ALL_IN", 1)
    file = a_file_of(make_backup(kept.state, backups), 3, kept)
    # all names of it are the same bytes, on one disk
    file.write_bytes(b"x/y")
    for _ in range(2):
        made = make_backup(kept.state, backups)
        assert made.missing == (str(file.relative_to(file.parents[2])),)
    restore_backup(made.folder, config_in(tmp_path / "new"), who="ada")
    state = open_state(config_in(tmp_path / "new"))
    assert state.workitems.claim("w1", timedelta(seconds=60)) == []
    (image,) = state.workitems.show_study(3).instances
    assert image.reason is not None and "its file is lost" in image.reason
    state.close()


def test_in_a_week_every_file_is_read_again(kept: StateWithFiles) -> None:
    paths = frozenset(f"2024-01-01/{number:032x}" for number in range(50))
    snapshot = Snapshot(kind="sqlite", revision="", spool=paths, results=frozenset(), sizes={}, digests={})
    days = [
        {
            each.path
            for each in making._files_of(kept.state, snapshot, START + timedelta(days=day))
            if each.again
        }
        for day in range(7)
    ]
    assert sum(len(each) for each in days) == 50
    assert set().union(*days) == {f"spool/{path}" for path in paths}


def test_what_is_whole_is_restored_and_the_rest_is_said_to_be_lost(
    kept: StateWithFiles, backups: Path, tmp_path: Path
) -> None:
    made = make_backup(kept.state, backups)
    waiting, done = a_file_of(made, 3, kept), a_file_of(made, 1, kept)
    (report,) = [
        each.object
        for each in kept.state.workitems.show_study(2).results
        if each.object.kind is ObjectKind.SR
    ]
    for file in (waiting, done, made.folder / "results" / report.path):
        damage(file, b"rot")
    new = config_in(tmp_path / "new")
    with pytest.raises(PermanentError, match="--without-damaged restores the rest"):
        restore_backup(made.folder, new, who="ada")
    restored = restore_backup(made.folder, new, who="ada", without_damaged=True)
    assert (restored.files, len(restored.damaged), restored.pending) == (8, 3, {"pacs": 2})
    state = open_state(new)
    assert state.workitems.claim("w1", timedelta(seconds=60)) == []
    (image,) = state.workitems.show_study(3).instances
    assert (image.state, image.file_deleted_at) == (InstanceState.QUARANTINED, None)
    (old,) = state.workitems.show_study(1).instances
    assert old.file_deleted_at is not None
    (letter,) = state.workitems.list_undelivered()
    assert letter.sop_instance_uid == report.sop_instance_uid
    assert letter.reason.startswith("its file is lost: not whole in the backup of")
    assert [each.what for each in state.workitems.show_study(3).events][-1] == "file lost"
    # a backup of this state is whole: it does not speak of what is lost, but for what waits in quarantine
    assert make_backup(state, tmp_path / "again").missing == (f"spool/{image.path}",)
    state.close()


def test_a_stopping_node_ends_the_programs_of_postgresql(
    postgres: PostgresServer, backups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    stopping = threading.Event()
    with postgres.database() as url, state_with_files(url, tmp_path / "data") as kept:
        timer = threading.Timer(0.5, stopping.set)
        timer.start()
        begun = time.monotonic()
        with pytest.raises(TransientError, match="given up"):
            make_backup(kept.state, backups, stopping=stopping)
        assert time.monotonic() - begun < 20
        monkeypatch.setattr(copying, "_PATIENCE_SECONDS", 0.1)
        with pytest.raises(TransientError, match="pg_dump took more than"):
            make_backup(kept.state, backups)


def test_a_large_file_is_not_copied_to_its_end_by_a_node_that_stops(tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(8 << 20))
    asked: list[int] = []

    def go_on() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise TransientError("stop")

    with pytest.raises(TransientError, match="stop"):
        copy(source, tmp_path / "copy", go_on)
    assert not (tmp_path / "copy").exists()


def test_the_last_whole_backup_is_found(kept: StateWithFiles, backups: Path) -> None:
    watch = BackupWatch(backups)
    assert watch.since is not None
    begun, jobs = watch.since, watch.jobs()
    assert [each.name for each in jobs] == ["look-at-backups"]
    # not there, not whole, from the future
    watch.look()
    for name in ("backup-20240301T030000000Z", "backup-20991231T030000000Z"):
        (backups / name).mkdir(parents=True)
        watch.look()
    (backups / "backup-20991231T030000000Z" / "manifest.json").touch()
    watch.look()
    assert watch.since == begun
    (backups / "backup-20240301T030000000Z" / "manifest.json").touch()
    watch.look()
    assert watch.since == datetime(2024, 3, 1, 3, tzinfo=UTC)
    make_backup(kept.state, backups)
    watch.look()
    assert abs(watch.since - datetime.now(UTC)) < timedelta(minutes=1)
    assert (BackupWatch().since, BackupWatch().jobs()) == (None, [])
