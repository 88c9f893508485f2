"""Where real radiographs lie, for the tests that want them; absent on a fresh machine."""

import os
from pathlib import Path

import pytest


def data_dir() -> Path:
    """Find real radiographs: `MCADS_TEST_DATA`, else `../shared/data` beside the project; skip if absent."""
    named = os.environ.get("MCADS_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real radiographs at {folder}: set MCADS_TEST_DATA to have them tested")
    return folder
