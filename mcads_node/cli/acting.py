"""Verbs by which a person intervenes: retry, take back, back up and restore."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcads_node.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, app, err, out, print_json
from mcads_node.logs import configure_logs


@app.command()
def retry(
    study: Annotated[
        str | None, typer.Argument(help="Study Instance UID, or the node's number of the study.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    destination: Annotated[
        str | None, typer.Option(help="Instead of a study: everything that this destination did not get.")
    ] = None,
) -> None:
    """Try again what of a study was quarantined or refused, or all that a destination did not get.

    Example: mcads-node retry 17
    """
    from mcads_node.verbs.overview import retry_study
    from mcads_node.verbs.undelivered import retry_destination

    if (study is None) == (destination is None):
        raise typer.BadParameter("expected a study, or --destination")
    configure_logs()
    if destination is not None:
        out.print(f"scheduled again: {retry_destination(config, destination)} deliveries", highlight=False)
    if study is not None:
        retried = retry_study(config, study)
        text = f"scheduled again: {retried.workitems} piece(s) of work, {retried.deliveries} deliveries"
        out.print(text, highlight=False)


@app.command()
def reanalyse(
    study: Annotated[
        str | None, typer.Argument(help="Study Instance UID, or the node's number of the study.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Instead of a study: all that came since, such as 7d, or a date."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Read with this model instead of the rules'.")] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Record what is found, and report nothing.")
    ] = False,
    hours: Annotated[
        str | None, typer.Option(help="Only in these hours, such as 20:00-06:00, on this machine's clock.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Have studies on record analysed again, when nothing else waits; a revised report tells what is found.

    Example: mcads-node reanalyse --since 7d --hours 20:00-06:00
    """
    from mcads_node.config import hours_of
    from mcads_node.verbs.reanalysis import reanalyse_studies
    from mcads_node.verbs.tables import steps_progress
    from mcads_node.workitems import Wish

    if (study is None) == (since is None):
        raise typer.BadParameter("expected a study, or --since")
    configure_logs()
    wish = Wish(model=model, shadow=shadow, schedule=None if hours is None else hours_of(hours))
    with steps_progress(err) as progress:
        wished = reanalyse_studies(config, study, since, wish, lambda a, b: progress("studies", a, b))
    text = f"scheduled: {wished.scheduled} image(s) of {wished.studies} study(ies)"
    if wished.waiting:
        text += f"; {wished.waiting} waited already"
    if wished.without_file:
        text += f"; {wished.without_file} cannot be read again, since their files were deleted"
    out.print(text, highlight=False, soft_wrap=True)


class Title(StrEnum):
    """Why what was reported is taken back: title of the rejection note (CID 7011)."""

    QUALITY = "quality"
    SAFETY = "safety"


@app.command()
def retract(
    study: Annotated[str, typer.Argument(help="Study Instance UID, or the node's number of the study.")],
    reason: Annotated[str, typer.Option(help="Why; it is written into the rejection note.")],
    title: Annotated[
        Title, typer.Option(help="Rejected for quality reasons, or for patient safety reasons.")
    ] = Title.QUALITY,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take back all results of a study: a rejection note (IHE IOCM) is sent to whoever has any of them.

    Example: mcads-node retract 17 --reason "Images of another patient" --title safety
    """
    from mcads_node.verbs.retraction import retract_study

    configure_logs()
    done = retract_study(config, study, reason, for_safety=title is Title.SAFETY)
    where = ", ".join(done.destinations) or "nobody, since nothing has arrived anywhere"
    text = f"retracted: {done.objects} object(s); the rejection note is sent to {where}"
    out.print(f"{text}; {done.stopped} waiting deliveries are stopped", highlight=False, soft_wrap=True)


@app.command()
def backup(
    to: Annotated[
        Path | None,
        typer.Option(help="Folder that the backup is put in; none: backup.directory of the configuration."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Copy the node's state, database and files, into a new folder; the node may be running.

    Example: mcads-node backup --to /mnt/backups
    """
    from mcads_node.verbs.keeping import back_up
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    with steps_progress(err) as progress:
        made = back_up(config, to, progress)
    if as_json:
        print_json(vars(made))
    else:
        text = f"{made.folder}: database and {made.files} files, {made.size} bytes, {made.copied} copied"
        out.print(text, highlight=False, soft_wrap=True)
    if made.missing:
        err.print(f"{len(made.missing)} files are missing (see the log)", style="red", highlight=False)
        raise typer.Exit(65)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="Folder of one backup.")],
    config: ConfigOption = DEFAULT_CONFIG,
    without_damaged: Annotated[
        bool,
        typer.Option("--without-damaged", help="Restore what is whole; the rest is put on record as lost."),
    ] = False,
) -> None:
    """Put a backup in place where a node has no state yet; what waited for delivery is delivered by `serve`.

    Example: mcads-node restore /mnt/backups/backup-20260131T030000000Z
    """
    from mcads_node.verbs.keeping import put_back
    from mcads_node.verbs.tables import steps_progress

    configure_logs()
    with steps_progress(err) as progress:
        done = put_back(config, backup, progress, without_damaged=without_damaged)
    waiting = ", ".join(f"{count} to {name}" for name, count in sorted(done.pending.items())) or "none"
    text = f"restored as of {done.made_at}: {done.files} files; deliveries that wait: {waiting}"
    out.print(text, highlight=False, soft_wrap=True)
    for path in done.missing:
        err.print(f"was missing when the backup was made: {path}", style="red", highlight=False)
    for path in done.damaged:
        err.print(f"is damaged in the backup, and lost: {path}", style="red", highlight=False)
