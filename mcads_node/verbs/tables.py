"""What the verbs print for a person, with Rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from mcads_node.verbs.triaging import show_triage, triage_of_image

if TYPE_CHECKING:
    from mcads_node.verbs.check_result import CheckResult
    from mcads_node.verbs.demo import DemoResult
    from mcads_node.verbs.offline import OfflineResult
    from mcads_node.verbs.tuning import Measured

#: how a presence is shown
_MARKS = {"present": "[bold red]present[/]", "absent": "absent", "undetermined": "[yellow]undetermined[/]"}


def findings_table(title: str, findings: Sequence[Mapping[str, Any]]) -> Table:
    """Make the table of one image's findings, the highest above its threshold first."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("finding")
    table.add_column("score", justify="right")
    table.add_column("threshold", justify="right")
    calibrated = any(each.get("probability") is not None for each in findings)
    if calibrated:
        table.add_column("probability", justify="right")
    table.add_column("")
    ordered = sorted(findings, key=lambda each: each["score"] - each["threshold"], reverse=True)
    for each in ordered:
        name = each["label"].replace("_", " ")
        numbers = [f"{each['score']:.2f}", f"{each['threshold']:.2f}"]
        if calibrated:
            probability = each.get("probability")
            numbers.append("" if probability is None else f"{probability:.3f}")
        table.add_row(name, *numbers, _MARKS[each["presence"]])
    return table


def show_offline(console: Console, result: OfflineResult, folder: Path) -> None:
    """Print what ``analyse`` found."""
    for file in offline_json(result)["files"]:
        if file["reason"] is not None:
            console.print(f"{escape(file['file'])}: [yellow]{escape(file['reason'])}[/]", highlight=False)
            continue
        console.print(findings_table(f"{file['file']} ({file['view']})", file["findings"]))
        show_triage(console, file["triage"])
        for check in file["checks"]:
            console.print(f"  [yellow]{check['verdict']}[/]: {escape(check['reason'])}", highlight=False)
    for problem in result.problems:
        console.print(f"[bold red]{escape(problem)}[/]", highlight=False)
    if result.caution:
        console.print(f"[bold red]{escape(result.caution)}[/]")
    console.print(
        "Scores are not probabilities. AI result for research use, not verified.",
        style="dim",
        highlight=False,
    )
    if result.objects:
        console.print(f"{len(result.objects)} objects in {folder}", highlight=False, soft_wrap=True)


def offline_json(result: OfflineResult) -> dict[str, Any]:
    """Give what ``analyse`` found as plain values."""
    return {
        "caution": result.caution,
        "problems": list(result.problems),
        "files": [
            {
                "file": str(file.file),
                "reason": file.reason,
                "study_instance_uid": file.study_instance_uid,
                "sop_instance_uid": file.sop_instance_uid,
                "view": file.view,
                "rule": file.rule,
                "findings": [
                    {
                        "label": finding.label,
                        "score": finding.score,
                        "threshold": finding.threshold,
                        "presence": str(finding.presence),
                    }
                    for finding in file.findings
                ],
                "checks": [
                    {"name": check.name, "verdict": str(check.verdict), "reason": check.reason}
                    for check in file.checks
                ],
                "triage": triage_of_image(file.triage, file.findings, file.checks),
            }
            for file in result.files
        ],
        "objects": [
            {
                "kind": str(written.kind),
                "sop_instance_uid": written.sop_instance_uid,
                "file": str(written.file),
                "picture": None if written.picture is None else str(written.picture),
            }
            for written in result.objects
        ],
    }


def show_checks(console: Console, results: Sequence[CheckResult]) -> None:
    """Print each check with its verdict."""
    for result in results:
        mark = "[green]ok  [/]" if result.ok else "[bold red]FAIL[/]"
        mark = "[yellow]warn[/]" if result.warning else mark
        console.print(f"{mark} {result.name:<14} {escape(result.text)}", highlight=False, soft_wrap=True)


