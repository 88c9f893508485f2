"""Files that come with the node: the models' manifests and the example configuration."""

from __future__ import annotations

from pathlib import Path


def shipped_folder(name: str) -> Path:
    """Folder `name` (``models``, ``config``): within the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_shipped" / name
    return installed if installed.is_dir() else package.parent / name
