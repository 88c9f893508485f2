"""What the verbs of the command line do; see `mcads_node.cli`."""
