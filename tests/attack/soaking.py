"""A soak: many radiographs one after the other, and the resident memory of each process on the way."""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.node import ServedNode
from tests.attack.accounting import Account, account, damage, open_work
from tests.attack.destination import Destination
from tests.attack.killing import SETTLE_SECONDS, Tell, attacked
from tests.attack.processes import footprint
from tests.attack.radiographs import Modality, radiographs, wait_until
from tests.peers import free_port

#: sides of the radiographs in pixels, in turn
_SIDES = (512, 384, 640)
#: the modality waits while so much is to be done
_MOST_OPEN_WORK = 8


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Resident memory of one process, MiB."""

    at_tenth: float
    at_end: float

    @property
    def percent(self) -> float:
        """How much it grew."""
        return (self.at_end / self.at_tenth - 1) * 100


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """What the soak came to."""

    account: Account
    #: by process: ``node``, ``worker 1`` …
    memory: dict[str, Growth]
    seconds: float
    damage: list[str]
    alive: bool


def soak(folder: Path, count: int, tell: Tell, workers: int = 1, most_seconds: float = math.inf) -> Soaked:
    """Send `count` radiographs, or as many as there is time for, and see how the memory changes."""
    destination, data = Destination(free_port()), folder / "data"
    with destination, attacked(folder, destination, workers) as node:
        modality = Modality(
            node.port,
            itertools.islice(radiographs(_SIDES), count),
            lambda: open_work(data) < _MOST_OPEN_WORK,
        )
        begun = time.monotonic()
        modality.start()
        samples: list[tuple[int, dict[str, float]]] = []
        while modality.is_alive() and time.monotonic() - begun < most_seconds:
            tell("radiographs", len(modality.acknowledged), count)
            samples.append((len(modality.acknowledged), _memory(node)))
            time.sleep(0.5)
        modality.stop()
        settled = wait_until(lambda: not open_work(data), SETTLE_SECONDS)
        seconds = time.monotonic() - begun
        samples.append((len(modality.acknowledged), _memory(node)))
        alive = settled and node.stop() == 0
        return Soaked(
            account=account(data, modality.acknowledged, destination),
            memory=_growth(samples),
            seconds=seconds,
            damage=damage(data),
            alive=alive,
        )


def _memory(node: ServedNode) -> dict[str, float]:
    assert node.process is not None
    # by their process IDs: one that was replaced is another, and is seen
    processes = {"node": node.process.pid} | {f"worker {pid}": pid for pid in node.workers()}
    found = {}
    for name, pid in processes.items():
        # one that ends just now is missing, as it is in the next sample
        with contextlib.suppress(ProcessLookupError):
            found[name] = footprint(pid).mebibytes
    return found


def _growth(samples: list[tuple[int, dict[str, float]]]) -> dict[str, Growth]:
    """Compare the medians of what was seen around a tenth of the way, and over the last tenth of it."""
    total = samples[-1][0]
    early = [memory for sent, memory in samples if 0.08 * total <= sent <= 0.12 * total]
    # where it went too fast for that: the first that was seen after a tenth
    early = early or [next(memory for sent, memory in samples if sent >= 0.1 * total)]
    late = [memory for sent, memory in samples if sent >= 0.9 * total]
    names = {name for memory in early for name in memory}
    return {
        name: Growth(
            at_tenth=statistics.median(memory[name] for memory in early if name in memory),
            # one that is gone was replaced: that is told as no memory at all, a change of a hundred percent
            at_end=statistics.median([memory[name] for memory in late if name in memory] or [0.0]),
        )
        for name in sorted(names)
    }
