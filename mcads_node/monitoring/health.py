"""Whether the node is alive, and whether it is ready to take and do work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcads_node import pulse
from mcads_node.errors import NodeError

#: for how long an answer holds: asking is not to become a load
_FRESH_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    #: what was found; free of PHI
    text: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was looked at, by name."""

    findings: Mapping[str, Finding]

    @property
    def ok(self) -> bool:
        """Whether all of it is in order."""
        return all(each.ok for each in self.findings.values())

    def as_json(self) -> dict[str, Any]:
        """For the answer to whoever asks."""
        checks = {name: vars(each) for name, each in self.findings.items()}
        return {"ok": self.ok, "checks": checks}


def liveness() -> Health:
    """Look at the signs of life of the vital threads."""
    quiet = pulse.silent()
    findings = {
        name: Finding(
            ok=name not in quiet,
            text=f"silent for {quiet[name]:.0f} s too long" if name in quiet else "alive",
        )
        for name in pulse.heard()
    }
    return Health(findings=findings)


class Readiness:
    """Looks at what the node needs in order to do its work.

    Parameters
    ----------
    checks
        By name; each says what it found, or raises a `NodeError`, which is a finding too.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self, checks: Mapping[str, Callable[[], Finding]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._health = Health(findings={})
        self._ending = False

    def end(self) -> None:
        """Say from now on that the node is stopping."""
        self._ending = True

    def __call__(self) -> Health:
        """Look, at most once a second."""
        if self._ending:
            return Health(findings={"node": Finding(ok=False, text="stopping")})
        with self._lock:
            now = self._clock()
            if self._looked_at is None or now - self._looked_at >= _FRESH_SECONDS:
                self._health = Health(findings={name: _look(check) for name, check in self._checks.items()})
                self._looked_at = self._clock()
            return self._health


def _look(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except NodeError as error:
        return Finding(ok=False, text=str(error))
