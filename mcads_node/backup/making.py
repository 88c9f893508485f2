"""Making a backup while the node runs: first the database, then the files that its rows speak of.

The order is what makes it whole. A row is committed after its file, so every file of a row in the copied
database was there before. Retention may let go of one meanwhile; the manifest says so then, and nothing is
owed of it. A file that is missing for any other reason is named, and the backup is made all the same.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from mcads_node import __version__
from mcads_node.backup.collecting import Collection, Wanted
from mcads_node.backup.files import digest_of, make_folder, mapped, sync, sync_folders
from mcads_node.backup.manifest import DATABASE, MANIFEST, RESULTS, SPOOL, FileEntry, Manifest, read_manifest
from mcads_node.errors import NodeError, PermanentError, TransientError
from mcads_node.state import State
from mcads_node.workitems import Snapshot

log = structlog.stdlib.get_logger(__name__)

_NAME = re.compile(r"backup-[0-9]{8}T[0-9]{9}Z", re.ASCII)
#: in so many days each file of the backups is read again once: a medium forgets in silence
_READ_ALL_IN = 7
_UNFINISHED = re.compile(rf"\.{_NAME.pattern}\.part", re.ASCII)

#: told what is being done (``database``, ``files``), how much of it is done, and how much there is
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class BackupMade:
    """A backup that is whole and safely on the disk."""

    folder: Path
    #: of the spools, without the database
    files: int
    #: bytes of all files and the database; links count as if they were copies
    size: int
    #: files that were copied, not linked
    copied: int
    #: files that rows say are there, and that were not, or not whole
    missing: tuple[str, ...]


def make_backup(
    state: State,
    directory: Path,
    *,
    keep: int | None = None,
    progress: Progress = lambda _what, _done, _total: None,
    stopping: threading.Event | None = None,
) -> BackupMade:
    """Write a backup into a new folder in `directory`.

    Parameters
    ----------
    state
        Of the node, which may be running, here or in another process.
    directory
        Made where it is not there, readable by its owner only.
    keep
        How many backups stay; older ones are removed once the new one is whole. None: all.
    progress
        Told how far it is.
    stopping
        Once it is set the backup is given up.

    Raises
    ------
    NodeError
        Another backup into `directory` is being made, or something cannot be read or written; nothing is
        left behind.
    """
    stop = stopping if stopping is not None else threading.Event()

    def go_on(what: str, done: int, total: int) -> None:
        if stop.is_set():
            raise TransientError("the node stops: the backup was given up")
        progress(what, done, total)

    with mapped():
        make_folder(directory)
        with _alone_in(directory):
            _remove(_named(directory, _UNFINISHED))
            made = _make(state, directory, go_on)
            if keep is not None:
                _remove(_oldest_first(directory, made.folder)[:-keep])
            ahead = [each.name for each in _named(directory, _NAME) if each.name > made.folder.name]
    if ahead:
        log.warning("backup.dated_ahead", backups=ahead)
    for path in made.missing:
        log.error("backup.file_missing", path=path)
    return made


def last_backup(directory: Path, now: datetime) -> datetime | None:
    """Say when the last whole backup in a folder was made, by its name; None where there is none.

    One that is dated in the future is passed over: it says nothing of today.

    Raises
    ------
    NodeError
        The folder cannot be read.
    """
    with mapped():
        if not directory.is_dir():
            return None
        whole = [each.name for each in _named(directory, _NAME) if (each / MANIFEST).is_file()]
    moments = (datetime.strptime(f"{name}+0000", "backup-%Y%m%dT%H%M%S%fZ%z") for name in whole)
    return max((moment for moment in moments if moment <= now), default=None)


def _make(state: State, directory: Path, progress: Progress) -> BackupMade:
    now = datetime.now(UTC)
    name = f"backup-{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z"
    part = directory / f".{name}.part"
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, part, ignore_errors=True)
        part.mkdir(mode=0o700)
        database = part / DATABASE
        snapshot = state.workitems.copy_database(database, lambda done, n: progress("database", done, n))
        sync(database)
        found = _collection(directory, part)
        wanted = _files_of(state, snapshot, now)
        for number, each in enumerate(wanted):
            found.take(each, partial(progress, "files", number, len(wanted)))
        progress("files", len(wanted), len(wanted))
        still = _still_kept(state, found.gone)
        entry = FileEntry(
            size=database.stat().st_size, sha256=digest_of(database, partial(progress, "files", 1, 1))
        )
        manifest = Manifest(
            made_at=now.isoformat(),
            version=__version__,
            kind=snapshot.kind,
            schema_revision=snapshot.revision,
            database=entry,
            files=found.files,
            let_go=tuple(path for path in found.gone if path not in still),
            missing=tuple(path for path in found.gone if path in still),
            damaged={path: entry for path, entry in found.damaged.items() if path in still},
        )
        manifest.write(part)
        sync_folders(part)
        part.rename(directory / name)
        undo.pop_all()
    sync(directory)
    return BackupMade(
        folder=directory / name,
        files=len(found.files),
        size=manifest.database.size + sum(entry.size for entry in found.files.values()),
        copied=found.copied,
        missing=manifest.missing,
    )


def _files_of(state: State, snapshot: Snapshot, now: datetime) -> list[Wanted]:
    """Say which files the copied rows speak of, and which are read though the last backup has them."""
    folders = ((SPOOL, state.spool, snapshot.spool), (RESULTS, state.results, snapshot.results))
    return [
        Wanted(
            path=f"{top}/{path}",
            source=spool.locate(path),
            size=snapshot.sizes.get(path),
            sha256=snapshot.digests.get(path),
            again=(zlib.crc32(path.encode()) + now.toordinal()) % _READ_ALL_IN == 0,
        )
        for top, spool, paths in folders
        for path in sorted(paths)
    ]


def _collection(directory: Path, part: Path) -> Collection:
    """Begin with what the last backup has; one that cannot be read is passed over."""
    for previous in reversed(_oldest_first(directory, part)):
        try:
            manifest = read_manifest(previous)
        except PermanentError as error:
            log.warning("backup.unreadable", backup=previous.name, reason=str(error))
            continue
        known = {**manifest.damaged, **manifest.files}
        return Collection(folder=part, previous=previous, there=frozenset(manifest.files), known=known)
    return Collection(folder=part)


def _still_kept(state: State, gone: Sequence[str]) -> set[str]:
    """Find out which of the files that are not there should be."""
    if not gone:
        return set()
    kept = {f"{SPOOL}/{path}" for path in state.workitems.spool_paths()}
    return kept | {f"{RESULTS}/{path}" for path in state.workitems.result_paths()}


def _oldest_first(directory: Path, made: Path) -> list[Path]:
    """Backups that there are, the one just made (or begun) the last, whatever the clock has said."""
    name = made.name.removeprefix(".").removesuffix(".part")
    others = [each for each in _named(directory, _NAME) if each.name != name]
    # a clock was wrong: which of them is the older cannot be told by their names, so they go first
    ahead = [each for each in others if each.name > name]
    mine = [directory / name] if (directory / name).is_dir() else []
    return [*ahead, *(each for each in others if each.name <= name), *mine]


def _named(directory: Path, name: re.Pattern[str]) -> list[Path]:
    """Folders of that name, the oldest first."""
    return sorted(each for each in directory.iterdir() if name.fullmatch(each.name) and each.is_dir())


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        # without its manifest it is no backup, should this be interrupted
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError(f"another backup into {directory} is being made") from None
        yield
    finally:
        os.close(handle)
