"""What a look at one thing came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str
    #: it works, and an administrator should know of it all the same
    warning: bool = False
