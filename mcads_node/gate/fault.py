"""What a check says of an image that did not pass it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One check that an image did not pass; the route says what that leads to."""

    #: of the check, as in `mcads_node.config.checks.CHECKS`
    check: str
    #: one sentence for a radiologist; without PHI
    reason: str
