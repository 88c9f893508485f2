"""Restoring a backup where no state is: all of it is looked at first, the database is put in place last.

Until it has ended a note lies in the data folder, so that nothing else opens a state that is put in place by
half. A restoration that was interrupted is simply done again: SQLite's file gets its name when it is all that
it is to be, and of PostgreSQL the note says that what is in the database came from this backup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcads_node.backup.files import copy, digest_of, link_or_copy, mapped, sync, sync_folders
from mcads_node.backup.manifest import DATABASE, RESULTS, SPOOL, FileEntry, Manifest, read_manifest
from mcads_node.backup.note import Note
from mcads_node.config import NodeConfig
from mcads_node.errors import PermanentError, TransientError
from mcads_node.migrations import known_revisions
from mcads_node.spool import Spool
from mcads_node.state import database_of
from mcads_node.workitems import database_is_empty, load_dump, open_store

#: told what is being done (``verify``, ``files``), how much of it is done, and how much there is
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was put in place."""

    #: ISO 8601, UTC: what came to the node after that is not in it
    made_at: str
    #: of the spools, without the database
    files: int
    #: deliveries that wait, by destination
    pending: dict[str, int]
    #: files that were missing, or not whole, when the backup was made
    missing: tuple[str, ...]
    #: files of the backup that are missing or damaged by now, and were not restored
    damaged: tuple[str, ...]


def restore_backup(
    backup: Path,
    config: NodeConfig,
    *,
    who: str,
    progress: Progress = lambda _what, _done, _total: None,
    without_damaged: bool = False,
) -> Restored:
    """Put a backup in place; the caller holds the data folder, so that no node runs in it.

    Parameters
    ----------
    backup
        Its folder.
    config
        Of the node that is to go on with it.
    who
        Who restores it; the record of events names them.
    progress
        Told how far it is.
    without_damaged
        Restore what is whole, and put the rest on record as lost.

    Raises
    ------
    PermanentError
        The backup is damaged (the text names the file), was made by a newer version or for the other kind of
        database; or there is a state in place already. Nothing was changed then.
    NodeError
        Something cannot be read or written.
    """
    with mapped():
        manifest = read_manifest(backup)
        _check_fits(manifest, backup, config)
        folders = {SPOOL: Spool(config.node.data_dir / SPOOL), RESULTS: Spool(config.node.data_dir / RESULTS)}
        targets = {path: _target(folders, path, backup) for path in manifest.files}
        note = Note.of(manifest, config)
        loaded = _is_loaded(config) and note.is_there()
        if not loaded:
            _check_database_vacant(config)
        _check_folders_vacant(folders, targets)
        damaged = _verify(backup, manifest, progress, without_damaged=without_damaged)
        lost = (*damaged, *manifest.missing)
        note.leave()
        for number, (path, target) in enumerate(targets.items()):
            progress("files", number, len(targets))
            if path not in damaged:
                _put(backup / path, target, manifest.files[path])
        progress("files", len(targets), len(targets))
        for folder in folders.values():
            sync_folders(folder.folder)
        pending = _put_database(backup, _Facts(manifest=manifest, lost=lost, who=who), config, loaded=loaded)
        note.remove()
    return Restored(
        made_at=manifest.made_at,
        files=len(manifest.files) - len(damaged),
        pending=pending,
        missing=manifest.missing,
        damaged=damaged,
    )


def _check_fits(manifest: Manifest, backup: Path, config: NodeConfig) -> None:
    known = known_revisions()
    if manifest.schema_revision not in known:
        raise PermanentError(
            f"{backup} was made by node {manifest.version}, whose database has revision "
            f"{manifest.schema_revision!r}, which this version does not know (it knows up to {known[0]!r}): "
            "install that version"
        )
    here = "sqlite" if config.node.database is None else "postgresql"
    if manifest.kind != here:
        raise PermanentError(
            f"{backup} is of a {manifest.kind} database, and node.database names a {here} one"
        )


def _target(folders: dict[str, Spool], path: str, backup: Path) -> Path:
    top, _, name = path.partition("/")
    if top not in folders:
        raise PermanentError(f"{backup} names a file {path!r}, which is not one of a backup's")
    return folders[top].locate(name)


def _is_loaded(config: NodeConfig) -> bool:
    place = database_of(config)
    return place.exists() if isinstance(place, Path) else not database_is_empty(place)


