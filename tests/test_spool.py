"""Durable files: whole or not there, private, and nowhere else."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.errors import FileUnreadable, PermanentError, StorageFull, TransientError
from mcads_node.spool import Spool

DAY = datetime(2024, 3, 1, 23, 30, tzinfo=UTC)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "data" / "spool", clock=lambda: DAY)


def files(spool: Spool) -> list[Path]:
    return [path for path in spool.folder.rglob("*") if path.is_file()]


def test_round_trip_and_digest_without_the_preface(spool: Spool) -> None:
    stored = spool.write([b"data", b" set"], preface=b"meta ")
    assert spool.read(stored.path) == b"meta data set"
    assert stored.size == 13
    assert stored.digest == hashlib.sha256(b"data set").hexdigest()
    assert stored.path.startswith("2024-03-01/")
    assert spool.locate(stored.path).read_bytes() == b"meta data set"


def test_only_the_owner_may_look(spool: Spool) -> None:
    before = os.umask(0)
    try:
        stored = spool.write(b"x")
    finally:
        os.umask(before)
    path = spool.locate(stored.path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700


def test_a_sender_that_breaks_off_leaves_nothing(spool: Spool) -> None:
    def broken() -> Iterator[bytes]:
        yield b"first part"
        raise PermanentError("association aborted")

    with pytest.raises(PermanentError, match="aborted"):
        spool.write(broken())
    assert files(spool) == []


def fail_to_force(monkeypatch: pytest.MonkeyPatch, call: int, code: int) -> Iterator[int]:
    """Let the device fail with an error number when it is forced for the `call`-th time; gives the count."""
    calls = iter(range(1, 100))
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    return calls


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, TransientError)],
)
@pytest.mark.parametrize("call", [1, 2], ids=["file", "folder"])
def test_a_device_that_fails_leaves_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception], call: int
) -> None:
    spool.write(b"makes the folder of the day")
    fail_to_force(monkeypatch, call, code)
    with pytest.raises(error, match=os.strerror(code)):
        spool.write(b"x" * 100)
    assert len(files(spool)) == 1
    spool.write(b"works again")


@pytest.mark.parametrize("call", [1, 2, 3], ids=["first", "second", "folder"])
def test_files_that_belong_together_are_all_there_or_none(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    spool.write(b"makes the folder of the day")
    calls = fail_to_force(monkeypatch, call, errno.EIO)
    with pytest.raises(TransientError):
        spool.write_all([b"a", b"b"])
    assert len(files(spool)) == 1
    # each file is forced, and their folder once
    assert [spool.read(each.path) for each in spool.write_all([b"a", b"b"])] == [b"a", b"b"]
    assert next(calls) == call + 4


def test_a_full_device_leaves_nothing(tmp_path: Path) -> None:
    # a limit on the size of files is the full disk that needs no privileges
    script = """
        import resource, signal, sys
        from pathlib import Path
        from mcads_node.errors import StorageFull
        from mcads_node.spool import Spool
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        spool = Spool(Path(sys.argv[1]))
        try:
            spool.write(bytes(1000) for _ in range(1000))
        except StorageFull as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no room" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_every_folder_entry_is_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: set[tuple[int, int]] = set()
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        status = os.fstat(descriptor)
        forced.add((status.st_dev, status.st_ino))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    spool = Spool(tmp_path / "a" / "b")
    stored = spool.write(b"x")
    path = spool.locate(stored.path)
    for each in (path, path.parent, tmp_path / "a" / "b", tmp_path / "a", tmp_path):
        status = each.stat()
        assert (status.st_dev, status.st_ino) in forced, each


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "",
        ".",
        "2024-03-01",
        "2024-03-01/../../../etc/passwd",
        "2024-03-01/" + "a" * 31,
        "2024-03-01/" + "a" * 32 + "\n",
        "2024-03-01/" + "a" * 32 + "\x00",
        "2024-03-01/" + "A" * 32,
        "٢٠٢٤-03-01/" + "a" * 32,
    ],
)
def test_a_foreign_path_is_refused(spool: Spool, path: str) -> None:
    for use in (spool.read, spool.delete, spool.locate):
        with pytest.raises(PermanentError, match="not the name of a file in the spool"):
            use(path)


