"""Clock steps: a node's clock is set ahead and back, with images flowing in and a hostile destination."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.attack.accounting import Account, account, damage, open_work
from tests.attack.destination import Destination
from tests.attack.killing import SETTLE_SECONDS, Tell, attacked, retry_dead_letters
from tests.attack.radiographs import Modality, radiographs, wait_until
from tests.peers import free_port
from tests.programs import require_program

#: seconds by which the node's clock is wrong
_OFFSETS = (-86_400, -3600, -600, -60, 0, 60, 600, 3600, 86_400)
_MOST_OPEN_WORK = 60


class NodesClock:
    """The wall clock of programs that are started with `environment`, and of nothing else.

    Parameters
    ----------
    folder
        Where what it needs is put.
    """

    def __init__(self, folder: Path) -> None:
        library, self._offset = folder / "clock.so", folder / "clock.offset"
        self._offset.write_bytes(bytes(8))
        command = [require_program("cc"), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library)]
        subprocess.run([*command, str(Path(__file__).with_name("clock.c")), "-ldl"], check=True, timeout=60)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "CLOCK_OFFSET_FILE": str(self._offset),
        }

    def set(self, offset: int) -> None:
        """Let it be wrong by so many seconds."""
        # in place: the programs have it mapped
        with self._offset.open("r+b") as file:
            file.write(offset.to_bytes(8, sys.byteorder, signed=True))


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What the clock steps came to."""

    steps: int
    account: Account
    #: from the moment that the clock was right again, until nothing was left to be done
    settled_seconds: float
    #: dead letters that a person had to have tried again
    dead_letters: int
    damage: list[str]
    alive: bool


def step_clock(folder: Path, steps: int, seed: int, tell: Tell, most_seconds: float = math.inf) -> Stepped:
    """Set the clock of a node `steps` times, then right; let it settle, and strike the balance.

    Parameters
    ----------
    folder
        An empty one.
    steps, most_seconds
        How often; no further step after so many seconds.
    seed
        Of everything that is left to chance here.
    tell
        Told how far it is.
    """
    folder.mkdir(parents=True)
    chance, clock, data = random.Random(seed), NodesClock(folder), folder / "data"
    destination = Destination(free_port(), seed, hostile=True)
    with destination, attacked(folder, destination, environment=clock.environment) as node:
        modality = Modality(node.port, radiographs(), lambda: open_work(data) < _MOST_OPEN_WORK)
        modality.start()
        deadline, done = time.monotonic() + most_seconds, 0
        while done < steps and time.monotonic() < deadline:
            tell("clock steps", done, steps)
            clock.set(chance.choice(_OFFSETS))
            time.sleep(chance.uniform(1, 5))
            done += 1
        modality.stop()
        destination.hostile = False
        clock.set(0)
        tell("settling", 0, 0)
        begun = time.monotonic()
        settled = wait_until(lambda: not open_work(data), SETTLE_SECONDS)
        seconds = time.monotonic() - begun
        dead_letters = retry_dead_letters(node)
        settled = settled and wait_until(lambda: not open_work(data), SETTLE_SECONDS)
        alive = node.stop() == 0 and settled
        return Stepped(
            steps=done,
            account=account(data, modality.acknowledged, destination),
            settled_seconds=seconds,
            dead_letters=dead_letters,
            damage=damage(data),
            alive=alive,
        )
