"""Writes docs/performance.md: the rows, the machine and the versions, in a template."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template

from protocol import GOALS, Row, shown

TEMPLATE = Path(__file__).with_name("performance.md.in")
_PACKAGES = ("mcads-node", "torch", "openvino", "pydicom", "pynetdicom", "highdicom", "numpy")


def page(rows: list[Row], load: float) -> str:
    """Fill in the template; `load` is that of the machine before it was measured."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=_machine(),
        load=f"{load:.1f}",
        versions=", ".join(_versions()),
        goals="\n".join(_goals(rows)),
        peers="\n".join(_peers(rows)),
        others="\n".join(_others(rows)),
        notes="\n".join(_notes(rows)),
    )


def _goals(rows: list[Row]) -> Iterable[str]:
    by_name = {row["name"]: row for row in rows}
    yield "| | name | goal | measured | range | runs | met |"
    yield "|---|---|---|---|---|---|---|"
    for goal in GOALS:
        row = by_name[goal.name]
        value = f"{shown(row['value'])} {goal.unit}" if row["value"] is not None else "–"
        met = "yes" if row["met"] else "**no**"
        yield (
            f"| {goal.what} | `{goal.name}` | {goal} {goal.unit} | {value} | {_range(row)} "
            f"| {row.get('runs', '–')} | {met} |"
        )


def _range(row: Row) -> str:
    return f"{shown(row['low'])} … {shown(row['high'])}" if "low" in row and "high" in row else "–"


def _peers(rows: list[Row]) -> Iterable[str]:
    yield "| measured for | who | version | value |"
    yield "|---|---|---|---|"
    for row in rows:
        for peer in row.get("peers", []):
            value = f"{shown(peer['value'])} {peer['unit']}"
            yield f"| `{row['name']}` | {peer['name']} | {peer['version']} | {value} |"


def _others(rows: list[Row]) -> Iterable[str]:
    known = {goal.name for goal in GOALS}
    yield "| name | measured | range |"
    yield "|---|---|---|"
    for row in rows:
        if row["name"] not in known:
            yield f"| `{row['name']}` | {shown(row['value'])} {row['unit']} | {_range(row)} |"


def _notes(rows: list[Row]) -> Iterable[str]:
    told = [f"* `{row['name']}`: {_one_line(row['note'])}" for row in rows if row.get("note")]
    yield from told or ["Nothing."]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _machine() -> str:
    said = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":", 1)[1].strip() for line in said.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = models[0] if models else platform.machine()
    system = f"{platform.system()} {platform.release()}"
    return f"{processor}, {os.cpu_count()} processors, {memory:.0f} GiB, {system}"


def _versions() -> Iterable[str]:
    yield f"Python {platform.python_version()}"
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"no {name}"
