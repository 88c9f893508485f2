"""What a node, its broker and their actors agree on; plain values, since all of it crosses to the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcads_node.task import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How a cluster is used."""

    #: ``host:port`` of the head
    address: str
    #: how many actors, each with a warm model
    workers: int
    #: what each takes of a machine; fractions are allowed
    num_cpus: float
    num_gpus: float
    #: pieces of work that are with the cluster at the same time, at most
    max_in_flight: int
    #: of the worker that each actor has; its folders are those of the cluster's machines
    worker: WorkerSettings
    #: of the weights that the node has, by name of the model: an actor with others is not used
    digests: Mapping[str, str]
    #: a piece of work that takes longer is ended with its worker
    timeout_seconds: float
