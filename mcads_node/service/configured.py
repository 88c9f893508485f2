"""What a configuration stands for: its model, its destinations, its worker processes."""

from __future__ import annotations

import os
from pathlib import Path

from mcads_node.compute import Compute
from mcads_node.config import Configuration, DestinationSection, load_configuration
from mcads_node.deliver.send import DestinationAddress
from mcads_node.model_store.store import ModelStore
from mcads_node.shipped import shipped_folder
from mcads_node.state import weights_dir
from mcads_node.task import WorkerSettings

#: what "auto" stops at: each worker holds a model of its own
_MOST_WORKERS = 8


def load(config: Path) -> Configuration:
    """Read the configuration against the models that are installed.

    Raises
    ------
    ConfigError
        With every problem of ``node.yaml`` and ``routes.yaml``.
    """
    store = ModelStore(models_dir=shipped_folder("models"), weights_dir=Path())
    return load_configuration(config, {name: store.manifest(name).labels for name in store.list()})


def model_store(configuration: Configuration) -> ModelStore:
    """Open the store of models that a node of this configuration uses."""
    folder = weights_dir(configuration.node.node.data_dir)
    return ModelStore(models_dir=shipped_folder("models"), weights_dir=folder)


def check_model(configuration: Configuration) -> str:
    """Make sure that the configured model may serve and its weights are the pinned ones; give their digest.

    Raises
    ------
    ModelUnusable
        With what to do.
    """
    analysis = configuration.node.analysis
    store = model_store(configuration)
    store.require_allowed(analysis.model, allow_demonstration=analysis.allow_demonstration_models)
    return store.verify(analysis.model)


def destination_address(destination: DestinationSection) -> DestinationAddress:
    """Give the network's view of a configured destination."""
    return DestinationAddress(ae_title=destination.ae_title, host=destination.host, port=destination.port)


def compute_of(configuration: Configuration) -> Compute:
    """Make the worker processes, not yet started."""
    analysis = configuration.node.analysis
    processors = len(os.sched_getaffinity(0))
    workers = min(processors, _MOST_WORKERS) if analysis.workers == "auto" else analysis.workers
    settings = WorkerSettings(
        models_dir=shipped_folder("models"),
        weights_dir=weights_dir(configuration.node.node.data_dir),
        model=analysis.model,
        memory_limit_mib=analysis.memory_limit_mib,
    )
    return Compute(settings, workers, analysis.timeout_seconds)
