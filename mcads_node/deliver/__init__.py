"""Deliver: the Storage SCU, and the threads that bring results to their destinations."""
