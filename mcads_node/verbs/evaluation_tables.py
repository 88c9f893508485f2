"""What ``models show``, ``evaluate``, ``calibrate`` and ``thresholds`` print for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mcads_node.calibration import Calibration, Interval

#: images left out that are named one by one
_MOST_NAMED = 10
#: of cells: all columns are to fit on a screen of 80 characters
_TIGHT = (0, 1, 0, 0)


def show_model(console: Console, model: Mapping[str, Any]) -> None:
    """Print what a manifest says, and how the weights are."""
    facts = Table(show_header=False, box=None)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    names = "name kind version architecture status weights_digest engine source input licence intended_use "
    names += "citation"
    for name in names.split():
        facts.add_row(name.replace("_", " "), escape(str(model[name])))
    if model["caution"]:
        facts.add_row("caution", f"[bold red]{escape(model['caution'])}[/]")
    console.print(facts)
    if not model["outputs"]:
        return
    table = Table()
    for column in ("label", "operating point", "threshold"):
        table.add_column(column)
    for each in model["outputs"]:
        point = each["operating_point"]
        # a structure is told pixel by pixel, and has no score
        table.add_row(each["label"], "" if point is None else f"{point:.6g}", f"{each['threshold']:g}")
    console.print(table)


def show_evaluation(console: Console, told: Mapping[str, Any]) -> None:
    """Print the metrics of every label."""
    table = Table(title=_title(told), title_justify="left", box=SIMPLE_HEAD, padding=_TIGHT)
    table.add_column("label", overflow="fold", min_width=12)
    for column in ("positive", "AUC", "sensit.", "specif.", "ECE", "Brier"):
        table.add_column(column, justify="right", no_wrap=True)
    names = ("auc", "sensitivity", "specificity", "ece", "brier")
    for each in told["labels"]:
        counts = f"{each['positives']}/{each['images']}"
        label = f"{each['label']}\n[dim]≥ {each['threshold']:g}[/]"
        if not each["note"]:
            table.add_row(label, counts, *(_estimate(each[name]) for name in names))
    console.print(table)
    for each in told["labels"]:
        if each["note"]:
            console.print(f"[yellow]{escape(each['label'])}[/]: {escape(each['note'])}", highlight=False)
    kind = "the score, read as if it were a probability"
    if told["calibration"]:
        kind = f"the probability of a label that is calibrated, else of {kind}"
    console.print(
        f"Intervals: {told['interval']}. ECE and Brier are of {kind}.", style="dim", highlight=False
    )
    show_left_out(console, told["left_out"])


def show_thresholds(console: Console, told: Mapping[str, Any], target: str) -> None:
    """Print thresholds as YAML, so that the output may be copied as it is."""
    console.print(f"# {_title(told)}: {target}", highlight=False, soft_wrap=True, markup=False)
    console.print(
        f"# intervals: {told['interval']}, on the images the thresholds were found on",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    console.print(told["yaml"], highlight=False, soft_wrap=True, markup=False, end="")


def show_calibration(console: Console, calibration: Calibration) -> None:
    """Print what a calibration changes."""
    table = Table(
        title=f"{calibration.model.name}, calibrated at {calibration.site} ({calibration.method})",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=_TIGHT,
    )
    table.add_column("label", overflow="fold", min_width=12)
    for column in ("positive", "ECE\nbefore", "\nafter", "log loss\nbefore", "\nafter"):
        table.add_column(column, justify="right", no_wrap=True)
    for label, each in calibration.labels.items():
        intervals = (each.ece_before, each.ece_after, each.log_loss_before, each.log_loss_after)
        counts = f"{each.positives}/{each.positives + each.negatives}"
        table.add_row(escape(label), counts, *map(_interval, intervals))
    console.print(table)
    console.print(
        "95 % intervals by bootstrap; each image judged by a curve fitted on other patients.",
        style="dim",
        highlight=False,
    )
    for label, why in calibration.left_out.items():
        console.print(f"[yellow]{escape(label)}[/] stays a score: {escape(why)}", highlight=False)


def show_left_out(console: Console, left_out: Sequence[Mapping[str, Any]]) -> None:
    """Print which images say nothing, and why."""
    if not left_out:
        return
    console.print(f"[bold yellow]{len(left_out)} image(s) were left out:[/]", highlight=False)
    for each in left_out[:_MOST_NAMED]:
        console.print(f"  {escape(each['image'])}: {escape(each['reason'])}", highlight=False, soft_wrap=True)
    if len(left_out) > _MOST_NAMED:
        console.print(f"  and {len(left_out) - _MOST_NAMED} more", highlight=False)


def _title(told: Mapping[str, Any]) -> str:
    patients = "" if told["patients"] is None else f" of {told['patients']} patients"
    said = f"{told['model']} {told['version']}, {told['images']} images{patients}"
    return f"{said} — {told['caution']}" if told["caution"] else said


def _estimate(found: Mapping[str, float] | None) -> str:
    return "—" if found is None else f"{found['value']:.2f}\n[dim]{found['low']:.2f}–{found['high']:.2f}[/]"


def _interval(found: Interval) -> str:
    return f"{found.value:.3f}\n[dim]{found.low:.3f}–{found.high:.3f}[/]"
