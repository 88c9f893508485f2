"""Whether scores drift: the verb ``drift``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mcads_node.drift import Measured, WeekDrift, measure
from mcads_node.service import load, model_store
from mcads_node.service.drifting import policy_of
from mcads_node.verbs.overview import state_of
from mcads_node.verbs.person import administrator
from mcads_node.workitems import Span


def measure_drift(config: Path, weeks: int, model: str | None = None) -> dict[str, Any]:
    """Compare the last weeks of a model with its reference, by device; None: of the node's own.

    Raises
    ------
    NodeError
        No node has run yet, there is no such model, or its weights are not there.
    """
    configuration = load(config)
    model = model or configuration.node.analysis.model
    digest = model_store(configuration.node).verify(model)
    workitems = state_of(config).workitems
    try:
        measured = measure(workitems, digest, datetime.now(UTC), weeks, policy_of(configuration.node.drift))
    finally:
        workitems.close()
    return _told(measured, model, configuration.node.drift.minimum_images)


def set_reference(config: Path, weeks: int, model: str | None = None) -> Span:
    """Make the last weeks the reference of a model; None: of the node's own.

    Raises
    ------
    NodeError
        As `measure_drift`.
    """
    configuration = load(config)
    digest = model_store(configuration.node).verify(model or configuration.node.analysis.model)
    now = datetime.now(UTC)
    span = Span(since=now - timedelta(weeks=weeks), until=now)
    workitems = state_of(config).workitems
    try:
        workitems.set_drift_reference(digest, span, administrator())
    finally:
        workitems.close()
    return span


def _told(measured: Measured, model: str, minimum: int) -> dict[str, Any]:
    reference = measured.reference
    return {
        "model": model,
        "at": measured.at.isoformat(),
        "reference": None
        if reference is None
        else {
            "since": reference.since.isoformat(),
            "until": reference.until.isoformat(),
            "chosen": measured.chosen,
        },
        "minimum_images": minimum,
        "weeks": [_week(week) for week in measured.weeks],
    }


def _week(week: WeekDrift) -> dict[str, Any]:
    return {
        "device": week.device,
        "since": week.week.since.isoformat(),
        "until": week.week.until.isoformat(),
        "images": week.images,
        "reference_images": week.reference_images,
        "labels": [asdict(each) for each in week.labels],
    }


def show_drift(console: Console, told: dict[str, Any]) -> None:
    """Print a line for each device and week, and one for each label that drifted."""
    reference = told["reference"]
    if reference is None:
        console.print("The model has not read for long enough: there is nothing to compare its scores with.")
        return
    chosen = "chosen" if reference["chosen"] else "the model's first weeks"
    span = f"{reference['since'][:10]} to {reference['until'][:10]}"
    table = Table(
        title=f"{told['model']}: compared with {span} ({chosen})", title_justify="left", box=SIMPLE_HEAD
    )
    for column in ("device", "week from", "images", "largest PSI", "largest KS", "drifted"):
        table.add_column(column, overflow="fold", justify="left" if column == "device" else "right")
    for week in told["weeks"]:
        table.add_row(escape(week["device"]), week["since"][:10], str(week["images"]), *_largest(week, told))
    console.print(table if told["weeks"] else "No image was read in this time.")
    for week in told["weeks"]:
        for each in week["labels"]:
            if each["drifted"]:
                console.print(f"[yellow]{escape(_drifted(week, each))}[/]", highlight=False)


def _largest(week: dict[str, Any], told: dict[str, Any]) -> tuple[str, str, str]:
    if not week["labels"]:
        few = min(week["images"], week["reference_images"])
        where = "in the reference" if few < week["images"] else "in the week"
        return f"{few} {where}, {told['minimum_images']} needed", "", ""
    index = max(week["labels"], key=lambda each: each["psi"])
    distance = max(week["labels"], key=lambda each: each["ks"])
    drifted = sum(each["drifted"] for each in week["labels"])
    return (
        f"{index['psi']:.2f} {escape(index['label'])}",
        f"{distance['ks']:.2f} {escape(distance['label'])}",
        str(drifted or "none"),
    )


def _drifted(week: dict[str, Any], each: dict[str, Any]) -> str:
    now, before = each["positives"], each["positives_before"]
    return (
        f"{week['device']}, week from {week['since'][:10]}: {each['label']} PSI {each['psi']:.2f}, "
        f"KS {each['ks']:.2f}; present on {now['value']:.1%} ({now['low']:.1%}–{now['high']:.1%}), "
        f"before {before['value']:.1%} ({before['low']:.1%}–{before['high']:.1%})"
    )
