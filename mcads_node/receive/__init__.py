"""Receive: the Storage SCP, and how an object is kept before its sender is answered."""
