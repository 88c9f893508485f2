"""Durable files: what `Spool.write` returned for is there after the power failed.

A file is written under a temporary name in the folder it will live in, its bytes are forced to the device
(fsync), it gets its final name in one step (rename), and the folder's entry is forced as well; so are the
entries of folders that had to be made. A reader sees a whole file or none.

What this cannot promise: that a device which acknowledges a flush has really flushed (consumer drives with
volatile caches, some virtual disks, NFS mounted ``async``); that the medium keeps what it stored (no copy
is made, use RAID and backups; the digest returned lets a reader find rot); or that a write survives when
the folder is on a memory file system. After a failed fsync the kernel may have dropped the bytes, so the
file is removed and the caller must take it that nothing was stored.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mcads_node.draft import Draft, StoredFile, as_node_error, finish_all, mapped, sync_folder
from mcads_node.errors import FileUnreadable, NodeError, PermanentError, StorageFull, TransientError

#: the only names there are: the day it was written, and a random UUID; nothing of a peer's making
_NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9a-f]{32}(\.part)?", re.ASCII)
#: bytes that are read at a time
_CHUNK = 1 << 20


class Spool:
    """A folder of durable files, each written once, under names of its own making.

    Any number of threads and processes may write at the same time.

    Parameters
    ----------
    folder
        Made, readable by its owner only (0700), where it does not exist; an existing folder keeps its mode.
    clock
        Gives the day a file is filed under.
    make
        Whether the folder is to be made; where it is not, it is somebody else's, and may be away.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC), *, make: bool = True
    ) -> None:
        self._folder = folder.absolute()
        self._clock = clock
        self._lock = threading.Lock()
        #: folders whose own entry this process has forced to the device
        self._durable: set[Path] = set()
        if make:
            with mapped(self._folder):
                self._make_durable(self._folder)

    @property
    def folder(self) -> Path:
        """Where the files live."""
        return self._folder

    def write(self, content: bytes | Iterable[bytes], *, preface: bytes = b"") -> StoredFile:
        """Store a file durably.

        Parameters
        ----------
        content
            The bytes, whole or in chunks; the digest is over these.
        preface
            Written before them and left out of the digest: the preamble and file meta information that the
            node itself puts before a peer's data set.

        Raises
        ------
        StorageFull
            The device or the quota has no room. Nothing is left behind.
        TransientError
            Any other failure of the device. Nothing is left behind.
        """
        draft = self.begin(preface)
        try:
            for piece in (content,) if isinstance(content, bytes) else content:
                draft.add(piece)
            return draft.finish()
        finally:
            draft.discard()

    def write_all(self, contents: Sequence[bytes]) -> list[StoredFile]:
        """Store files that belong together durably: all of them or none.

        Raises
        ------
        StorageFull, TransientError
            As `write`.
        """
        drafts: list[Draft] = []
        try:
            for content in contents:
                drafts.append(self.begin())
                drafts[-1].add(content)
            return finish_all(drafts)
        finally:
            for draft in drafts:
                draft.discard()

    def begin(self, preface: bytes = b"") -> Draft:
        """Begin a file to which the content is added as it comes.

        Raises
        ------
        StorageFull, TransientError
            It cannot be made.
        """
        path = f"{self._clock().astimezone(UTC):%Y-%m-%d}/{uuid.uuid4().hex}"
        final = self._folder / path
        with mapped(final):
            self._make_durable(final.parent)
        return Draft(path, final, preface)

    def locate(self, path: str) -> Path:
        """Where a file of the spool lies.

        Raises
        ------
        PermanentError
            `path` is not a name this spool could have given.
        """
        if not _NAME.fullmatch(path):
            raise PermanentError(f"{path!r} is not the name of a file in the spool")
        return self._folder / path

    def read(self, path: str) -> bytes:
        """Whole content, preface included.

        Raises
        ------
        PermanentError
            `path` is not a name this spool could have given, or the file is gone.
        FileUnreadable
            It cannot be read, and the trouble is its own: the device works.
        TransientError
            The device is away, or this process can open no files.
        """
        place = self.locate(path)
        try:
            return place.read_bytes()
        except FileNotFoundError:
            # a device that is not mounted has no files either, which says nothing of this one
            if self._folder.is_dir():
                raise PermanentError(f"{place} is gone") from None
            raise TransientError(f"{self._folder} is gone, with all its files") from None
        except OSError as error:
            said = as_node_error(error, place)
            raise (FileUnreadable(str(said)) if self._works() else said) from error

    def holds(self, path: str, size: int) -> bool:
        """Whether a file is there, has this size, and can be read to its end."""
        try:
            with self.locate(path).open("rb") as file:
                return os.fstat(file.fileno()).st_size == size and _length(file) == size
        except OSError:
            return False

    def delete(self, path: str) -> None:
        """Remove a file; one that is gone already is no error. After a power loss it may be back."""
        place = self.locate(path)
        with mapped(place):
            place.unlink(missing_ok=True)

    def orphans(self, known: Container[str], older_than: datetime) -> Iterator[str]:
        """Files that no record speaks of: left by a crash between writing and recording.

        Parameters
        ----------
        known
            Paths that are on record.
        older_than
            Younger files are passed over: their record may be about to be committed.
        """
        limit = older_than.timestamp()
        for file in sorted(self._folder.glob("????-??-??/*")):
            path = f"{file.parent.name}/{file.name}"
            if path in known or not _NAME.fullmatch(path):
                continue
            # a file may vanish while the folder is read
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < limit:
                    yield path

    def _works(self) -> bool:
        """Whether the device takes a file, which tells trouble with one file from trouble with all."""
        try:
            self.delete(self.write(b"").path)
        except StorageFull:
            return True
        except NodeError:
            return False
        return True

    def _make_durable(self, folder: Path) -> None:
        """Make a folder and force its entry; also where another thread made it and has not forced it yet."""
        with self._lock:
            if folder in self._durable:
                if folder.is_dir():
                    return
                self._durable.discard(folder)
            new = [folder]
            while not new[-1].parent.exists():
                new.append(new[-1].parent)
            for each in reversed(new):
                each.mkdir(mode=0o700, exist_ok=True)
                sync_folder(each.parent)
            self._durable.add(folder)


def _length(file: BinaryIO) -> int:
    """Count the bytes that can be read."""
    length = 0
    while chunk := file.read(_CHUNK):
        length += len(chunk)
    return length
