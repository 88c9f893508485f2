"""A site's own audit of a model: how well it reads images whose findings are known, and calibrating it."""
