"""One conversion for OpenVINO for all tests: a node that has it starts quickly, and makes none."""

from __future__ import annotations

import importlib.util
import shutil
from functools import cache
from pathlib import Path

from mcads_node.classifier import load_classifier
from tests.documents import ROOT
from tests.model_samples import DEMONSTRATION, shipped_store


@cache
def conversion() -> Path | None:
    """Folder of weights with what the demonstration model was converted to; None without OpenVINO."""
    if importlib.util.find_spec("openvino") is None:
        return None
    folder = ROOT / ".pytest_cache" / "conversion"
    # makes it where it is absent or of another version; other processes wait for the same
    load_classifier(shipped_store(folder), DEMONSTRATION, threads=1, engine="openvino")
    return folder / DEMONSTRATION / "openvino"


def lend_conversion(data_dir: Path) -> None:
    """Give a node's data folder the converted network, as if it had started before."""
    target = data_dir / "models" / DEMONSTRATION / "openvino"
    made = conversion()
    if made is not None and not target.exists():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copytree(made, target)
