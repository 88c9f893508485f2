"""``python -m mcads_node``: the same as the command ``mcads-node``."""

from mcads_node.cli import main

main()
