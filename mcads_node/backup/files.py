"""Files of a backup: linked or copied, forced to the device, and held against their digests."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mcads_node.errors import PermanentError, StorageFull, TransientError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK = 1024 * 1024


def go_on_always() -> None:
    """Never end what is being done."""


def digest_of(file: Path, go_on: Callable[[], None] = go_on_always) -> str:
    """SHA-256 of a file, hex; `go_on` is called all the while, and ends it by raising."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            go_on()
            digest.update(chunk)
    return digest.hexdigest()


def link(source: Path, target: Path) -> bool:
    """Give a file another name; False where the file systems do not let us. The source must be there."""
    make_folder(target.parent)
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return False
    return True


def copy(source: Path, target: Path, go_on: Callable[[], None] = go_on_always) -> None:
    """Copy a file under a temporary name, force it to the device, and give it its name.

    `go_on` is called all the while, and ends it by raising.
    """
    make_folder(target.parent)
    temporary = target.with_name(f"{target.name}.part")
    temporary.unlink(missing_ok=True)
    with source.open("rb") as readable:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as writable:  # noqa: PTH123 - a descriptor, not a path
            while chunk := readable.read(_CHUNK):
                go_on()
                writable.write(chunk)
            writable.flush()
            os.fsync(writable.fileno())
    temporary.rename(target)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file that never changes in another place."""
    if not link(source, target):
        copy(source, target)


def write_durably(file: Path, content: bytes) -> None:
    """Write a new file that only its owner may read, and force it to the device."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as writable:  # noqa: PTH123 - a descriptor, not a path
        writable.write(content)
        writable.flush()
        os.fsync(writable.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for its owner only."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def sync(place: Path) -> None:
    """Force a file, or the entries of a folder, to the device."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(top: Path) -> None:
    """Force the entries of a folder and of all folders in it to the device."""
    for folder, _, _ in os.walk(top):
        sync(Path(folder))


@contextmanager
def mapped() -> Iterator[None]:
    """Map what the operating system says to the node's errors."""
    try:
        yield
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        if error.errno in _NO_ROOM:
            raise StorageFull(f"no room for {said}") from error
        kind = PermanentError if isinstance(error, FileNotFoundError | PermissionError) else TransientError
        raise kind(said) from error
