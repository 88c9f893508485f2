"""The files of a backup: from the one before it, or from the spool; never one that is known to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from mcads_node.backup.files import copy, digest_of, link
from mcads_node.backup.manifest import FileEntry

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file that rows speak of."""

    #: within the backup
    path: str
    #: where it lies now
    source: Path
    #: as the rows have it: bytes, SHA-256 (hex) of the whole file; None: they do not say
    size: int | None
    sha256: str | None
    #: whether it is read even where the last backup has it
    again: bool


@dataclass(kw_only=True)
class Collection:
    """Files on their way into a backup."""

    folder: Path
    #: the backup before this one, what it has, and what all files were that it knows of
    previous: Path | None = None
    there: frozenset[str] = frozenset()
    known: dict[str, FileEntry] = field(default_factory=dict)
    files: dict[str, FileEntry] = field(default_factory=dict)
    #: not there, or damaged
    gone: list[str] = field(default_factory=list)
    #: what those should be that are there, but damaged; as far as it is known
    damaged: dict[str, FileEntry] = field(default_factory=dict)
    copied: int = 0

    def take(self, wanted: Wanted, go_on: Callable[[], None]) -> None:
        """Link or copy one file; one that is not there, or is damaged, is noted.

        `go_on` is called all the while, and ends it by raising.
        """
        go_on()
        if self._take_from_previous(wanted, go_on):
            return
        target = self.folder / wanted.path
        try:
            if not link(wanted.source, target):
                copy(wanted.source, target, go_on)
                self.copied += 1
        except FileNotFoundError:
            self.gone.append(wanted.path)
            return
        entry = FileEntry(size=target.stat().st_size, sha256=digest_of(target, go_on))
        expected = self.known.get(wanted.path)
        if _agree(entry, wanted) and expected in (None, entry):
            self.files[wanted.path] = entry
            return
        target.unlink()
        self.gone.append(wanted.path)
        if expected is not None:
            self.damaged[wanted.path] = expected
        log.error("backup.file_damaged", path=wanted.path)

    def _take_from_previous(self, wanted: Wanted, go_on: Callable[[], None]) -> bool:
        if self.previous is None or wanted.path not in self.there:
            return False
        target, entry = self.folder / wanted.path, self.known[wanted.path]
        try:
            if not link(self.previous / wanted.path, target):
                return False
        except FileNotFoundError:
            return False
        if target.stat().st_size == entry.size and (
            not wanted.again or digest_of(target, go_on) == entry.sha256
        ):
            self.files[wanted.path] = entry
            return True
        log.warning("backup.copy_damaged", backup=self.previous.name, path=wanted.path)
        target.unlink()
        return False


def _agree(entry: FileEntry, wanted: Wanted) -> bool:
    return wanted.size in (None, entry.size) and wanted.sha256 in (None, entry.sha256)
