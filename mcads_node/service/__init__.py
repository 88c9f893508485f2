"""The node as a whole: what a configuration stands for, how its parts start and stop, and running it."""

from mcads_node.service.configured import check_model, destination_address, load, model_store
from mcads_node.service.node import Node
from mcads_node.service.serve import serve

__all__ = ["Node", "check_model", "destination_address", "load", "model_store", "serve"]
