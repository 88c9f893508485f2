"""All attacks one after the other, and their figures: what `scripts/attack` runs."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.attack.fuzzing import Fuzzed, fuzz
from tests.attack.killing import Killed, Tell, kill_rounds
from tests.attack.outage import Outage, outage
from tests.attack.soaking import Soaked, soak
from tests.attack.stepping import Stepped, step_clock

#: percent by which the memory of a process may change over the last nine tenths of a soak of this length
MOST_GROWTH, LONG_SOAK = 5.0, 300
#: what the node may hold more after the fuzzing than after a tenth of it
_MOST_THREADS, _MOST_DESCRIPTORS, _MOST_MEBIBYTES = 2, 4, 24.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of each attack; nothing of one that is 0."""

    rounds: int
    outage_objects: int
    fuzz_cases: int
    radiographs: int
    #: of the node's clock
    clock_steps: int = 0
    seed: int = 4
    #: begin no further round, batch or radiograph after so many seconds of each attack
    most_seconds: float = math.inf


SHORT = Plan(rounds=9, outage_objects=200, fuzz_cases=500, radiographs=60, most_seconds=50)
LONG = Plan(rounds=200, outage_objects=10_000, fuzz_cases=10_000, radiographs=2000, clock_steps=60)


def attack(plan: Plan, folder: Path, tell: Tell) -> dict[str, Any]:
    """Run the attacks; gives their figures, ready for JSON, with what was not as promised in ``faults``.

    Parameters
    ----------
    plan
        How much of each.
    folder
        An empty one; each attack has its own node below it.
    tell
        Told how far it is.
    """
    figures = _Figures()
    if plan.rounds:
        figures.take(kill_rounds(folder / "kill", plan.rounds, plan.seed, tell, plan.most_seconds))
    if plan.clock_steps:
        figures.take(step_clock(folder / "clock", plan.clock_steps, plan.seed, tell, plan.most_seconds))
    if plan.outage_objects:
        figures.take(outage(folder / "outage", plan.outage_objects, tell))
    if plan.fuzz_cases:
        figures.take(fuzz(folder / "fuzz", plan.fuzz_cases, plan.seed, tell, plan.most_seconds))
    if plan.radiographs:
        figures.take(soak(folder / "soak", plan.radiographs, tell, most_seconds=plan.most_seconds))
    return figures.told()


class _Figures:
    def __init__(self) -> None:
        self._sums: Counter[str] = Counter(
            dict.fromkeys(("rounds", "acknowledged", "accounted", "lost", "duplicates", "fuzzed"), 0)
        )
        self._alive = True
        self._faults: list[str] = []
        self._details: dict[str, Any] = {}

    def take(self, attacked: Killed | Stepped | Outage | Fuzzed | Soaked) -> None:
        self._alive = self._alive and attacked.alive
        self._faults += attacked.damage
        if not attacked.alive:
            self._faults.append(
                f"{type(attacked).__name__}: the node did not answer, or did not come to an end"
            )
        match attacked:
            case Killed():
                self._killed(attacked)
            case Stepped():
                self._stepped(attacked)
            case Outage():
                self._outage(attacked)
            case Fuzzed():
                self._fuzzed(attacked)
            case Soaked():
                self._soaked(attacked)

    def told(self) -> dict[str, Any]:
        return {**self._sums, "alive": self._alive, "faults": self._faults, **self._details}

    def _killed(self, killed: Killed) -> None:
        self._account(killed)
        self._sums["rounds"] += killed.rounds
        self._details["killed"] = {
            "blows": dict(killed.blows),
            "destination": dict(killed.moods),
            "c_store_requests": killed.requests,
            "unanswered": killed.unanswered,
            "dead_letters_retried": killed.dead_letters,
            "late_starts": killed.late_starts,
            "quarantined": killed.account.quarantined,
            "orphans": killed.account.orphans,
        }

    def _stepped(self, found: Stepped) -> None:
        self._account(found)
        self._details["clock"] = {
            "steps": found.steps,
            "settled_seconds": round(found.settled_seconds, 1),
            "dead_letters_retried": found.dead_letters,
        }

    def _account(self, attacked: Killed | Stepped | Soaked) -> None:
        found = attacked.account
        self._sums.update(
            acknowledged=found.acknowledged,
            accounted=found.accounted,
            lost=len(found.lost),
            duplicates=len(found.duplicates),
        )
        self._faults += [f"{uid}: {trouble}" for uid, trouble in found.lost.items()]
        self._faults += found.duplicates

    def _outage(self, found: Outage) -> None:
        self._sums.update(lost=found.lost, duplicates=len(found.duplicates))
        self._faults += [f"{found.lost} objects lost in an outage"] * bool(found.lost)
        self._faults += [f"two contents under {uid}" for uid in found.duplicates]
        self._details["outage"] = {
            "objects": found.objects,
            "repeated": found.repeated,
            "seconds": round(found.seconds, 1),
        }

    def _fuzzed(self, found: Fuzzed) -> None:
        self._sums.update(
            fuzzed=found.cases,
            acknowledged=found.acknowledged,
            accounted=found.acknowledged - len(found.lost),
            lost=len(found.lost),
        )
        self._faults += [f"{uid}: acknowledged in the fuzzing, and not dealt with" for uid in found.lost]
        before, after = found.before, found.after
        for what, grown, most in (
            ("threads", after.threads - before.threads, _MOST_THREADS),
            ("file descriptors", after.descriptors - before.descriptors, _MOST_DESCRIPTORS),
            ("MiB", after.mebibytes - before.mebibytes, _MOST_MEBIBYTES),
        ):
            if grown > most:
                self._faults.append(f"{grown:g} {what} more after the fuzzing, at most {most:g} expected")
        self._details["fuzz"] = {
            "before": _rounded(asdict(before)),
            "after": _rounded(asdict(after)),
            "answers": dict(found.answers),
        }

    def _soaked(self, found: Soaked) -> None:
        self._account(found)
        self._details["memory"] = {
            name: {
                "at_tenth_mib": round(growth.at_tenth, 1),
                "at_end_mib": round(growth.at_end, 1),
                "growth_percent": round(growth.percent, 1),
            }
            for name, growth in found.memory.items()
        }
        self._details["soak_seconds"] = round(found.seconds, 1)
        if found.account.acknowledged >= LONG_SOAK:
            self._faults += [
                f"the memory of {name} changed by {growth.percent:.1f} % in the soak"
                for name, growth in found.memory.items()
                if abs(growth.percent) > MOST_GROWTH
            ]


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in figures.items()}
