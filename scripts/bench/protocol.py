"""What the benchmarks share: the goals, and how a command is asked and answers.

A command is an executable in this folder. ``--json`` has it print ``{"rows": […]}`` and nothing else on
standard output; ``--short`` has it take a tenth of its time or so; progress goes to standard error. It ends
with 0 whether its goals are met or not, and a row that cannot be measured is told with the reason, not left
out. It begins so, importing nothing else but Python's own library before `use_venv` has returned:

    from protocol import arguments, row, tell, use_venv

    use_venv()

A row has the keys that `row` gives it; more may be added by name, and `all` shows these: ``low`` and ``high``
(of the rounds), ``runs`` (how many), ``peers`` (``[{"name", "version", "value", "unit"}]``, of the same run)
and ``note`` (why there is no value, or where the time goes).
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: set for a command that was begun again after an installation
_INSTALLED = "MCADS_BENCH_INSTALLED"
ROOT = Path(__file__).resolve().parents[2]

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a number should be."""

    name: str
    #: who measures it
    command: str
    #: what it is, for a person
    what: str
    unit: str
    bound: float
    #: the bound is the least that will do; otherwise the most
    is_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.bound:g}"

    def is_met_by(self, value: float | None) -> bool:
        if value is None:
            return False
        return value >= self.bound if self.is_least else value <= self.bound


def _most(name: str, command: str, unit: str, bound: float, what: str) -> Goal:
    return Goal(name=name, command=command, unit=unit, bound=bound, what=what)


def _least(name: str, command: str, unit: str, bound: float, what: str) -> Goal:
    return Goal(name=name, command=command, unit=unit, bound=bound, what=what, is_least=True)


GOALS = (
    _most("latency_median", "latency", "s", 0.5, "end of C-STORE to last object in the PACS, median"),
    _most("latency_p95", "latency", "s", 0.8, "end of C-STORE to last object in the PACS, 95th percentile"),
    _least("throughput", "throughput", "1/s", 6, "sustained radiographs, C-STORE in to results stored"),
    _most("cpu_ratio", "cpu", "×", 3, "CPU of the whole node a radiograph ÷ decode, preprocess and forward"),
    _least(
        "reading_speedup", "reading", "×", 4, "read, preprocess, classify vs torchxrayvision, torch eager"
    ),
    _most("reading_difference", "reading", "score", 1e-3, "… greatest difference of a score"),
    _least("grad_cam_speedup", "grad_cam", "×", 50, "18 Grad-CAM maps vs pytorch-grad-cam"),
    _most("grad_cam_difference", "grad_cam", "map", 1e-5, "… greatest difference of a value"),
    _least("pli_speedup", "pli", "×", 3, "PLI of one finding vs 8 plain forward and backward passes"),
    _most("pli_difference", "pli", "map", 1e-4, "… greatest difference of a value"),
    _least("receiving_orthanc_1", "receiving", "×", 1.0, "durable C-STORE vs Orthanc, 1 association"),
    _least("receiving_orthanc_4", "receiving", "×", 1.0, "durable C-STORE vs Orthanc, 4 associations"),
    _least("receiving_dcmtk_4", "receiving", "×", 0.5, "durable C-STORE vs DCMTK storescp, 4 associations"),
    _most("backlog_ratio", "backlog", "×", 1.3, "claim and complete at a backlog of 100,000 vs 100"),
    _most("memory_receiver", "memory", "MB", 250, "resident memory of the receiver"),
    _most("memory_worker", "memory", "MB", 900, "resident memory of a worker, the largest"),
)
_BY_NAME = {goal.name: goal for goal in GOALS}


def row(name: str, value: float | None, *, unit: str = "", **more: Any) -> Row:
    """Judge a value by the goal of this name; one without a goal needs a unit, and is met if it is there."""
    goal = _BY_NAME.get(name)
    if goal is None:
        return {"name": name, "value": value, "unit": unit, "goal": None, "met": value is not None, **more}
    met = goal.is_met_by(value)
    return {"name": name, "value": value, "unit": goal.unit, "goal": str(goal), "met": met, **more}


def missing(names: Iterable[str], why: str) -> list[Row]:
    """Make rows of what cannot be measured."""
    return [row(name, None, note=why) for name in names]


def goals_of(command: str) -> tuple[str, ...]:
    """Names of the goals that a command measures."""
    return tuple(goal.name for goal in GOALS if goal.command == command)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser of the options that every command has; the text of a module says what it does."""
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc, formatter_class=about)
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", action="store_true", help='print {"rows": […]} and nothing else')
    return parser


def tell(rows: list[Row], *, as_json: bool) -> None:
    """Print the rows, as JSON or for a person."""
    if as_json:
        print(json.dumps({"rows": rows}, indent=2, ensure_ascii=False))
        return
    for each in rows:
        verdict = "" if each["goal"] is None else f"{each['goal']:>8}  {'met' if each['met'] else 'NOT MET'}"
        print(f"{each['name']:24} {shown(each['value']):>10} {each['unit']:6} {verdict}")
        for peer in each.get("peers", []):
            print(f"    {peer['name']} {peer['version']}: {shown(peer['value'])} {peer['unit']}")
        if each.get("note"):
            print(f"    {each['note']}")


def shown(value: float | None) -> str:
    """Three digits of a number that say something."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def progress(text: str) -> None:
    """Say to a person what is being done."""
    print(text, file=sys.stderr, flush=True)


def use_venv(*modules: str) -> None:
    """Go on with the Python of .venv where `modules` are absent from this one, and find the package.

    What is absent from .venv too, the peers of a fresh clone, is installed into it.
    From then on SIGTERM ends the command as ``sys.exit`` does: what it has started is taken down.
    """
    sys.path.insert(0, str(ROOT))
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if all(map(importlib.util.find_spec, modules or ("pynetdicom", "torch"))):
        return
    python = ROOT / ".venv" / "bin" / "python"
    if os.environ.get(_INSTALLED):
        raise SystemExit(f"not installed: one of {', '.join(modules)}")
    if Path(sys.executable) == python or not python.exists():
        subprocess.run([ROOT / "scripts" / "setup-venv", "test", "bench"], check=True, stdout=sys.stderr)
        os.environ[_INSTALLED] = "yes"
    os.execv(python, [str(python), *sys.argv])
