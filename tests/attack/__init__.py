"""Attacks on a real node: `scripts/attack` runs them in their long form, the tests beside them shortly."""
