"""Kill rounds: images flow in, a hostile destination takes the results, processes die at random moments."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcads_node.verbs.overview import store_at
from tests.acceptance.node import ServedNode, served
from tests.attack.accounting import Account, account, damage, open_work
from tests.attack.destination import AE_TITLE, Destination
from tests.attack.radiographs import Modality, radiographs, wait_until
from tests.peers import free_port

#: told what is being done, how much of it is done, and how much there is
Tell = Callable[[str, int, int], None]

#: what dies in a round, and how often among ten
_BLOWS = {"node": 5, "worker": 3, "node, while it starts": 1, "node, while the database is locked": 1}
#: the modality sends nothing new while so much is still to be done
_MOST_OPEN_WORK = 30
SETTLE_SECONDS = 1200.0
_MOST_STARTS = 5
#: more than a node itself gives its workers to load the model
_START_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What the kill rounds came to."""

    rounds: int
    account: Account
    #: how often what died
    blows: Counter[str]
    #: how often the destination did what
    moods: Counter[str]
    #: C-STORE requests, and those that were not answered 0x0000
    requests: int
    unanswered: int
    #: dead letters that a person had to have tried again
    dead_letters: int
    #: starts that ended before the node answered, and were followed by another, as systemd does it
    late_starts: int
    #: what SQLite finds wrong with the database
    damage: list[str]
    alive: bool


@contextmanager
def attacked(
    folder: Path, destination: Destination, workers: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[ServedNode]:
    """Run a node whose timeouts are short, and which may be killed often without giving up an image."""
    with served(
        folder,
        {"ae_title": AE_TITLE, "port": destination.port},
        _rules(),
        environment=environment,
        sections={
            "network": {"dimse_seconds": 3, "acse_seconds": 5, "idle_seconds": 5},
            "monitoring": {"port": None},
            "disk": {"alert_below_mib": 0, "refuse_below_mib": 0},
        },
        workers=workers,
        # every death of the node counts as an attempt of what it worked on
        max_attempts=20,
    ) as node:
        yield node


def _rules() -> list[dict[str, Any]]:
    """One rule: report, summary page and one heatmap of each image."""
    labels = store_at(Path()).manifest("mcads-demo").labels
    return [
        {
            "name": "all",
            "when": {},
            "analyse": {"explain_top_finding": True, "thresholds": dict.fromkeys(labels, 1.0)},
            "complete_when": {"quiet_seconds": 0},
            "send_to": ["pacs"],
        }
    ]


def kill_rounds(folder: Path, rounds: int, seed: int, tell: Tell, most_seconds: float = math.inf) -> Killed:
    """Kill a node `rounds` times, let it settle, and strike the balance.

    Parameters
    ----------
    folder
        An empty one.
    rounds, most_seconds
        How often; no further round begins after so many seconds, for machines where a start takes long.
    seed
        Of everything that is left to chance here.
    tell
        Told how far it is.
    """
    chance = random.Random(seed)
    blows: Counter[str] = Counter()
    late_starts, data = 0, folder / "data"
    destination = Destination(free_port(), seed, hostile=True)
    with destination, attacked(folder, destination) as node:
        modality = Modality(node.port, radiographs(), lambda: _open_work(data) < _MOST_OPEN_WORK)
        modality.start()
        # the node is up: a slow start takes nothing from the rounds
        deadline = time.monotonic() + most_seconds
        for number in range(rounds):
            tell("kill rounds", number, rounds)
            if time.monotonic() > deadline:
                break
            (blow,) = chance.choices(list(_BLOWS), list(_BLOWS.values()))
            blows[blow] += 1
            late_starts += _strike(node, blow, chance)
        modality.stop()
        destination.hostile = False
        tell("settling", 0, 0)
        settled = wait_until(lambda: not open_work(data), SETTLE_SECONDS)
        dead_letters = retry_dead_letters(node)
        settled = settled and wait_until(lambda: not open_work(data), SETTLE_SECONDS)
        alive = settled and node.process is not None and node.process.poll() is None
        alive = node.stop() == 0 and alive
        return Killed(
            rounds=blows.total(),
            account=account(data, modality.acknowledged, destination),
            blows=blows,
            moods=destination.moods,
            requests=modality.requests,
            unanswered=modality.unanswered,
            dead_letters=dead_letters,
            late_starts=late_starts,
            damage=damage(data),
            alive=alive,
        )


def _open_work(data: Path) -> int:
    # the database may be locked by the attack itself
    with contextlib.suppress(sqlite3.OperationalError):
        return open_work(data)
    return _MOST_OPEN_WORK


def _strike(node: ServedNode, blow: str, chance: random.Random) -> int:
    """Deal one blow, and have the node up again; gives how many starts were in vain."""
    if blow == "node, while it starts":
        node.stop(signal.SIGKILL)
        node.launch()
        time.sleep(chance.uniform(0, 3))
    elif blow == "node, while the database is locked":
        with closing(sqlite3.connect(node.folder / "data" / "node.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA busy_timeout = 30000")
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(chance.uniform(1, 3))
            node.stop(signal.SIGKILL)
    else:
        time.sleep(chance.uniform(0.2, 3))
    if blow == "worker":
        for worker in chance.sample(workers := node.workers(), min(1, len(workers))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return 0
    if node.process is not None:
        node.stop(signal.SIGKILL)
    return _start(node)


def _start(node: ServedNode) -> int:
    """Start it, and again where it gives up, as systemd would; gives how often it did."""
    for late in range(_MOST_STARTS):
        try:
            node.start(_START_SECONDS)
        except AssertionError:
            node.stop(signal.SIGKILL)
        else:
            return late
    raise AssertionError(f"it did not start, {_MOST_STARTS} times in a row: see {node.log}")


def retry_dead_letters(node: ServedNode) -> int:
    """Have dead letters tried again, as an administrator would; gives how many there were."""
    letters = len(node.json("undelivered", "--limit", "100000"))
    if letters:
        node.verb("retry", "--destination", "pacs")
    return letters
