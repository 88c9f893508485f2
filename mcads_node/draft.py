"""A durable file in the making: bytes are added as they come, and it is there once it is finished.

Until then it has a temporary name, and a reader sees nothing of it. See ``spool`` for what is promised.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcads_node.errors import NodeError, StorageFull, TransientError
from mcads_node.writeback import begin_write_back

#: the kernel is asked to write when so many more bytes have come
_WRITE_BACK_BYTES = 1 << 20
#: pieces of at least this many bytes are written as they come, smaller ones together
_TOGETHER = 32_768
#: of a large piece: for more at once Linux takes larger pages, which the host of a virtual machine may have
#: to make and clear each time; 4.6 MB then took 10 ms of processor time instead of 1.5 (measured)
_WRITTEN_AT_ONCE = 128 * 1024
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One file that is safely on the disk."""

    #: relative to the spool, ``2024-01-31/<32 hex digits>``
    path: str
    #: bytes of the whole file, preface included
    size: int
    #: SHA-256 of the content without the preface, hex
    digest: str


class Draft:
    """A file that is written piece by piece. Used by one thread at a time; nothing is left of one let go.

    Parameters
    ----------
    path
        What it will be called in the spool.
    final
        Where it will lie, in a folder that exists.
    preface
        Written first, and left out of the digest.

    Raises
    ------
    StorageFull, TransientError
        It cannot be made.
    """

    def __init__(self, path: str, final: Path, preface: bytes) -> None:
        self.preface = preface
        #: bytes of the content that came
        self.size = 0
        self._path, self._final = path, final
        self._temporary = final.with_name(f"{final.name}.part")
        self._digest = hashlib.sha256()
        self._failure: OSError | None = None
        #: bytes of the file that the kernel was asked to write to the device
        self._asked = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._is_over = True
        with mapped(final):
            self._file = open(os.open(self._temporary, flags, 0o600), "wb", _TOGETHER)  # noqa: PTH123, SIM115
        self._is_over = False
        self._write(preface)

    def add(self, piece: bytes | memoryview) -> None:
        """Add bytes; where the device does not take them, `finish` tells of it."""
        self._digest.update(piece)
        self.size += len(piece)
        self._write(piece)

    def read(self, most: int | None = None) -> bytes:
        """Give the content that came, or its first bytes; less of it where the device fails."""
        length = self.size if most is None else min(most, self.size)
        try:
            self._file.flush()
            return os.pread(self._file.fileno(), length, len(self.preface))
        except OSError as error:
            self._failure = error
            return b""

    def finish(self) -> StoredFile:
        """Force it to the device, and give it its name.

        Raises
        ------
        StorageFull
            The device or the quota has no room. Nothing is left behind.
        TransientError
            Any other failure of the device. Nothing is left behind.
        """
        (stored,) = finish_all([self])
        return stored

    def discard(self) -> None:
        """Let it go, unless it is finished."""
        if self._is_over:
            return
        self._is_over = True
        # what the device did not take it is asked to take once more on closing
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def __del__(self) -> None:
        self.discard()

    def _force(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _stored(self) -> StoredFile:
        self._is_over = True
        size = len(self.preface) + self.size
        return StoredFile(path=self._path, size=size, digest=self._digest.hexdigest())

    def _write(self, content: bytes | memoryview) -> None:
        piece = memoryview(content)
        if self._failure is None:
            try:
                for start in range(0, len(piece), _WRITTEN_AT_ONCE):
                    self._file.write(piece[start : start + _WRITTEN_AT_ONCE])
            except OSError as error:
                self._failure = error
                return
            come = len(self.preface) + self.size - self._asked
            if come >= _WRITE_BACK_BYTES:
                begin_write_back(self._file.fileno(), self._asked, come)
                self._asked += come


def finish_all(drafts: Sequence[Draft]) -> list[StoredFile]:
    """Force files to the device and give them their names: all of them or none, a folder's entries once.

    Raises
    ------
    StorageFull, TransientError
        As `Draft.finish`.
    """
    with contextlib.ExitStack() as undo:
        for draft in drafts:
            undo.callback(draft.discard)
        for draft in drafts:
            with mapped(draft._final):
                draft._force()
                undo.callback(draft._final.unlink, missing_ok=True)
                draft._temporary.rename(draft._final)
        for folder in dict.fromkeys(draft._final.parent for draft in drafts):
            with mapped(folder):
                sync_folder(folder)
        undo.pop_all()
    return [draft._stored() for draft in drafts]


def sync_folder(folder: Path) -> None:
    """Force the entries of a folder to the device."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def mapped(place: Path) -> Iterator[None]:
    """Map what the operating system says to the node's errors."""
    try:
        yield
    except OSError as error:
        raise as_node_error(error, place) from error


def as_node_error(error: OSError, place: Path) -> NodeError:
    """Say what an error of the operating system means to the node."""
    said = error.strerror or type(error).__name__
    if error.errno in _NO_ROOM:
        return StorageFull(f"no room for {place}: {said}")
    return TransientError(f"{place}: {said}")