def show_studies(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print the list of studies."""
    table = Table()
    for column in ("no.", "Study Instance UID", "last received", "images", "triage", "report", "deliveries"):
        table.add_column(column, overflow="fold")
    for study in found:
        report = f"revision {study['revision']}" if study["revision"] else "none yet"
        if study["trouble"]:
            report = f"[bold red]{escape(study['trouble'])}[/]"
        elif study["open_workitems"]:
            report += f", {study['open_workitems']} to do"
            report += f", waits until {short(study['held_until'])}" if study["held_until"] else ""
        table.add_row(
            str(study["number"]),
            study["study_instance_uid"],
            study["last_received_at"][:19].replace("T", " "),
            _counts(study["instances"]),
            _level(study["triage"]),
            report,
            _counts(study["deliveries"]) + _away(study["waiting_for"]),
        )
    console.print(table if found else "No studies yet.")


def show_refused(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print the objects that belong to no study."""
    for each in found:
        text = f"{each['received_at'][:19].replace('T', ' ')}  from {each['requestor']}: {each['reason']}"
        console.print(escape(f"{text} (spool/{each['path']})"), highlight=False, soft_wrap=True)
    if not found:
        console.print("No object was refused.")


def show_events(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print events, one a line."""
    for each in found:
        text = f"{each['at'][:23].replace('T', ' ')}  {each['who']}  {each['what']}  {each['subject']}"
        study = f"  study {each['study_instance_uid']}" if each["study_instance_uid"] else ""
        why = f": {each['why']}" if each["why"] else ""
        console.print(escape(f"{text}{study}{why}"), highlight=False, soft_wrap=True)
    if not found:
        console.print("Nothing happened.")


def show_turned_away(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print the peers that were refused an association."""
    for each in found:
        times = f" ({each['times']} times)" if each["times"] > 1 else ""
        text = f"{each['at'][:19].replace('T', ' ')}  {each['requestor']}, {each['subject']}"
        console.print(escape(f"{text}: {each['reason']}{times}"), highlight=False, soft_wrap=True)
    if not found:
        console.print("No association was refused.")


def short(moment: str) -> str:
    """Write a moment to the minute."""
    return f"{moment[:16].replace('T', ' ')} UTC"


def _away(waiting_for: Sequence[Mapping[str, Any]]) -> str:
    """Name the destinations that cannot be reached, and those whose commitment is awaited."""
    parts = [
        f"; [red]{each['destination']} away until {each['deferred_until'][:19].replace('T', ' ')}[/]"
        for each in waiting_for
        if each["deferred_until"]
    ]
    awaited = sum(each["awaiting_commitment"] for each in waiting_for)
    return "".join(parts) + (f"; commitment of {awaited} awaited" if awaited else "")


def _level(triage: Mapping[str, Any] | None) -> str:
    """Write a level for a narrow column; empty where there are no rules."""
    return "" if triage is None else str(triage["level"] or "none")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in counts.items()) or "none"


def show_models(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print the models and the state of their weights."""
    table = Table()
    # a name is copied whole
    table.add_column("model", no_wrap=True)
    for column in ("kind", "weights", "labels", "licence"):
        table.add_column(column, overflow="fold")
    for model in found:
        # what is for demonstration only is told apart at a glance
        use = f"[bold red]demonstration: {escape(model['caution'])}[/]\n" if model["demonstration"] else ""
        told = (model["name"], model["kind"], model["status"], str(len(model["labels"])))
        table.add_row(*told, use + escape(model["licence"]))
    console.print(table)


@contextmanager
def download_progress(console: Console, name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar; gives the callback that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def steps_progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each step of some work; gives the callback that moves one: its name, done, total."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def move(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield move


@contextmanager
def files_progress(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """Show how many files are done; gives the callback that counts one."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task("analysing", total=total)
        yield lambda: bar.advance(task)


def show_demo(console: Console, result: DemoResult) -> None:
    """Print what the demo's PACS received."""
    for image in result.images:
        title = f"{image.name} ({image.view})"
        console.print(findings_table(title, [vars(finding) for finding in image.findings]))
        show_triage(console, image.triage)
    for name, reason in result.declined:
        console.print(f"{escape(name)}: [yellow]{escape(reason)}[/]", highlight=False)
    for caution in result.cautions:
        console.print(f"[bold red]{escape(caution)}[/]")
    table = Table(title="Received by the PACS and read back", title_justify="left")
    table.add_column("object")
    table.add_column("file", overflow="fold")
    table.add_column("picture", overflow="fold")
    for written in result.objects:
        table.add_row(
            str(written.kind), written.file.name, "" if written.picture is None else written.picture.name
        )
    console.print(table)
    console.print(
        f"{result.seconds:.1f} s from the last image sent to the last object stored in the PACS.",
        highlight=False,
    )
    console.print(f"Everything lies in {result.folder}", highlight=False, soft_wrap=True)


def tuning_json(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Give what ``tune`` measured, the best share first."""
    return [
        {
            **asdict(each.share),
            "images_per_second": round(each.images_per_second, 2),
            "seconds_alone": round(each.seconds_alone, 3),
        }
        for each in found
    ]


def show_tuning(console: Console, found: Sequence[Measured]) -> None:
    """Print what ``tune`` measured, the best share first."""
    table = Table("workers", "threads each", "engine", "images/s", "one alone")
    for number, each in enumerate(tuning_json(found)):
        cells = (each["workers"], each["threads"], each["engine"], each["images_per_second"])
        table.add_row(*map(str, cells), f"{each['seconds_alone']} s", style="" if number else "bold")
    console.print(table, "The first one is written down; a node goes by it from its next start on.")
