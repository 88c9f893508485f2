"""Read: from the bytes of a received instance to a `Radiograph`; see `mcads_node.read.radiograph`."""
