"""Programs of other makers that tests run: absent at home they skip a test, absent in CI they fail it."""

from __future__ import annotations

import os
import shutil

import pytest


def require_program(name: str) -> str:
    """Path of a program; a test that wants an absent one is skipped, or fails where `CI` is set."""
    # daemons such as Orthanc lie where a user's PATH does not look
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    message = f"{name} is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{message}, and CI is set")
    pytest.skip(message)
