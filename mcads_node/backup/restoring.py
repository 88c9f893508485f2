"""Restoring a backup where no state is: all of it is looked at first, the database is put in place last.

Until the database is there nothing has happened: a restoration that was interrupted is simply done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcads_node.backup.files import copy, digest_of, link_or_copy, mapped, sync, sync_folders
from mcads_node.backup.manifest import DATABASE, RESULTS, SPOOL, FileEntry, Manifest, read_manifest
from mcads_node.config import NodeConfig
from mcads_node.errors import PermanentError
from mcads_node.migrations import known_revisions
from mcads_node.spool import Spool
from mcads_node.state import database_of, open_state
from mcads_node.workitems import database_is_empty, load_dump

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
    #: files that were missing when the backup was made
    missing: tuple[str, ...]


def restore_backup(
    backup: Path,
    config: NodeConfig,
    *,
    who: str,
    progress: Progress = lambda _what, _done, _total: None,
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
        _check_vacant(config, folders, targets)
        _verify(backup, manifest, progress)
        for number, (path, target) in enumerate(targets.items()):
            progress("files", number, len(targets))
            _put(backup / path, target, manifest.files[path])
        progress("files", len(targets), len(targets))
        for folder in folders.values():
            sync_folders(folder.folder)
        _put_database(backup / DATABASE, config)
    return _finish(manifest, config, who)


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


def _check_vacant(config: NodeConfig, folders: dict[str, Spool], targets: dict[str, Path]) -> None:
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


def _verify(backup: Path, manifest: Manifest, progress: Progress) -> None:
    entries = {DATABASE: manifest.database, **manifest.files}
    for number, (path, entry) in enumerate(entries.items()):
        progress("verify", number, len(entries))
        file = backup / path
        if not file.is_file():
            raise PermanentError(f"{file} is missing: the backup is not whole")
        if not _is_same(file, entry):
            raise PermanentError(f"{file} is damaged: its SHA-256 is not the one in the manifest")
    progress("verify", len(entries), len(entries))


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


def _put_database(source: Path, config: NodeConfig) -> None:
    place = database_of(config)
    if isinstance(place, Path):
        # never a link: the node writes into it
        copy(source, place)
        sync(place.parent)
    else:
        load_dump(place, source)


def _finish(manifest: Manifest, config: NodeConfig, who: str) -> Restored:
    state = open_state(config)
    try:
        gone = set(_names(manifest.let_go))
        state.workitems.record_restored(gone, f"from the backup of {manifest.made_at}", who=who)
        pending = state.workitems.pending_by_destination()
    finally:
        state.close()
    return Restored(
        made_at=manifest.made_at, files=len(manifest.files), pending=pending, missing=manifest.missing
    )


def _names(paths: tuple[str, ...]) -> Iterator[str]:
    """Give the paths within their spools."""
    return (path.partition("/")[2] for path in paths)