@given(path=st.text(alphabet="./\\0123456789abcdef-~\x00", max_size=60))
def test_whatever_is_located_lies_inside(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    spool = Spool(tmp_path_factory.getbasetemp() / "located")
    try:
        place = spool.locate(path)
    except PermanentError:
        return
    assert place.resolve().is_relative_to(spool.folder.resolve())


def test_a_file_that_is_gone(spool: Spool) -> None:
    stored = spool.write(b"x")
    spool.delete(stored.path)
    spool.delete(stored.path)
    with pytest.raises(PermanentError, match="is gone"):
        spool.read(stored.path)


def test_orphans_are_old_and_unknown(spool: Spool) -> None:
    known, unknown, young = (spool.write(b"x").path for _ in range(3))
    left = spool.locate(unknown).with_name(f"{'a' * 32}.part")
    left.touch()
    (spool.folder / "2024-03-01" / "notes.txt").touch()
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    for file in (spool.locate(known), spool.locate(unknown), left):
        os.utime(file, (hour_ago, hour_ago))
    found = list(spool.orphans({known}, datetime.now(UTC) - timedelta(minutes=30)))
    assert sorted(found) == sorted([unknown, f"2024-03-01/{left.name}"])
    for path in found:
        spool.delete(path)
    assert {spool.locate(known), spool.locate(young)} < set(files(spool))


def test_many_threads_on_a_new_day(spool: Spool) -> None:
    paths: list[str] = []
    start = threading.Barrier(16)

    def write(number: int) -> None:
        start.wait()
        paths.append(spool.write(str(number).encode()).path)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(spool.read(path)) for path in paths) == list(range(16))


def test_a_folder_that_was_removed_is_made_again(spool: Spool) -> None:
    stored = spool.write(b"x")
    spool.delete(stored.path)
    spool.locate(stored.path).parent.rmdir()
    assert spool.read(spool.write(b"y").path) == b"y"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TransientError, match=r"Not a directory|File exists"):
        Spool(tmp_path / "file" / "spool")


def test_killed_in_mid_write(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from mcads_node.spool import Spool
        spool = Spool(Path(sys.argv[1]))
        print(spool.write(b"acknowledged").path, flush=True)
        def endless():
            while True:
                yield bytes(1000)
                print("more", flush=True)
                sys.stdin.readline()
        spool.write(endless())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        path = child.stdout.readline().strip()
        assert child.stdout.readline() == "more\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    spool = Spool(tmp_path)
    assert spool.read(path) == b"acknowledged"
    (left,) = spool.orphans({path}, datetime.now(UTC) + timedelta(seconds=1))
    assert left.endswith(".part")


def test_trouble_with_one_file_is_told_from_trouble_with_all(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    path = spool.write(b"content").path
    spool.delete(path)
    # read by root too, a folder is an error
    spool.locate(path).mkdir()
    with pytest.raises(FileUnreadable, match="Is a directory"):
        spool.read(path)
    (tmp_path / "spool").rename(tmp_path / "unmounted")
    with pytest.raises(TransientError, match="with all its files") as raised:
        spool.read(path)
    assert not isinstance(raised.value, FileUnreadable)
    (tmp_path / "spool").touch()
    with pytest.raises(TransientError, match="Not a directory") as raised:
        spool.read(path)
    assert not isinstance(raised.value, FileUnreadable)


def test_a_process_that_can_open_nothing_finds_no_fault_with_a_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = spool.write(b"content").path
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(TransientError, match="Too many open files") as raised:
            spool.read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not isinstance(raised.value, FileUnreadable)
    assert spool.read(path) == b"content"


def test_what_it_holds(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = spool.write(bytes(3_000_000), preface=b"head")
    assert spool.holds(stored.path, stored.size)
    assert not spool.holds(stored.path, stored.size + 1)
    spool.delete(stored.path)
    assert not spool.holds(stored.path, stored.size)
