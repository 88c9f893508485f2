"""Programs of other makers that tests run: absent at home they skip a test, absent in CI they fail it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require_program(name: str) -> str:
    """Path of a program; a test that wants an absent one is skipped, or fails where `CI` is set."""
    # daemons such as Orthanc lie where a user's PATH does not look
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    return found or _absent(name)


def require_file(path: Path, package: str) -> Path:
    """Path of a file that `package` installs; where it is absent, skip the test at home and fail it in CI."""
    return path if path.exists() else _absent(package)


def require_module(name: str) -> None:
    """Skip the test at home, and fail it in CI, where a package that is an extra is not installed."""
    if importlib.util.find_spec(name) is None:
        _absent(name)


def _absent(what: str) -> NoReturn:
    message = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{message}, and CI is set")
    pytest.skip(message)