def _check_database_vacant(config: NodeConfig) -> None:
    """Refuse to touch another state: what is in place may be all that is left of a study."""
    data = config.node.data_dir
    place = database_of(config)
    if isinstance(place, Path):
        there = [name for suffix in ("", "-wal") if (data / (name := f"{place.name}{suffix}")).exists()]
        if there:
            what = f"move {', '.join(there)}, spool and results elsewhere first"
            raise PermanentError(f"{data} (node.data_dir) has a database already: {what}")
    elif not database_is_empty(place):
        raise PermanentError("node.database has tables already: name an empty database, made with createdb")


def _check_folders_vacant(folders: dict[str, Spool], targets: dict[str, Path]) -> None:
    ours = set(targets.values())
    for folder in folders.values():
        stranger = next(
            (file for file in folder.folder.glob("*/*") if file not in ours and _is_file(file)), None
        )
        if stranger is not None:
            # the node would take it for an orphan, and delete it after a day
            raise PermanentError(
                f"{folder.folder} has files that the backup does not know, such as {stranger.name}: "
                "move the folder elsewhere first"
            )


def _is_file(file: Path) -> bool:
    return file.is_file() and not file.name.endswith(".part")


def _verify(
    backup: Path, manifest: Manifest, progress: Progress, *, without_damaged: bool
) -> tuple[str, ...]:
    """Read all of the backup; gives the files that are missing or damaged, if it may be restored without."""
    entries = {DATABASE: manifest.database, **manifest.files}
    damaged = []
    for number, (path, entry) in enumerate(entries.items()):
        progress("verify", number, len(entries))
        fault = _fault(backup / path, entry)
        if fault is None:
            continue
        if path == DATABASE or not without_damaged:
            hint = "" if path == DATABASE else "; --without-damaged restores the rest"
            raise PermanentError(f"{backup / path} {fault}{hint}")
        damaged.append(path)
    progress("verify", len(entries), len(entries))
    return tuple(damaged)


def _fault(file: Path, entry: FileEntry) -> str | None:
    if not file.is_file():
        return "is missing: the backup is not whole"
    try:
        same = _is_same(file, entry)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if same else "is damaged: its SHA-256 is not the one in the manifest"


def _is_same(file: Path, entry: FileEntry) -> bool:
    return file.stat().st_size == entry.size and digest_of(file) == entry.sha256


def _put(source: Path, target: Path, entry: FileEntry) -> None:
    if target.exists():
        if _is_same(target, entry):
            return  # of a restoration that was interrupted
        raise PermanentError(
            f"{target} is there already, with other content: move the folder elsewhere first"
        )
    link_or_copy(source, target)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What is to be put on record of a restoration."""

    manifest: Manifest
    #: paths within the backup of files that are not restored
    lost: tuple[str, ...]
    who: str


def _put_database(backup: Path, facts: _Facts, config: NodeConfig, *, loaded: bool) -> dict[str, int]:
    """Put the database in place, with the restoration on record; gives the deliveries that wait."""
    place = database_of(config)
    if not isinstance(place, Path):
        if not loaded:
            load_dump(place, backup / DATABASE)
        # on record twice where it was interrupted here: then that is what happened
        return _put_on_record(place, facts)
    if loaded:
        return _pending(place)
    unready = place.with_name(f"{place.name}.restoring")
    for suffix in ("", "-wal", "-shm"):
        unready.with_name(f"{unready.name}{suffix}").unlink(missing_ok=True)
    # never a link: the node writes into it
    copy(backup / DATABASE, unready)
    pending = _put_on_record(unready, facts)
    if unready.with_name(f"{unready.name}-wal").exists():
        raise TransientError(f"{unready} is in use by another program: run restore again")
    sync(unready)
    unready.rename(place)
    sync(place.parent)
    return pending


def _put_on_record(place: str | Path, facts: _Facts) -> dict[str, int]:
    manifest, which = facts.manifest, f"the backup of {facts.manifest.made_at}"
    workitems = open_store(place)
    try:
        if facts.lost:
            workitems.record_lost(list(_names(facts.lost)), f"not whole in {which}", who=facts.who)
        workitems.record_restored(set(_names(manifest.let_go)), f"from {which}", who=facts.who)
        return workitems.pending_by_destination()
    finally:
        workitems.close()


def _pending(place: str | Path) -> dict[str, int]:
    workitems = open_store(place)
    try:
        return workitems.pending_by_destination()
    finally:
        workitems.close()


def _names(paths: tuple[str, ...]) -> Iterator[str]:
    """Give the paths within their spools."""
    return (path.partition("/")[2] for path in paths)
