"""A copy of the node that ships torchxrayvision's DenseNet-121 of 18 labels, with weights that mean nothing.

The official weights are not the project's to ship. The same network with seeded weights takes the same time.
"""

import os
import shutil
from pathlib import Path

import mcads_node
from mcads_node.model_store.store import ModelStore
from mcads_node.shipped import shipped_folder
from tests.model_samples import SEEDED, seeded_store

MODEL = SEEDED


def copy_node(folder: Path, weights_dir: Path) -> ModelStore:
    """Copy package, configuration and models into `folder`, and let processes that are started import that.

    What it converts of its models lies in `weights_dir`.
    """
    package = Path(mcads_node.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("config", "models"):
        shutil.copytree(shipped_folder(name), folder / name)
    seeded_store(folder)
    # before the folder that they are started in, which may be the checkout
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    return ModelStore(folder / "models", weights_dir)
