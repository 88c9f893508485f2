"""A calibration as a YAML file: read whole, or refused with file, line and key."""

from __future__ import annotations

import os
from pathlib import Path

from mcads_node.calibration.calibration import Calibration
from mcads_node.errors import NodeError
from mcads_node.yamlfile import load_yaml, write_yaml


def read_calibration(path: Path) -> Calibration:
    """Read the calibration at `path`.

    Raises
    ------
    ConfigError
        It cannot be read, is not one, or was changed after it was made.
    """
    return load_yaml(path, Calibration)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write `calibration` to `path`: whole, or not at all.

    Raises
    ------
    NodeError
        The file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_yaml(part, calibration.model_dump(mode="json"))
        part.replace(path)
    except OSError as error:
        raise NodeError(f"{os.fspath(path)} cannot be written: {error.strerror}") from error
