"""Where analyses run, for a node that has a Ray cluster: warm actors on its machines.

::

    node ── pipe ── broker (a process of the node's own, Ray's driver) ── Ray ── actor ── pipe ── worker

``compute`` is the node's end, with the methods of :class:`mcads_node.compute.Compute`; ``broker`` speaks with
Ray; ``actor`` is what Ray places on machines: it verifies the model and has one worker process as on the
node's own machine. Only the broker imports Ray. See docs/decisions/0031.
"""

from mcads_node.cluster.compute import ClusterCompute
from mcads_node.cluster.settings import ClusterSettings

__all__ = ["ClusterCompute", "ClusterSettings"]
