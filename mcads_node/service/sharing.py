"""How much of the machine analysis takes: configured, else tuned, else one worker a processor."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from typing import Final, Literal

import structlog

from mcads_node.cluster import ClusterCompute, ClusterSettings
from mcads_node.compute import Compute
from mcads_node.config import TUNING, Configuration, NodeConfig, RaySection, Tuning
from mcads_node.errors import ConfigError, Problem
from mcads_node.service.configured import calibrations_of, check_models, models_of
from mcads_node.shipped import shipped_folder
from mcads_node.state import folders_of, weights_dir
from mcads_node.task import Folders, WorkerSettings
from mcads_node.yamlfile import load_yaml

log = structlog.stdlib.get_logger(__name__)

#: what "auto" stops at: each worker holds a model of its own
MOST_WORKERS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of the machine analysis takes."""

    workers: int
    #: of each
    threads: int
    engine: Literal["auto", "torch", "openvino"]


def compute_of(configuration: Configuration) -> Compute | ClusterCompute:
    """Make the worker processes, or the way to those of a cluster; not yet started.

    Workers of this machine are as many as configured, else tuned, else one a processor.

    Raises
    ------
    ConfigError
        Ray is not installed.
    ModelUnusable
        The weights that a cluster is to have too are not here.
    """
    analysis = configuration.node.analysis
    if analysis.compute == "ray" and configuration.node.ray is not None:
        return ClusterCompute(_cluster_of(configuration, configuration.node.ray))
    tuned = tuning_of(configuration.node)
    share = Share(
        workers=_chosen(analysis.workers, tuned.workers if tuned else min(processors(), MOST_WORKERS)),
        threads=_chosen(analysis.threads, tuned.threads if tuned else 1),
        engine=tuned.engine if tuned and analysis.engine == "auto" else analysis.engine,
    )
    return compute_with(configuration, share, folders_of(configuration.node.node.data_dir))


def _cluster_of(configuration: Configuration, section: RaySection) -> ClusterSettings:
    if importlib.util.find_spec("ray") is None:
        message = "ray is not installed: pip install 'mcads-node[ray]'"
        raise ConfigError([Problem(file="", line=None, key="analysis.compute", message=message)])
    # another machine's processors were not measured
    analysis = configuration.node.analysis
    alone = Share(workers=section.workers, threads=_chosen(analysis.threads, 1), engine=analysis.engine)
    worker = worker_settings(configuration, alone)
    return ClusterSettings(
        address=section.address,
        workers=section.workers,
        num_cpus=section.num_cpus,
        num_gpus=section.num_gpus,
        max_in_flight=section.in_flight,
        worker=replace(worker, weights_dir=section.weights or worker.weights_dir),
        digests=check_models(configuration.node, configuration.rules),
        timeout_seconds=configuration.node.analysis.timeout_seconds,
    )


def _chosen(configured: Literal["auto"] | int, otherwise: int) -> int:
    return otherwise if configured == "auto" else configured


def compute_with(configuration: Configuration, share: Share, folders: Folders | None = None) -> Compute:
    """Make worker processes with a share of the machine, not yet started; see `WorkerSettings.folders`."""
    settings = replace(worker_settings(configuration, share), folders=folders)
    return Compute(settings, share.workers, configuration.node.analysis.timeout_seconds)


def worker_settings(configuration: Configuration, share: Share) -> WorkerSettings:
    """Say what every worker is started with."""
    analysis = configuration.node.analysis
    return WorkerSettings(
        models_dir=shipped_folder("models"),
        weights_dir=weights_dir(configuration.node.node.data_dir),
        model=analysis.model,
        others=models_of(configuration.node, configuration.rules)[1:],
        allow_demonstration=analysis.allow_demonstration_models,
        memory_limit_mib=analysis.memory_limit_mib,
        calibrations=tuple(calibrations_of(configuration.node).values()),
        triage=configuration.triage,
        anatomy=analysis.anatomy,
        reconstruction=analysis.reconstruction,
        engine=share.engine,
        precision=analysis.precision,
        threads=share.threads,
    )


def processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def tuning_of(node: NodeConfig) -> Tuning | None:
    """Read what ``mcads-node tune`` found out; None where it was not run for this machine and this model."""
    path = node.node.data_dir / TUNING
    if not path.is_file():
        return None
    try:
        tuning = load_yaml(path, Tuning)
    except ConfigError as error:
        log.warning("tuning.unreadable", reason=str(error))
        return None
    if (tuning.processors, tuning.model) != (processors(), node.analysis.model):
        log.warning("tuning.of_another", file=str(path), model=tuning.model, processors=tuning.processors)
        return None
    return tuning
