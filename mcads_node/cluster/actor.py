"""What Ray places on a machine of the cluster: the keeper of one warm worker.

The work is done in a process of its own below the actor, as on the node's machine: with a memory limit, a
hard timeout, and a codec that may crash. What kills that process says something about the image
(`WorkerLost`); what kills the actor, or its machine, says nothing about it. So the two are told apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mcads_node import __version__
from mcads_node.cluster.settings import ClusterSettings
from mcads_node.compute import Compute
from mcads_node.errors import ModelUnusable, NodeError
from mcads_node.model_store.store import ModelStore
from mcads_node.shipped import shipped_folder

#: how an answer begins: with a result, or with the NodeError that the work ended in
DONE, RAISED = "done", "raised"


class Reader:
    """An actor. Nothing is raised from here to Ray, which would wrap it in errors of its own.

    Parameters
    ----------
    settings
        Of the node.
    version
        Of the node: what crosses are pickles, and both ends must have the same classes.
    """

    def __init__(self, settings: ClusterSettings, version: str) -> None:
        # what is shipped with the package lies elsewhere on each machine
        worker = replace(settings.worker, models_dir=shipped_folder("models"))
        self._settings = replace(settings, worker=worker)
        self._version = version
        self._compute = Compute(worker, 1, settings.timeout_seconds)

    def begin(self) -> tuple[str, Any]:
        """Make sure that this machine has the node's version and weights, and load them."""
        try:
            self._require_the_same()
            self._compute.start()
        except NodeError as error:
            return RAISED, error
        return DONE, None

    def perform(self, entry: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
        """Have a piece of work done."""
        try:
            return DONE, getattr(self._compute, entry)(*arguments).result()
        except NodeError as error:
            return RAISED, error

    def ping(self) -> None:
        """Answer."""

    def _require_the_same(self) -> None:
        if self._version != __version__:
            raise ModelUnusable(
                f"the cluster has node {__version__} installed, and the node is {self._version}"
            )
        worker = self._settings.worker
        store = ModelStore(models_dir=worker.models_dir, weights_dir=worker.weights_dir)
        for name, digest in self._settings.digests.items():
            found = store.verify(name)
            if found != digest:
                raise ModelUnusable(f"the cluster's weights of {name} are {found}, and the node's {digest}")
