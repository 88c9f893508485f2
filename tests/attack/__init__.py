"""Attacks on a real node: what `scripts/attack` runs in their long form, and the tests beside them shortly."""
