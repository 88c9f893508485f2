"""A disk of a few megabytes that a test may fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Mount a tmpfs on `folder`; where that is not permitted, skip the test at home and fail it in CI."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"a small disk cannot be mounted: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(f"{message}, and CI is set")
        pytest.skip(message)
    try:
        yield folder
    finally:
        # lazily: a test that failed may still hold a file
        subprocess.run(["umount", "-l", str(folder)], check=True)


def leave_free(folder: Path, size: int) -> None:
    """Fill the disk of `folder` but for `size` bytes; a smaller ballast makes room again."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    found = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - size)
